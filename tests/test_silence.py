"""A patient who has not answered for as long as her protocol says: a line for staff, once, and never too soon."""

import asyncio
from uuid import UUID

import pytest

from db.states import EventKind, StopReason
from scheduler import answers, raised_lines, silence
from scheduler.answers import CheckIn
from scheduler.housekeeping import Housekeeper
from scheduler.worklist import LineKind
from tests.clinic import COURSE, STAFF, Desk
from tests.her_page import AT_HOME, opening
from tests.one_database import on_one
from tests.people import AMINA
from tests.worklist_parts import kinds, only, worklist

K = EventKind


def asked(desk: Desk, protocol: str = AT_HOME) -> UUID:
    """Amina's treatment of 23 November; the first message about the part alone left on 30 November, 10:00."""
    desk.write_protocol(protocol)
    desk.approve_unseen()
    treatment_id = desk.treat(desk.enter(AMINA)).treatment_id
    desk.event(treatment_id, K.SOLO_STARTED)
    desk.tick(days=7, hours=1)
    desk.send_due()
    assert desk.row("alone").sent_at is not None
    return treatment_id


def silent(desk: Desk) -> bool:
    """Whether the list says so after a look."""
    silence.raise_silent(desk.clinic, lambda: True)
    return "silent" in kinds(desk)


def test_who_was_asked_and_did_not_answer_for_three_weeks_is_a_line_once(desk: Desk) -> None:
    asked(desk)
    desk.tick(days=20)
    assert not silent(desk)
    desk.tick(days=1)
    assert silent(desk)
    assert silence.raise_silent(desk.clinic, lambda: True) == 0
    assert kinds(desk).count("silent") == 1


@on_one
def test_an_answer_ends_the_line_and_the_time_counts_anew_from_the_next_message(desk: Desk) -> None:
    hers = opening(desk, asked(desk))
    desk.tick(days=21)
    assert silent(desk)
    answers.check_in(desk.clinic, hers, CheckIn("done"))
    assert not silent(desk)
    desk.tick(days=30)  # nothing was sent since
    assert not silent(desk)


@on_one
def test_once_a_person_dealt_with_it_as_long_a_silence_passes_before_it_comes_again(desk: Desk) -> None:
    asked(desk)
    desk.tick(days=21)
    assert silent(desk)
    (line,) = [line.raised for line in worklist(desk).lines if line.kind is LineKind.SILENT]
    assert line is not None
    raised_lines.close(desk.clinic, STAFF, line.id)
    desk.tick(days=20)
    assert not silent(desk)
    desk.tick(days=1)
    assert silent(desk)


@on_one
@pytest.mark.parametrize("why", ["hold", "call", "stop", "no rule", "not asked"])
def test_nobody_is_called_silent_who_waits_for_something_else(desk: Desk, why: str) -> None:
    protocol = AT_HOME.replace('silence = "P21D"\n', "") if why == "no rule" else AT_HOME
    treatment_id = asked(desk, protocol) if why != "not asked" else desk.treat(desk.enter(AMINA)).treatment_id
    desk.tick(days=20)
    if why == "hold":
        desk.event(treatment_id, K.HOLD)
    elif why == "call":
        desk.event(treatment_id, K.CALL_REQUESTED)
    elif why == "stop":
        desk.stop(desk.rows(treatment_id)[0].patient_id, StopReason.OPTED_OUT)
    desk.tick(days=3)
    assert not silent(desk)


def test_a_pause_is_no_silence_which_counts_from_its_end(desk: Desk) -> None:
    treatment_id = asked(desk, AT_HOME.replace("P21D", "P10D"))
    desk.tick(days=8)
    answers.pause(desk.clinic, opening(desk, treatment_id), "1")  # until 15 December, 12:00
    for days, expected in ((3, False), (13, False), (2, True)):
        desk.tick(days=days)
        assert silent(desk) is expected, days


def test_the_plan_of_a_protocol_without_a_course_is_never_silent(sqlite_desk: Desk) -> None:
    asked(sqlite_desk, COURSE)
    sqlite_desk.tick(days=60)
    assert not silent(sqlite_desk)


def test_many_plans_are_looked_at_in_parts_and_a_stop_ends_the_look(
    sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(sqlite_desk)
    sqlite_desk.tick(days=21)
    monkeypatch.setattr(silence, "AT_ONCE", 1)
    assert silence.raise_silent(sqlite_desk.clinic, lambda: False) == 0
    assert silence.raise_silent(sqlite_desk.clinic, lambda: True) == 1


def test_the_housekeeper_looks_once_a_day(sqlite_desk: Desk) -> None:
    asked(sqlite_desk)
    keeper = Housekeeper(sqlite_desk.clinic, None)
    asyncio.run(keeper.look())
    sqlite_desk.tick(days=21)
    asyncio.run(keeper.look())
    assert len(only(sqlite_desk, LineKind.SILENT)) == 1
    (line,) = [line.raised for line in worklist(sqlite_desk).lines if line.kind is LineKind.SILENT]
    assert line is not None
    assert line.raised_by == "service"
