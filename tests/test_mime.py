"""The bytes of a mail: a strict parser reads back exactly what was meant, whatever the values hold."""

import email.policy
import re
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scheduler.messages import Rendered, RenderFailed, Source, compile_message, sample_values
from scheduler.mime import HeaderRefused, MailHeaders, MailWriter, Sender, ascii_address, make_message_id
from scheduler.smtp_wire import wire_form
from scheduler.template_files import SHIPPED, list_templates, read_source

SENDER = Sender("office@example.org", "Orchard Lane", "reply@example.org", "example.org")
WRITER = MailWriter(SENDER)
AT = datetime(2026, 12, 8, 10, 0, tzinfo=UTC)
HEADERS = MailHeaders("asha@example.org", "<0a1b@example.org>", AT, "mailto:stop@example.org?subject=stop")
RENDERED = Rendered("Your visit", "A note.", "Hello.\n", "<p>Hello.</p>\n", "en")
MESSAGE = compile_message(
    Source(
        "a_text",
        "en",
        "general",
        '+++\nsubject = "About {{ clinic.name }}"\npreheader = "A note."\n+++\n'
        "Hello {{ patient.preferred_name }}.\n\n{{ text.rule }}\n",
    )
)


def read(mail: bytes) -> EmailMessage:
    found = BytesParser(_class=EmailMessage, policy=email.policy.default).parsebytes(mail)
    assert found.defects == []
    assert all(part.defects == [] for part in found.walk())
    return found


def body(found: EmailMessage, kind: str) -> str:
    part = found.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


def header_names(mail: bytes) -> list[str]:
    head = mail.partition(b"\r\n\r\n")[0].decode("ascii")
    return [line.partition(":")[0] for line in head.split("\r\n") if not line.startswith(" ")]


EXPECTED_NAMES = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Unsubscribe",
    "Reply-To",
    "MIME-Version",
    "Auto-Submitted",
    "Content-Type",
    "Content-Language",
]


def check_wire(mail: bytes) -> None:
    assert mail.isascii()
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", mail) is None
    assert b"\x00" not in mail
    assert wire_form(mail) == wire_form(bytes(mail))  # it is what `WireBytes` says
    assert max(map(len, mail.split(b"\r\n"))) < 998
    bodies = mail.partition(b"\r\n\r\n")[2]
    assert max(map(len, bodies.split(b"\r\n"))) <= 76


def test_every_header_comes_back_as_it_went_in() -> None:
    mail = WRITER.assemble(RENDERED, HEADERS)
    check_wire(mail)
    found = read(mail)
    assert header_names(mail) == EXPECTED_NAMES
    assert found["From"].addresses[0].display_name == "Orchard Lane"
    assert found["From"].addresses[0].addr_spec == "office@example.org"
    assert [address.addr_spec for address in found["To"].addresses] == ["asha@example.org"]
    assert found["To"] == "asha@example.org"
    assert found["Subject"] == "Your visit"
    assert found["Date"].datetime == AT
    assert found["Message-ID"] == "<0a1b@example.org>"
    assert found["Reply-To"] == "reply@example.org"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["List-Unsubscribe"] == "<mailto:stop@example.org?subject=stop>"
    assert found["Content-Language"] == "en"
    assert found.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in found.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(("key", "path"), sorted(list_templates([SHIPPED]).items()), ids=str)
def test_every_shipped_text_comes_back_whole(key: tuple[str, str, str], path: object) -> None:
    files = list_templates([SHIPPED])
    source = read_source(files[key])
    if source.is_part:
        return
    language = source.language
    parts = [read_source(files[(name, language, "general")]) for name in ("urgent_toxin", "_footer")]
    rendered = compile_message(source, *parts).render(sample_values(language, ("text.rest_rule",)))
    mail = WRITER.assemble(rendered, HEADERS)
    check_wire(mail)
    found = read(mail)
    assert len(mail) < 100_000
    assert header_names(mail) == EXPECTED_NAMES
    assert found["Subject"] == rendered.subject
    assert body(found, "plain") == rendered.text
    assert body(found, "html") == rendered.html


ANYTHING = st.one_of(
    st.text(max_size=200),
    st.text(alphabet=st.sampled_from("=?UTF-8QB_ .\t\r\n:@<>éना\u202e\u2066\x00From"), max_size=80),
    st.sampled_from(
        [
            "=?UTF-8?Q?=0A?=Bcc: x@example.com",
            "a\r\nBcc: x@example.com",
            "From here\nFrom there",
            "x " * 37 + "From ",
            ".\n..\n.",
            "From .From From \n..From ." + "." * 200,
            "--=_part--",
            "y" * 10_000,
            "é" * 10_000,
            "trailing \t",
            "\u202eabc\u2066",
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(subject=ANYTHING, name=ANYTHING, rule=ANYTHING)
@example(subject="é" * 60 + " " + "ü" * 60, name="=?UTF-8?Q?=0A?=Bcc: x@example.com", rule="From x\n.\n")
def test_no_value_can_add_a_header_a_recipient_or_change_a_body(subject: str, name: str, rule: str) -> None:
    values = {"clinic.name": subject, "patient.preferred_name": name, "text.rule": rule}
    try:
        rendered = MESSAGE.render(values)
        mail = WRITER.assemble(rendered, HEADERS)
    except (RenderFailed, HeaderRefused):
        return
    check_wire(mail)
    found = read(mail)
    assert header_names(mail) == EXPECTED_NAMES
    assert len(found.get_all("To", [])) == 1
    assert [address.addr_spec for address in found["To"].addresses] == ["asha@example.org"]
    assert found["Subject"] == rendered.subject
    assert body(found, "plain") == rendered.text
    assert body(found, "html") == rendered.html


def test_a_name_that_looks_like_an_encoded_word_is_shown_in_the_body() -> None:
    name = "=?UTF-8?Q?=0A?=Bcc: x@example.com"
    values = {"clinic.name": "us", "patient.preferred_name": name, "text.rule": "x"}
    mail = WRITER.assemble(MESSAGE.render(values), HEADERS)
    assert f"Hello {name}." in body(read(mail), "plain")
    assert header_names(mail) == EXPECTED_NAMES


@pytest.mark.parametrize("subject", ["a\nb", "a\r\nBcc: x@example.com", "a\x00b", "=?utf-8?q?x?=", "", "x" * 201])
def test_a_subject_that_could_turn_into_something_else_is_refused(subject: str) -> None:
    with pytest.raises(HeaderRefused):
        WRITER.assemble(Rendered(subject, "", "a\n", "a\n", "en"), HEADERS)


@pytest.mark.parametrize(
    "address",
    [
        "Asha <asha@example.org>",
        "asha@example.org, other@example.org",
        "asha@example.org\r\nBcc: x@example.com",
        "ashä@example.org",
        '"a b"@example.org',
        "a..b@example.org",
        "asha@",
        "asha",
        "=?utf-8?q?x?=@example.org",
        "asha@exam ple.org",
        "x" * 250 + "@example.org",
    ],
)
def test_an_address_that_is_not_one_bare_address_is_refused(address: str) -> None:
    with pytest.raises(HeaderRefused):
        ascii_address(address)


def test_a_domain_in_other_letters_is_written_in_ascii() -> None:
    assert ascii_address("asha@bücher.example.org") == "asha@xn--bcher-kva.example.org"


def test_a_refusal_never_repeats_the_address() -> None:
    with pytest.raises(HeaderRefused) as refused:
        ascii_address("ashä@example.org")
    assert "ash" not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_id", "0a1b@example.org"),
        ("message_id", "<a b@example.org>"),
        ("message_id", "<a@example.org>\r\nX: y"),
        ("date", datetime(2026, 12, 8)),
        ("list_unsubscribe_mailto", "stop@example.org"),
        ("list_unsubscribe_mailto", "mailto:stop@example.org>, <https://example.com"),
        ("list_unsubscribe_https", "http://example.org/u/x"),
        ("list_unsubscribe_https", "https://example.org/u/x\r\n y"),
        ("list_unsubscribe_https", "https://example.org/" + "x" * 900),
    ],
)
def test_a_header_value_of_the_wrong_form_is_refused(field: str, value: object) -> None:
    fields = {name: getattr(HEADERS, name) for name in MailHeaders.__slots__} | {field: value}
    with pytest.raises(HeaderRefused):
        WRITER.assemble(RENDERED, MailHeaders(**fields))


def test_a_long_one_click_link_stays_whole_on_its_own_line() -> None:
    link = "https://letters.example.org/u/" + "a1" * 300
    headers = MailHeaders(HEADERS.to, HEADERS.message_id, AT, HEADERS.list_unsubscribe_mailto, link)
    mail = WRITER.assemble(RENDERED, headers)
    assert f"\r\n <{link}>\r\n".encode() in mail
    found = read(mail)
    assert found["List-Unsubscribe"] == f"<mailto:stop@example.org?subject=stop>, <{link}>"
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize("name", ['A "quoted" \\ name', "Praxis Grün", "", "Dr. O'Hara, Lane", "Praxis am Grünen Weg"])
def test_a_sender_name_comes_back_as_it_was_set(name: str) -> None:
    mail = MailWriter(Sender("office@example.org", name, "reply@example.org", "example.org")).assemble(
        RENDERED, HEADERS
    )
    check_wire(mail)
    found = read(mail)
    assert [(a.display_name, a.addr_spec) for a in found["From"].addresses] == [(name, "office@example.org")]


@pytest.mark.parametrize("name", ["a\r\nBcc: x@example.com", "=?utf-8?q?x?=", "a\x00", "ü" * 60])
def test_a_sender_name_that_could_turn_into_something_else_is_refused(name: str) -> None:
    with pytest.raises(HeaderRefused):
        MailWriter(Sender("office@example.org", name, "reply@example.org", "example.org"))


def test_the_date_is_told_in_utc_whatever_zone_it_came_in() -> None:
    there = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    mail = WRITER.assemble(RENDERED, MailHeaders(HEADERS.to, HEADERS.message_id, there, "mailto:s@example.org"))
    assert b"\r\nDate: Tue, 08 Dec 2026 10:00:00 +0000\r\n" in mail


def test_a_body_of_one_long_line_keeps_crlf() -> None:
    mail = WRITER.assemble(Rendered("S", "", "x" * 500, "y" * 500, "en"), HEADERS)
    check_wire(mail)
    assert body(read(mail), "plain") == "x" * 500


def test_message_ids_are_random_and_keep_their_brackets() -> None:
    made = {make_message_id("example.org") for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(r"<[0-9a-f]{32}@example\.org>", message_id) for message_id in made)
