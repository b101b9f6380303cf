"""Writing lists as CSV that a spreadsheet opens without running anything: how a cell is escaped, and the file's form.

Reading such files is in `scheduler.import_file`.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

# What makes a spreadsheet take a cell for a formula (OWASP, CSV injection); tab and line ends only hide what follows.
_FORMULA: Final = ("=", "+", "-", "@")
_HIDING: Final = ("\t", "\r", "\n")


def safe_cell(text: str) -> str:
    """A text as a cell that stays a text: one that a spreadsheet would run gets an apostrophe before it."""
    # Full-width signs count too: some spreadsheets read them as the plain ones.
    bare = unicodedata.normalize("NFKC", text).lstrip()
    return f"'{text}" if bare.startswith(_FORMULA) or text.startswith(_HIDING) else text


def csv_text(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lines of a CSV file, numbers as they are, every text escaped; None is an empty cell."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    if heads:
        writer.writerow(heads)
    writer.writerows(
        [cell if isinstance(cell, int | float) else safe_cell(_text(cell)) for cell in row] for row in rows
    )
    return file.getvalue()


def csv_bytes(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A whole file: UTF-8 with the mark by which spreadsheets know it, and which `import` reads too."""
    return csv_text(heads, rows).encode("utf-8-sig")


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)
