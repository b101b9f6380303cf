"""Telephone numbers in the words of a page: on her phone one touch calls them."""

import re

from markupsafe import Markup, escape


def tel(number: str, words: str | None = None) -> Markup:
    """A number that can be called, or what stands in its place while the clinic has set none."""
    digits = re.sub(r"[^\d+]", "", number)
    shown = escape(words if words is not None else number)
    return Markup('<a href="tel:{}">{}</a>').format(digits, shown) if any(map(str.isdigit, digits)) else shown


def fill(text: str, **values: object) -> Markup:
    """A sentence with its values; all of it escaped but for the numbers made above."""
    return escape(text).format(**values)
