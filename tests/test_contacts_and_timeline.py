"""Speaking to a patient and notes about her, and her whole story in the order of time. On both databases."""

from uuid import UUID

import pytest

from db import treatments as stored_treatments
from db.records import Patient
from db.states import AttemptOutcome, DecisionKind, EventKind, StopReason
from scheduler import contacts, events, signing, treatments
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.recovery import sweep
from scheduler.timeline import Happened, Timeline, read_timeline
from tests.clinic import STAFF, Desk
from tests.counted import MOST, counting
from tests.one_database import on_one
from tests.people import AMINA, BEATRIX

K, D = EventKind, DecisionKind


def timeline(desk: Desk, patient_id: UUID) -> Timeline:
    """Her story."""
    with desk.store.read() as session:
        return read_timeline(session, desk.clinic, session.get_one(Patient, patient_id))


def treated(desk: Desk) -> tuple[UUID, UUID]:
    """Amina and her treatment of 23 November, 09:30."""
    patient_id = desk.enter(AMINA)
    return patient_id, desk.treat(patient_id).treatment_id


def notes(desk: Desk, patient_id: UUID) -> list[str | None]:
    """The texts of her notes."""
    with desk.store.read() as session:
        return [note.text for note in stored_treatments.list_notes(session, patient_id)]


@on_one
def test_a_contact_is_noted_and_a_note_added_without_a_value_in_the_trail(desk: Desk) -> None:
    patient_id, treatment_id = treated(desk)
    contacts.record_contact(desk.clinic, STAFF, patient_id, " She is well.\nNo pain. ")
    desk.tick()
    contacts.add_note(desk.clinic, STAFF, patient_id, "Allergic to latex.", treatment_id)
    assert notes(desk, patient_id) == ["Contact: She is well.\nNo pain.", "Allergic to latex."]
    assert [event["fields"] for event in desk.audit("note.added")] == [["text"], ["text"]]
    for wrong in ("", " \n ", "a\x00b", "x" * 2_001):
        with desk.unchanged(), pytest.raises(InvalidInput, match="note: "):
            contacts.record_contact(desk.clinic, STAFF, patient_id, wrong)
    with desk.unchanged(), pytest.raises(NotFound):
        contacts.add_note(desk.clinic, STAFF, UUID(int=1), "Nobody.")


def test_a_contact_replaces_the_message_it_makes_needless(desk: Desk) -> None:
    patient_id, _ = treated(desk)
    row = desk.row("after-visit")
    contacts.record_contact(desk.clinic, STAFF, patient_id, "She is well.", row.id)
    assert desk.stands("after-visit") == "done:done_by_staff"
    assert notes(desk, patient_id) == []  # it stands with the message
    (said,) = [found.decision for found in timeline(desk, patient_id).past if found.decision]
    assert said is not None
    desk.tick()
    desk.tick(days=2)
    assert desk.send_due() == []
    with desk.unchanged(), pytest.raises(Refused, match="it is done"):
        contacts.record_contact(desk.clinic, STAFF, patient_id, "Again.", row.id)
    desk.nothing_left()


@on_one
def test_a_contact_does_not_replace_anothers_message_nor_one_on_the_wire(desk: Desk) -> None:
    patient_id, _ = treated(desk)
    other = desk.enter(BEATRIX)
    row = desk.row("after-visit")
    for reminder_id in (row.id, UUID(int=1)):
        with desk.unchanged(), pytest.raises(NotFound):
            contacts.record_contact(desk.clinic, STAFF, other, "She is well.", reminder_id)
    desk.tick(hours=9)
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    desk.mark(worker_id, claim, desk.letter(claim))
    with desk.unchanged(), pytest.raises(Refused, match="being handed to the mail server"):
        contacts.record_contact(desk.clinic, STAFF, patient_id, "She is well.", row.id)


@on_one
def test_a_contact_after_the_message_has_left_is_kept_with_it(desk: Desk) -> None:
    patient_id, _ = treated(desk)
    row = desk.row("after-visit")
    desk.tick(hours=9)
    desk.send_due()
    contacts.record_contact(desk.clinic, STAFF, patient_id, "She is well.", row.id)
    assert desk.stands("after-visit") == "sent"
    assert [found.decision.kind for found in timeline(desk, patient_id).past if found.decision] == [D.KEEP]


def what(found: Happened) -> str:
    """An entry in one word; it holds exactly one row."""
    rows = {
        "event": found.event,
        "message": found.message,
        "decision": found.decision,
        "note": found.note,
        "consent": found.consent,
        "address": found.address,
        "stop": found.stop,
        "version": found.version,
    }
    (name,) = [name for name, row in rows.items() if row is not None]
    if name == "version":
        return "signed" if found.signed else "written"
    return name


def test_a_story_holds_everything_that_happened_in_the_order_of_time(desk: Desk) -> None:
    patient_id, treatment_id = treated(desk)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00")
    wrong = desk.event(treatment_id, K.COMPLICATION)
    events.retract(desk.clinic, STAFF, wrong, "Another patient.")
    desk.tick()
    desk.decide(desk.row("next-session"), D.CANCEL, "Not this year.")
    signing.fill_in(desk.clinic, STAFF, treatment_id, {"lot": "C1"}, "Dr Okafor")
    desk.tick(hours=1)
    signing.sign(desk.clinic, STAFF, treatment_id)
    desk.tick(hours=8)
    desk.send_due(AttemptOutcome.REFUSED, blames_address=True)
    contacts.add_note(desk.clinic, STAFF, patient_id, "Rang her.", treatment_id)
    desk.tick()
    desk.stop(patient_id, StopReason.OPTED_OUT, "By telephone.")
    found = timeline(desk, patient_id)
    times = [happened.at for happened in found.past]
    assert times == sorted(times, reverse=True)
    told = [what(happened) for happened in found.past if happened.message is None]
    assert told[:9] == [
        "stop",
        "note",
        "address",
        "signed",
        "written",
        "decision",
        "event",
        "event",
        "written",
    ]
    assert sorted(told[9:]) == ["address", "consent", "consent"]  # of one instant
    struck = [happened for happened in found.past if happened.retraction]
    assert [happened.event.id for happened in struck if happened.event] == [wrong]
    assert [happened.decided_title for happened in found.past if happened.decision] != ["next-session"]
    failed = next(each.message for each in found.past if each.message and each.message.row.step == "after-visit")
    assert [attempt.outcome for attempt in failed.attempts] == [AttemptOutcome.REFUSED]
    # For staff goes on: somebody rings her although she wants no mails.
    assert [message.row.step for message in found.ahead] == ["no-review-yet"]


@on_one
def test_what_is_to_come_is_told_by_when_it_comes_and_what_ended_by_when_it_ended(desk: Desk) -> None:
    patient_id, treatment_id = treated(desk)
    assert [message.row.step for message in timeline(desk, patient_id).ahead] == [
        "after-visit",
        "no-review-yet",
        "next-session",
    ]
    desk.tick(days=40)
    sweep(desk.clinic)
    found = timeline(desk, patient_id)
    missed = [each.message for each in found.past if each.message]
    assert [(message.row.step, message.at == message.row.due_at) for message in missed] == [
        ("next-session", True),
        ("after-visit", True),
    ]
    treatments.cancel(desk.clinic, STAFF, treatment_id, "It did not take place.")
    found = timeline(desk, patient_id)
    assert list(found.ahead) == []
    (line,) = [each.message for each in found.past if each.message and each.message.row.step == "no-review-yet"]
    assert line.at == line.row.changed_at


def test_a_story_of_many_treatments_takes_the_queries_of_one(desk: Desk) -> None:
    patient_id, _ = treated(desk)
    timeline(desk, patient_id)  # the shelf is read
    with counting(desk.store) as one:
        timeline(desk, patient_id)
    for day in range(10, 18):
        treatment_id = desk.treat(patient_id, f"2026-11-{day}T10:00", replaces=False).treatment_id
        desk.event(treatment_id, K.REVIEW_BOOKED, "2026-12-08T14:00")
    with counting(desk.store) as many:
        timeline(desk, patient_id)
    assert len(one) <= len(many) <= len(one) + 3 <= MOST - 10
