"""What a report does: the right message came back, the right version of an address is to blame, and nobody else's."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete, select

from db import patients as stored_patients
from db import returned_mail as stored
from db.engine import Store
from db.records import PatientKey
from db.returned_mail import DeliveryReport, MailboxLetter
from db.states import AddressState, AttemptOutcome, DecisionKind, ReportKind, StopReason
from scheduler import patients
from scheduler.decisions import decide
from scheduler.return_path import return_path
from scheduler.returned_mail import Taken, settle_letters, take
from scheduler.worklist import LineKind, read_worklist
from tests import returned_mails as shapes
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX
from tests.returned_mails import filled

T = Taken


def with_mailbox(desk: Desk) -> Desk:
    """The same clinic with a mailbox that takes tokens."""
    return desk.with_settings(BOUNCE_ADDRESS="bounces@example.org", BOUNCE_TOKENS="on")


def sent_to_amina(desk: Desk) -> UUID:
    """Amina, to whom a message has left."""
    patient_id = desk.enter(AMINA)
    desk.treat(patient_id)
    desk.tick(hours=9)
    assert len(desk.send_due()) == 1
    return patient_id


def path_of(desk: Desk, version: int = 1, step: str = "after-visit") -> str:
    """The return path of a message."""
    return return_path(desk.clinic.settings, desk.store.vault, desk.row(step).message_id, version)


def reports(store: Store) -> list[tuple[ReportKind, str | None, bool]]:
    """Kind, status and whether it waits for a person."""
    with store.read() as session:
        found = session.scalars(select(DeliveryReport).order_by(DeliveryReport.received_at, DeliveryReport.id))
        return [(row.kind, row.status, row.waits_since is not None) for row in found]


def address(desk: Desk, patient_id: UUID) -> AddressState:
    """What is known about her address."""
    with desk.store.read() as session:
        return stored_patients.find_address_state(session, patients.get(session, patient_id))


def lines(desk: Desk) -> list[LineKind]:
    """What the day's list says of messages and addresses."""
    about = {LineKind.CAME_BACK, LineKind.ADDRESS_REFUSED, LineKind.FAILED, LineKind.ADDRESS_UNCONFIRMED}
    with desk.store.read() as session:
        return [line.kind for line in read_worklist(session, desk.clinic).lines if line.kind in about]


def test_a_refused_address_marks_it_holds_what_comes_and_is_a_line_for_staff(desk: Desk) -> None:
    desk = with_mailbox(desk)
    patient_id = sent_to_amina(desk)
    other = desk.enter(BEATRIX, email="amina@example.org")  # shares it: another patient's address is not marked
    raw = filled(shapes.POSTFIX, to=path_of(desk))
    assert take(desk.clinic, raw) is T.REPORT
    assert desk.stands("after-visit") == "sent"
    assert desk.stands("next-session") == "held:address_refused"
    assert (address(desk, patient_id), address(desk, other)) == (AddressState.REFUSED, AddressState.CONFIRMED)
    assert reports(desk.store) == [(ReportKind.REFUSED, "5.1.1", True)]
    assert lines(desk) == [LineKind.CAME_BACK, LineKind.ADDRESS_REFUSED]
    assert [event["patient_id"] for event in desk.audit("address.refused")] == [patient_id]
    assert [event["subject_id"] for event in desk.audit("reminder.came_back")] == [str(desk.row("after-visit").id)]
    with desk.store.read() as session:
        report = session.scalars(select(DeliveryReport)).one()
        assert b"amina" not in (report.said_sealed or b"")
        assert "User unknown" in (report.said or "")
    desk.nothing_left()
    with desk.unchanged():
        assert take(desk.clinic, raw) is T.KNOWN  # killed before the mailbox was told: it comes again


def test_a_last_message_that_came_back_is_a_line_too_until_somebody_acts(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    patient_id = sent_to_amina(desk)
    take(desk.clinic, filled(shapes.QMAIL, to=path_of(desk)))
    assert LineKind.CAME_BACK in lines(desk)
    decide(desk.clinic, STAFF, desk.row("after-visit").id, DecisionKind.DONE, "rang her")
    assert lines(desk) == [LineKind.ADDRESS_REFUSED]
    desk.change(patient_id, email="amina.f@example.org")
    assert lines(desk) == [LineKind.ADDRESS_UNCONFIRMED]
    assert reports(desk.store) == [(ReportKind.REFUSED, "5.1.1", False)]


def test_a_new_address_or_a_death_ends_the_line(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    patient_id = sent_to_amina(desk)
    take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk)))
    desk.change(patient_id, email="amina.f@example.org", confirmed="yes")
    assert lines(desk) == []
    desk.decide(desk.row("after-visit"), DecisionKind.SEND_AGAIN)
    desk.send_due()
    take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk, version=2), said="550 5.1.1 again"))
    assert address(desk, patient_id) is AddressState.REFUSED
    assert LineKind.CAME_BACK in lines(desk)
    desk.stop(patient_id, StopReason.DECEASED)
    assert lines(desk) == []
    assert reports(desk.store)[1] == (ReportKind.REFUSED, "5.1.1", False)


def test_a_report_about_an_earlier_address_does_not_blame_the_new_one(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    patient_id = sent_to_amina(desk)
    desk.change(patient_id, email="amina.f@example.org", confirmed="yes")
    assert take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk))) is T.REPORT
    assert address(desk, patient_id) is AddressState.CONFIRMED
    assert desk.stands("next-session") == "scheduled"
    assert lines(desk) == [LineKind.CAME_BACK]  # that message did not arrive all the same


@pytest.mark.parametrize("status", ["5.7.1", "5.2.2", "4.4.7", "5.1.8"])
def test_other_failures_are_shown_and_blame_nobody(sqlite_desk: Desk, status: str) -> None:
    desk = with_mailbox(sqlite_desk)
    patient_id = sent_to_amina(desk)
    take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk), status=status, said=f"550 {status} no"))
    assert address(desk, patient_id) is AddressState.CONFIRMED
    assert reports(desk.store) == [(ReportKind.RETURNED, status, True)]
    assert lines(desk) == [LineKind.CAME_BACK]
    desk.nothing_left()


@pytest.mark.parametrize(("status", "state"), [("5.2.2", AddressState.REFUSED), ("5.7.1", AddressState.CONFIRMED)])
def test_a_mailbox_that_takes_none_of_three_messages_is_refused_and_a_policy_never(
    desk: Desk, status: str, state: AddressState
) -> None:
    desk = with_mailbox(desk)
    patient_id = sent_to_amina(desk)
    for day in range(2):
        desk.treat(patient_id, f"2026-11-{24 + day}T09:30")
        desk.tick(days=1)
        assert len(desk.send_due()) == 1
    rows = [row for row in desk.rows() if row.state == "sent"]
    for count, row in enumerate(rows, start=1):
        path = return_path(desk.clinic.settings, desk.store.vault, row.message_id, 1)
        for said in ("first", "again"):  # two servers may tell of one message: it counts once
            take(desk.clinic, filled(shapes.POSTFIX, to=path, status=status, said=f"552 {status} {said}"))
        assert address(desk, patient_id) is (state if count == 3 else AddressState.CONFIRMED)
    assert [waits for _, _, waits in reports(desk.store)] == [True, False] * 3
    desk.nothing_left()


def test_a_delay_and_a_delivery_are_only_told(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    patient_id = sent_to_amina(desk)
    take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk), action="delayed", status="4.4.1"))
    desk.tick()
    take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk), action="relayed", status="2.0.0"))
    assert reports(desk.store) == [(ReportKind.DELAYED, "4.4.1", False), (ReportKind.DELIVERED, "2.0.0", False)]
    assert (address(desk, patient_id), lines(desk), desk.audit("reminder.came_back")) == (
        AddressState.CONFIRMED,
        [],
        [],
    )


def test_a_later_report_about_the_same_message_does_not_undo_what_staff_did(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    patient_id = sent_to_amina(desk)
    take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk)))
    desk.change(patient_id, confirmed="yes")
    decide(desk.clinic, STAFF, desk.row("after-visit").id, DecisionKind.DONE)
    take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk), said="550 5.1.1 told by another server"))
    assert (address(desk, patient_id), lines(desk)) == (AddressState.CONFIRMED, [])


# what is believed


def test_without_a_token_the_message_id_and_the_very_address_are_believed_together(sqlite_desk: Desk) -> None:
    desk = sqlite_desk.with_settings(BOUNCE_ADDRESS="bounces@example.org")
    patient_id = sent_to_amina(desk)
    mine = desk.row("after-visit").message_id
    for wrong in (
        filled(shapes.POSTFIX),
        filled(shapes.POSTFIX, message_id=mine, her="other@example.org"),
        filled(shapes.POSTFIX, message_id=mine.replace("example.org", "example.net")),
        filled(shapes.DOMINO),
    ):
        with desk.unchanged():
            assert take(desk.clinic, wrong) is T.NOT_OURS
    assert take(desk.clinic, filled(shapes.QMAIL, message_id=mine)) is T.LETTER  # without a token nobody can tell
    assert address(desk, patient_id) is AddressState.CONFIRMED
    assert take(desk.clinic, filled(shapes.EXCHANGE, message_id=mine, her="AMINA@example.org")) is T.REPORT
    assert address(desk, patient_id) is AddressState.REFUSED


def test_a_forged_token_is_not_believed(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    sent_to_amina(desk)
    path = path_of(desk)
    for place in (8, 20, 33, 34, 49):
        sign = "a" if path[place] != "a" else "b"
        forged = path[:place] + sign + path[place + 1 :]
        with desk.unchanged():
            assert take(desk.clinic, filled(shapes.POSTFIX, to=forged)) is T.NOT_OURS
    with desk.unchanged():
        assert take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk, version=2))) is T.NOT_OURS


def test_a_message_that_never_left_cannot_come_back(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    desk.treat(desk.enter(AMINA))
    with desk.unchanged():
        assert take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk))) is T.NOT_OURS
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.REJECTED, code=550)
    with desk.unchanged():
        assert take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk))) is T.NOT_OURS


def test_what_may_have_arrived_and_came_back_is_not_repeated_to_that_address(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    desk.treat(desk.enter(AMINA))
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.UNKNOWN)
    assert desk.stands("after-visit") == "awaiting_retry:resend_once"
    take(desk.clinic, filled(shapes.POSTFIX, to=path_of(desk)))
    assert desk.stands("after-visit") == "held:address_refused"
    desk.nothing_left()


def test_a_token_outlives_a_change_of_the_senders_domain(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    sent_to_amina(desk)
    mine, path = desk.row("after-visit").message_id, path_of(desk)
    moved = desk.with_settings(
        BOUNCE_ADDRESS="bounces@example.org", BOUNCE_TOKENS="on", SENDER_ADDRESS="clinic@new.example.org"
    )
    assert take(moved.clinic, filled(shapes.POSTFIX, to=path, message_id=mine)) is T.REPORT


# what else lies there


@pytest.mark.parametrize("shape", [shapes.VACATION, shapes.OUT_OF_OFFICE, shapes.READING_RECEIPT])
def test_an_answer_of_a_machine_changes_nothing(sqlite_desk: Desk, shape: str) -> None:
    desk = with_mailbox(sqlite_desk)
    sent_to_amina(desk)
    with desk.unchanged():
        assert take(desk.clinic, filled(shape, to=path_of(desk))) is T.AUTOMATIC


def test_a_letter_is_noted_once_without_a_word_of_it(desk: Desk) -> None:
    desk = with_mailbox(desk)
    raw = filled(shapes.LETTER, to=path_of(desk) if desk.rows() else "bounces@example.org")
    assert [take(desk.clinic, raw, 6, 90), take(desk.clinic, raw, 7, 41)] == [T.LETTER, T.LETTER]
    desk.tick()
    take(desk.clinic, filled(shapes.COMPLAINT))
    with desk.store.read() as session:
        assert session.scalars(select(MailboxLetter.uid).order_by(MailboxLetter.found_at)).all() == [41, None]
        assert stored.list_noted(session, 7, [40, 41]) == {41}
        found = read_worklist(session, desk.clinic).letters
    assert found is not None
    assert (found.count, found.until - found.since) == (2, timedelta(seconds=1))
    settle_letters(desk.clinic, STAFF, found.since)
    with desk.store.read() as session:
        assert stored.find_waiting(session, 1).letters == 1  # what came after the page was made stays
    settle_letters(desk.clinic, STAFF, found.until)
    with desk.store.read() as session:
        assert read_worklist(session, desk.clinic).letters is None
    assert len(desk.audit("mailbox.looked_at")) == 2


def test_a_report_about_an_erased_patient_breaks_nothing(sqlite_desk: Desk) -> None:
    desk = with_mailbox(sqlite_desk)
    patient_id = sent_to_amina(desk)
    mine = desk.row("after-visit").message_id
    with desk.store.write("test", desk.clock.now()) as session:
        session.execute(delete(PatientKey).where(PatientKey.patient_id == patient_id))
    desk.store.vault.forget(patient_id)
    for to in ("bounces@example.org", path_of(desk)):
        assert take(desk.clinic, filled(shapes.POSTFIX, to=to, message_id=mine)) is T.NOT_OURS
