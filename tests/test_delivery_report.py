"""What a message of the technical mailbox is and says: well-known servers' reports, and whatever anybody may send."""

import binascii
import quopri
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.states import ReportKind
from scheduler.delivery_report import About, Sort, about, meaning, read_mail
from scheduler.received_parts import READ_BYTES
from tests import returned_mails as shapes
from tests.returned_mails import filled

HER = "amina@example.org"
OURS = "<00000000000000000000000000000000@example.org>"
K = ReportKind


@pytest.mark.parametrize(
    ("shape", "sort", "status", "message_id"),
    [
        (shapes.POSTFIX, Sort.REPORT, "5.1.1", OURS),
        (shapes.EXCHANGE, Sort.REPORT, "5.1.10", OURS),
        (shapes.DOMINO, Sort.REPORT, "5.1.1", None),
        (shapes.QMAIL, Sort.MAILER, "5.1.1", None),
        (shapes.EXIM, Sort.MAILER, "", None),
    ],
)
def test_reports_of_well_known_servers_are_read(shape: str, sort: Sort, status: str, message_id: str | None) -> None:
    for raw in (filled(shape), filled(shape).replace(b"\r\n", b"\n")):
        mail = read_mail(raw)
        assert (mail.sort, mail.message_id) == (sort, message_id)
        assert any("bounces@example.org" in address for address in mail.addressed_to)
        found = about(mail, HER)
        assert (found.action, found.status) == ("failed", status)


@pytest.mark.parametrize(
    ("shape", "sort"),
    [
        (shapes.VACATION, Sort.AUTOMATIC),
        (shapes.OUT_OF_OFFICE, Sort.AUTOMATIC),
        (shapes.READING_RECEIPT, Sort.AUTOMATIC),
        (shapes.LETTER, Sort.OTHER),
        (shapes.COMPLAINT, Sort.OTHER),
    ],
)
def test_answers_of_machines_are_told_from_what_a_person_wrote(shape: str, sort: Sort) -> None:
    assert read_mail(filled(shape)).sort is sort


def test_a_person_who_forwards_a_report_is_a_person() -> None:
    report = filled(shapes.DOMINO).replace(b"Postmaster@example.com", b"Amina <amina@example.org>")
    assert read_mail(report.replace(b"Return-Path: <>\r\n", b"")).sort is Sort.OTHER


@pytest.mark.parametrize(
    ("action", "status", "said", "kind", "blames"),
    [
        ("failed", "5.1.1", "", K.REFUSED, True),
        ("failed", "5.1.10", "", K.REFUSED, True),
        ("failed", "5.1.2", "", K.REFUSED, True),
        ("failed", "5.1.7", "", K.RETURNED, False),  # our own address: one wrong setting must not blame every patient
        ("failed", "5.1.8", "", K.RETURNED, False),
        ("failed", "5.2.1", "", K.RETURNED, False),
        ("failed", "5.2.2", "", K.RETURNED, False),
        ("failed", "5.7.1", "", K.RETURNED, False),
        ("failed", "5.4.4", "", K.RETURNED, False),
        ("failed", "4.4.7", "", K.RETURNED, False),  # it was put off until it was given up
        ("failed", "5.0.0", "550 5.1.1 unknown", K.REFUSED, True),
        ("failed", "5.0.0", "550 5.7.1 policy", K.RETURNED, False),
        ("failed", "5.0.0", "550 no", K.RETURNED, False),  # nobody knows in which phase: a policy says 550 too
        ("failed", "", "", K.RETURNED, False),
        ("failed", "", "(#5.1.1)", K.REFUSED, True),
        ("failed", "2.0.0", "", K.RETURNED, False),
        ("", "5.1.1", "", K.REFUSED, True),
        ("", "4.2.2", "", K.DELAYED, False),
        ("nonsense", "5.1.1", "", K.REFUSED, True),
        ("delayed", "4.4.1", "", K.DELAYED, False),
        ("delayed", "5.1.1", "", K.DELAYED, False),  # the action decides before the status
        ("delivered", "2.0.0", "", K.DELIVERED, False),
        ("relayed", "5.1.1", "", K.DELIVERED, False),
        ("expanded", "", "", K.DELIVERED, False),
    ],
)
def test_what_a_report_means_for_message_and_address(
    action: str, status: str, said: str, kind: ReportKind, blames: bool
) -> None:
    raw = filled(shapes.POSTFIX, action=action, status=status, said=said)
    assert meaning(about(read_mail(raw), HER)) == (kind, blames)


def several(*blocks: str) -> bytes:
    """A report about several recipients."""
    told = "\n\n".join(["Reporting-MTA: dns; mx.example.com", *blocks])
    return filled(
        "From: MAILER-DAEMON@mx.example.com\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n"
        f"\n--b\nContent-Type: message/delivery-status\n\n{told}\n--b--\n"
    )


def test_of_several_recipients_only_hers_counts() -> None:
    other = "Final-Recipient: rfc822; other@example.org\nAction: failed\nStatus: 5.1.1"
    third = "Final-Recipient: rfc822; third@example.org\nAction: delayed\nStatus: 4.0.0"
    hers = "Final-Recipient: rfc822; <AMINA@example.org>\nAction: failed\nStatus: 5.2.2"
    relayed = "Final-Recipient: x; y\nOriginal-Recipient: rfc822;amina@example.org\nAction: relayed\nStatus: 2.0.0"
    assert about(read_mail(several(other, hers)), HER).status == "5.2.2"
    assert about(read_mail(several(other, relayed)), HER).action == "relayed"
    assert about(read_mail(several(other)), HER).status == "5.1.1"  # where she has her mail forwarded to
    unclear = about(read_mail(several(other, third)), HER)
    assert meaning(unclear) == (K.RETURNED, False)
    assert meaning(about(read_mail(several(third, third)), HER)) == (K.DELAYED, False)
    assert meaning(about(read_mail(several()), HER)) == (K.RETURNED, False)


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "nonsense"])
def test_a_report_may_be_encoded_and_in_any_letters(encoding: str) -> None:
    told = (
        "Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: utf-8; jörg@exämple.org\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    )
    encoded: dict[str, Callable[[bytes], bytes]] = {
        "base64": binascii.b2a_base64,
        "quoted-printable": quopri.encodestring,
    }
    for letters in ("utf-8", "latin-1"):
        body = encoded.get(encoding, bytes)(told.encode(letters))
        raw = (
            b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/global-delivery-status\r\n"
            + f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode()
            + body
            + b"\r\n--b--\r\n"
        )
        assert about(read_mail(raw), "jörg@exämple.org") == About("jörg@exämple.org", "", "failed", "5.1.1", "")


def test_what_is_cut_off_is_read_as_far_as_it_goes() -> None:
    raw = filled(shapes.POSTFIX)
    assert about(read_mail(raw[: raw.index(b"Remote-MTA")]), HER).status == "5.1.1"
    big = filled(shapes.POSTFIX).replace(b"could not", b"could not " * 60_000)
    assert read_mail(big).sort in (Sort.REPORT, Sort.MAILER)  # its report lies beyond what is read


_LINES = st.sampled_from(
    [line for shape in shapes.ALL for line in filled(shape).split(b"\r\n")]
    + [b"", b"--", b"--b", b"--b--", b"Content-Type: multipart/mixed; boundary=b", b"\x00", b"\xff\xfe", b" ", b":"]
    + [b"Content-Type: multipart/report; boundary=", b"Content-Transfer-Encoding: base64", b"=?utf-8?q?=0A?="]
)


@given(st.one_of(st.binary(max_size=4_000), st.lists(_LINES, max_size=80).map(b"\r\n".join)))
@settings(max_examples=250)
def test_nothing_that_anybody_sends_breaks_it(raw: bytes) -> None:
    mail = read_mail(raw)
    found = about(mail, HER)
    kind, blames = meaning(found)
    assert not blames or (kind is K.REFUSED and not found.action.startswith("delayed"))
    shown = [*mail.addressed_to, found.said, found.action, found.status, mail.message_id or ""]
    assert all(len(text) <= 2_000 and not any(sign in text for sign in "\r\n\x00") for text in shown)


@given(st.sampled_from(shapes.ALL), st.data())
@settings(max_examples=100)
def test_a_report_with_anything_cut_out_or_changed_never_breaks_it(shape: str, data: st.DataObject) -> None:
    raw = bytearray(filled(shape))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(raw) - 1)))
        raw[place : place + data.draw(st.integers(0, 200))] = data.draw(st.binary(max_size=8))
    meaning(about(read_mail(bytes(raw)), HER))


def bombs() -> dict[str, bytes]:
    """What is made to cost time or memory."""
    nested = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * 20_000
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (place, place) for place in range(9_000)
    )
    head = b"Content-Type: multipart/report; boundary=b\r\n\r\n"
    return {
        "nested": nested,
        "nested with names": deep,
        "one endless header": b"X: " + b"a " * 100_000,
        "a header folded for ever": b"To: a\r\n" + b" a\r\n" * 200_000,
        "headers without end": b"a: b\r\n" * 200_000,
        "boundaries alone": head + b"--b\r\n" * 200_000,
        "blocks without end": head
        + b"--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        + b"Action: failed\r\n\r\n" * 100_000,
        "spaces": b"Content-Type: multipart/report;" + b" ;" * 500_000,
        "a boundary of signs": b'Content-Type: multipart/mixed; boundary="'
        + b"(.*)+" * 40
        + b'"\r\n\r\n'
        + b"(" * 999_999,
        "base64": head
        + b"--b\r\nContent-Type: message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + b"=A" * 400_000,
        "digits": b"Subject: x\r\n\r\n" + b"5.1." * 300_000,
        "codes": filled(shapes.POSTFIX, said="550 " * 100_000, status=""),
        "addresses": b"To: " + b"bounces+" * 200_000,
    }


@pytest.mark.parametrize("name", bombs())
def test_time_and_memory_stay_within_bounds(name: str) -> None:
    raw = bombs()[name]
    began = time.process_time()
    tracemalloc.start()
    meaning(about(read_mail(raw), HER))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40 * READ_BYTES
    assert time.process_time() - began < 3  # tracing makes it some five times as slow; a shared machine may stall
