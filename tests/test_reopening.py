"""Taking back that a message was done or cancelled, or that somebody acted on its line; on both databases.

What the plan makes of it is in `tests/planning/test_reopen.py`.
"""

import pytest

from db.states import AttemptOutcome, DecisionKind, EventKind, ReminderState, StopReason
from scheduler.decisions import can_reopen
from scheduler.errors import Refused
from scheduler.recovery import sweep
from tests.clinic import Desk
from tests.one_database import on_one
from tests.people import AMINA

D = DecisionKind


@pytest.mark.parametrize("end", [D.DONE, D.CANCEL])
def test_what_was_ended_has_its_own_time_again_and_leaves_then(desk: Desk, end: DecisionKind) -> None:
    desk.treat(desk.enter(AMINA))
    row = desk.row("after-visit")
    desk.decide(row, end)
    assert can_reopen(desk.row("after-visit"))
    decided = desk.decide(row, D.REOPEN)
    again = desk.row("after-visit")
    assert (decided.reminder_id, decided.state, again.generation) == (again.id, ReminderState.SCHEDULED, 2)
    assert (again.due_at, again.message_id != row.message_id) == (row.due_at, True)
    desk.nothing_left()
    desk.tick(hours=9)
    assert desk.send_due() == [again.id]
    desk.nothing_left()


@on_one
def test_what_the_facts_cancelled_comes_back_with_the_facts_only(desk: Desk) -> None:
    patient_id = desk.enter(AMINA)
    treatment_id = desk.treat(patient_id).treatment_id
    desk.decide(desk.row("next-session"), D.CANCEL)
    desk.event(treatment_id, EventKind.STOP)
    for step, told in (("after-visit", "not cancelled by a person"), ("next-session", "nothing would come of it")):
        with desk.unchanged(), pytest.raises(Refused, match=told):
            desk.decide(desk.row(step), D.REOPEN)
    assert not can_reopen(desk.row("after-visit"))
    desk.stop(patient_id, StopReason.OPTED_OUT)
    with desk.unchanged(), pytest.raises(Refused, match="nothing would come of it"):
        desk.decide(desk.row("next-session"), D.REOPEN)


@on_one
def test_what_has_no_use_any_more_is_not_taken_back_in_silence(desk: Desk) -> None:
    desk.treat(desk.enter(AMINA))
    desk.decide(desk.row("after-visit"), D.DONE)
    desk.tick(days=2)
    with desk.unchanged(), pytest.raises(Refused, match="its time has passed"):
        desk.decide(desk.row("after-visit"), D.REOPEN)


@pytest.mark.parametrize("end", [D.DONE, D.CANCEL])
def test_what_may_have_arrived_never_leaves_a_second_time_by_taking_that_back(desk: Desk, end: DecisionKind) -> None:
    desk.treat(desk.enter(AMINA))
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.UNKNOWN)
    desk.decide(desk.row("after-visit"), end)
    row = desk.row("after-visit")
    assert (row.unknowns, can_reopen(row)) == (1, False)
    with desk.unchanged(), pytest.raises(Refused, match="it may have arrived"):
        desk.decide(row, D.REOPEN)


def test_a_line_that_somebody_acted_on_comes_back_to_the_list_and_no_message_with_it(desk: Desk) -> None:
    desk.treat(desk.enter(AMINA))
    desk.tick(days=3)
    sweep(desk.clinic)
    row = desk.row("after-visit")
    assert (row.settled_at, can_reopen(row)) == (None, False)
    desk.decide(row, D.DONE)
    assert can_reopen(desk.row("after-visit"))
    decided = desk.decide(row, D.REOPEN)
    assert (decided.reminder_id, decided.state, desk.row("after-visit").settled_at) == (
        row.id,
        ReminderState.MISSED,
        None,
    )
    desk.nothing_left()


@on_one
@pytest.mark.parametrize("state", ["scheduled", "sent"])
def test_what_nobody_ended_cannot_be_taken_back(desk: Desk, state: str) -> None:
    desk.treat(desk.enter(AMINA))
    if state == "sent":
        desk.tick(hours=9)
        desk.send_due()
    with desk.unchanged(), pytest.raises(Refused, match=f"it is {state}: reopen is not possible"):
        desk.decide(desk.row("after-visit"), D.REOPEN)
