"""How a mail looks on a locked phone, and its HTML alone in a sandbox that runs, loads and leads to nothing."""

import base64
import hashlib
import re
from datetime import UTC, datetime
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.messages import Rendered
from scheduler.mime import MailHeaders, MailWriter, Sender
from web.preview_parts import FIRST_LINE, mail_html_answer, preview_of_bytes, preview_of_rendered

WRITER = MailWriter(Sender("office@example.org", "The office", "office@example.org", "example.org"))
PREHEADER = "A note & how to reach us."
HTML = (
    "<!DOCTYPE html><html><head><title>x</title><style>p{color:red}\n@media (prefers-color-scheme: dark){p{color:blue}}"
    '</style></head><body class="a">\n<div class="preheader" style="display: none">A note &amp; how to reach us.</div>'
    "<p style=\"font-family: 'A' &amp; serif\">Hello <b>Amina</b>.</p></body></html>"
)


def rendered(html: str = HTML, text: str = "Hello Amina.\n\nAll the best\n", preheader: str = PREHEADER) -> Rendered:
    """A finished message."""
    return Rendered("After your visit", preheader, text, html, "en")


def sent(message: Rendered) -> bytes:
    """The same as bytes that left."""
    headers = MailHeaders(
        to="amina@example.org",
        message_id="<1@example.org>",
        date=datetime(2026, 11, 23, 9, tzinfo=UTC),
        list_unsubscribe_mailto="mailto:office@example.org",
    )
    return WRITER.assemble(message, headers)


def test_before_and_after_it_left_a_phone_shows_the_same() -> None:
    before, after = preview_of_rendered(rendered(), "The office"), preview_of_bytes(sent(rendered()))
    told = ("The office", "After your visit", PREHEADER)
    assert (before.sender, before.subject, before.preheader) == (after.sender, after.subject, after.preheader) == told
    assert before.first_line == "A note & how to reach us. Hello Amina. All the best"
    assert after.first_line == "A note & how to reach us. Hello Amina ."
    assert after.text.replace("\r\n", "\n") == before.text


def test_what_is_outside_a_mail_holds_nothing_of_its_text() -> None:
    for whole in (preview_of_rendered(rendered(), "The office"), preview_of_bytes(sent(rendered()))):
        outside = whole.outside()
        assert (outside.sender, outside.subject, outside.first_line) == ("The office", "After your visit", PREHEADER)
        assert (outside.text, outside.html) == ("", "")
        assert "Amina" not in outside.first_line
        assert "Amina" not in repr(whole)


def test_a_long_first_line_is_cut_and_line_ends_are_spaces() -> None:
    preview = preview_of_rendered(rendered(text="so " * 100, preheader="One\n two"), "x")
    assert preview.first_line.startswith("One two so so")
    assert (len(preview.first_line), preview.first_line[-1]) == (FIRST_LINE, "…")


def test_a_mail_without_html_or_name_shows_its_text_and_address() -> None:
    plain = b"From: office@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nOnly text.\r\n"
    preview = preview_of_bytes(plain)
    assert (preview.sender, preview.subject, preview.first_line) == ("office@example.org", "Grüße", "Only text.")
    assert (preview.html, preview.outside().first_line) == ("", "")


def policy(html: str, scheme: str = "") -> tuple[str, str]:
    """The policy of an answer and its text."""
    answer = mail_html_answer(html, scheme)
    return answer.headers["content-security-policy"], bytes(answer.body).decode()


def hashed(style: str) -> str:
    """A style as a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


def test_only_the_mails_own_styles_are_allowed_and_nothing_else_at_all() -> None:
    rules, text = policy(HTML)
    block = re.findall(r"<style>(.*?)</style>", HTML, re.DOTALL)[0]
    for style in (block, "display: none", "font-family: 'A' & serif"):
        assert hashed(style) in rules
    assert re.sub(r" 'sha256-[^']*'", "", rules) == (
        "sandbox; default-src 'none'; style-src 'unsafe-hashes'; frame-ancestors 'self'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert text == HTML
    assert "style-src" not in policy("<p>plain</p>")[0]


@pytest.mark.parametrize(("scheme", "media"), [("dark", "@media all"), ("light", "@media not all")])
def test_either_look_is_shown_whatever_the_screen_is_set_to_and_its_style_is_allowed(scheme: str, media: str) -> None:
    rules, text = policy(HTML, scheme)
    assert "prefers-color-scheme" not in text
    block = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)[0]
    assert media in block
    assert hashed(block) in rules


def test_a_style_that_comes_in_pieces_is_hashed_whole() -> None:
    html = "<style>a > b {color: red} /* 1 < 2 && 3 */\r\np{}</style><p>x</p>"
    rules, text = policy(html)
    assert hashed(re.findall(r"<style>(.*?)</style>", text, re.DOTALL)[0]) in rules


@given(hostile=st.text(alphabet=st.sampled_from("<>\"'&;=/ aonscriptyle\n"), max_size=60))
def test_no_text_of_a_mail_reaches_the_policy(hostile: str) -> None:
    rules, _ = policy(f"<p style='{hostile}'>{hostile}</p><style>{hostile}</style>")
    assert re.fullmatch(r"[A-Za-z0-9+/=' ;-]*", rules)
    assert rules.startswith("sandbox; default-src 'none'; ")
    assert unescape(rules) == rules
