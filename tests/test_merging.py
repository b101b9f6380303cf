"""The same person entered twice: everything of one entry moves to the other, and nothing is opened by mistake."""

from uuid import uuid4

import pytest
from sqlalchemy import select

from db import marks
from db import patients as stored_patients
from db.base import Base
from db.erasure import is_erased
from db.follow_up import CareEvent, Reminder
from db.merging import OF_THE_ENTRY
from db.records import ClinicalNote, Patient, TreatmentVersion
from db.sends import list_attempts
from db.states import EventKind, ReminderState, StopReason, Topic
from scheduler import merging, patients, signing
from scheduler.errors import InvalidInput, NotFound, Refused
from tests.clinic import STAFF, Desk
from tests.people import AMINA, BEATRIX

K = EventKind
WHY = "the same birth date, and she said so"


def test_all_of_one_entry_reads_the_same_under_the_other(desk: Desk) -> None:
    gone, stays = desk.enter(AMINA), desk.enter(BEATRIX)
    treatment = desk.treat(gone, fields={"lot": "C77"}).treatment_id
    desk.event(treatment, K.REVIEW_BOOKED, "2026-12-08T14:00", fields={"place": "Room 2"})
    desk.tick(hours=8)
    (sent,) = desk.send_due()
    desk.event(treatment, K.COMPLICATION, fields={"what": "sample"})
    with desk.store.read() as session:
        copy = marks.read_copy(session, list_attempts(session, sent)[0].number)
    desk.tick()
    done = merging.merge(desk.clinic, STAFF, gone, stays, WHY)
    assert done.rows > 10
    with desk.store.read() as session:
        for table in Base.metadata.sorted_tables:
            if "patient_id" in table.columns and table.name not in OF_THE_ENTRY and table.name != "audit_events":
                owners = set(session.scalars(select(table.c.patient_id)))
                assert owners <= {stays}, table.name
        assert session.scalars(select(TreatmentVersion)).one().fields == {"lot": "C77"}
        booked = session.scalars(select(CareEvent).where(CareEvent.kind == K.REVIEW_BOOKED)).one()
        assert booked.fields == {"place": "Room 2"}
        assert marks.read_copy(session, list_attempts(session, sent)[0].number) == copy
        assert WHY in (session.scalars(select(ClinicalNote)).one().text or "")
        with pytest.raises(NotFound):
            patients.get(session, gone)
        assert not is_erased(session, stays)
    desk.nothing_left()
    assert {event["patient_id"] for event in desk.audit("patient.merged")} == {gone, stays}


def test_a_signature_still_stands(desk: Desk) -> None:
    gone, stays = desk.enter(AMINA), desk.enter(BEATRIX)
    treatment = desk.treat(gone, fields={"lot": "C77"}, clinician="Dr Sample").treatment_id
    desk.tick(hours=1)
    signing.sign(desk.clinic, STAFF, treatment)
    merging.merge(desk.clinic, STAFF, gone, stays, WHY)
    with desk.store.read() as session:
        (signed,) = signing.list_signed_versions(session, treatment)
    assert signed.holds


def test_a_no_and_a_stop_of_either_entry_hold(desk: Desk) -> None:
    gone, stays = desk.enter(AMINA, consent="reviews"), desk.enter(BEATRIX)
    desk.treat(stays)
    desk.stop(gone, StopReason.UNSAFE)
    merging.merge(desk.clinic, STAFF, gone, stays, WHY)
    with desk.store.read() as session:
        assert stored_patients.list_consent(session, [stays])[stays] == {Topic.REVIEWS: True, Topic.EXERCISES: False}
        stop = stored_patients.find_stop(session, stays)
        assert stop is not None
        assert stop.reason is StopReason.UNSAFE
    assert {row.state for row in desk.rows() if row.audience.value == "patient"} == {ReminderState.CANCELLED}


def test_two_plans_of_one_protocol_do_not_both_run(desk: Desk) -> None:
    gone, stays = desk.enter(AMINA), desk.enter(BEATRIX)
    older = desk.treat(gone, at="2026-11-16T09:30").treatment_id
    newer = desk.treat(stays).treatment_id
    merging.merge(desk.clinic, STAFF, gone, stays, WHY)
    live = {ReminderState.SCHEDULED, ReminderState.HELD}
    assert not live & {row.state for row in desk.rows(older) if row.audience.value == "patient"}
    assert live & {row.state for row in desk.rows(newer)}


def test_nothing_moves_while_a_message_is_on_its_way(desk: Desk) -> None:
    gone, stays = desk.enter(AMINA), desk.enter(BEATRIX)
    desk.treat(gone)
    desk.tick(hours=8)
    assert desk.claim(desk.worker())
    with pytest.raises(Refused, match="on its way"):
        merging.merge(desk.clinic, STAFF, gone, stays, WHY)
    with desk.store.read() as session:
        assert set(session.scalars(select(Reminder.patient_id))) == {gone}


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_reason_is_needed(desk: Desk, reason: str) -> None:
    gone, stays = desk.enter(AMINA), desk.enter(BEATRIX)
    with pytest.raises(InvalidInput):
        merging.merge(desk.clinic, STAFF, gone, stays, reason)


def test_the_same_entry_and_an_unknown_one_are_refused(desk: Desk) -> None:
    gone = desk.enter(AMINA)
    with pytest.raises(InvalidInput, match="same patient"):
        merging.merge(desk.clinic, STAFF, gone, gone, WHY)
    with pytest.raises(NotFound):
        merging.merge(desk.clinic, STAFF, gone, uuid4(), WHY)


def test_links_sent_to_either_open_nothing_any_more(desk: Desk) -> None:
    gone, stays = desk.enter(AMINA), desk.enter(BEATRIX)
    merging.merge(desk.clinic, STAFF, gone, stays, WHY)
    with desk.store.read() as session:
        assert session.get_one(Patient, stays).links_revoked_at == desk.clock.now()
        assert session.get_one(Patient, gone).voided_at == desk.clock.now()
