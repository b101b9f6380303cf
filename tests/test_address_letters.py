"""Addresses with other letters than ASCII: what is refused when it is entered, and what leaves on the wire."""

from email import message_from_bytes, policy
from itertools import product

import pytest

from scheduler.entries import check_email
from scheduler.mime import HeaderRefused, ascii_address
from tests.clinic import Desk
from tests.people import AMINA

LOCALS = ("amina", "a.b+c", "o'hara", "x_1-2", "UPPER", "a" * 64)
DOMAINS = {
    "example.org": "example.org",
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.example": "xn--bcher-kva.example",
    "bu\u0308cher.example": "xn--bcher-kva.example",  # the same letters, composed otherwise
    "straße.example": "xn--strae-oqa.example",
    "żółw.example": "xn--w-uga1v8h.example",
    "пример.example": "xn--e1afmkfd.example",
    "例え.example": "xn--r8jz45g.example",
    "مثال.example": "xn--mgbh0fb.example",
    "दुनिया.example": "xn--j2bev4ddk.example",
    "中文。example": "xn--fiq228c.example",  # the ideographic full stop parts labels too
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "mail.bücher.example": "mail.xn--bcher-kva.example",
}
OTHER_LOCALS = (
    "jörg",
    "amína",
    "ами́на",
    "アミナ",
    "أمينة",
    "a\u200bmina",
    "ａmina",
    "a\u202emina",
    "ﬁne",
    "İnci",
    "a\u00a0b",
)
NO_DOMAINS = ("exa mple.org", "-x.example", "x..example", "a_b.example", "\u202eexample.org", "x\u200b.example.org\n")


def test_every_domain_is_stored_and_sent_as_ascii() -> None:
    for local, (typed, stored) in product(LOCALS, DOMAINS.items()):
        found, problem = check_email(f"{local}@{typed}")
        assert (found, problem) == (f"{local}@{stored}", None), typed
        assert ascii_address(found) == found
    assert len(LOCALS) * len(DOMAINS) > 70


def test_other_letters_before_the_at_are_refused_whatever_the_domain() -> None:
    for local, domain in product(OTHER_LOCALS, DOMAINS):
        found, problem = check_email(f"{local}@{domain}")
        assert (found, problem is None) == ("", False), (local, domain)
        with pytest.raises(HeaderRefused):
            ascii_address(f"{local}@{domain}")
    assert check_email("jörg@example.org")[1] == (
        "email: letters outside ASCII before the @ cannot be delivered; ask for another address"
    )


@pytest.mark.parametrize("domain", NO_DOMAINS)
def test_what_is_no_domain_is_refused(domain: str) -> None:
    assert check_email(f"amina@{domain}")[1] is not None


def test_the_header_on_the_wire_is_the_bare_address_in_ascii(sqlite_desk: Desk) -> None:
    sqlite_desk.treat(sqlite_desk.enter(AMINA, email="amina@bücher.example"))
    sqlite_desk.tick(hours=9)
    (claim,) = sqlite_desk.claim(sqlite_desk.worker())
    letter = sqlite_desk.letter(claim)
    assert letter.email == "amina@xn--bcher-kva.example"
    assert b"\r\nTo: amina@xn--bcher-kva.example\r\n" in letter.content
    assert message_from_bytes(letter.content, policy=policy.default)["To"] == "amina@xn--bcher-kva.example"
