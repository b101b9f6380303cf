"""Taking back that a message was done or cancelled: it stands as it stood before, and planning twice changes nothing.

That final rows never change and nothing is sent twice, over any history, is in `test_laws`.
"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.states import (
    LIVE_STATES,
    AddressState,
    Audience,
    DecisionKind,
    EventKind,
    Past,
    Reason,
    ReminderState,
    StopReason,
)
from tests.planning import facts_strategy as some
from tests.planning.build import Record, record
from tests.planning.recipes import ADMINISTRATIVE, COURSE, EXERCISE, days, protocol, step

D = DecisionKind
_CONFIRMED, _UNCONFIRMED = AddressState.CONFIRMED, AddressState.UNCONFIRMED
RECIPE = protocol(
    step("check", days(5), expires_after=days(3)),
    step("hand", days(6), kind=EXERCISE, manual=True, expires_after=days(10)),
    step("call", days(7), audience=Audience.STAFF, expires_after=days(10)),
    step("ask", days(8), kind=ADMINISTRATIVE, past=Past.ASK, expires_after=days(5)),
)
ENDS = [(D.DONE, "done:done_by_staff"), (D.CANCEL, "cancelled:by_staff")]
ended_by = pytest.mark.parametrize(("end", "ended"), ENDS, ids=["done", "cancelled"])


def treated() -> Record:
    case = record("2026-03-02T12:00")
    case.treat(RECIPE, "2026-03-02T09:00")
    return case


@ended_by
def test_taken_back_it_has_its_own_time_again(end: D, ended: str) -> None:
    case = treated()
    case.decide(end, "check")
    case.sleep_until("2026-03-04T12:00")
    case.decide(D.REOPEN, "check")
    assert case.table("check") == [f"check 1.1 {ended} 2026-03-07T10:00", "check 1.2 scheduled 2026-03-07T10:00"]
    case.wait_until("2026-03-20T12:00")
    case.replan()
    assert case.table("check")[-1] == "check 1.2 sent 2026-03-07T10:00"
    assert len(case.table("check")) == 2


@ended_by
def test_it_follows_a_date_corrected_meanwhile(end: D, ended: str) -> None:
    case = treated()
    case.decide(end, "check")
    case.move("2026-03-04T09:00")
    case.decide(D.REOPEN, "check")
    assert case.table("check") == [f"check 1.1 {ended} 2026-03-07T10:00", "check 1.2 scheduled 2026-03-09T10:00"]


@ended_by
def test_taken_back_after_its_time_it_leaves_at_once_while_it_is_of_use(end: D, ended: str) -> None:
    case = treated()
    case.decide(end, "check")
    case.sleep_until("2026-03-08T12:00")
    case.decide(D.REOPEN, "check")
    assert case.table("check")[-1] == "check 1.2 scheduled 2026-03-07T10:00"


@ended_by
def test_taken_back_after_its_end_nothing_comes_of_it(end: D, ended: str) -> None:
    case = treated()
    case.decide(end, "check")
    case.sleep_until("2026-03-10T10:00")
    case.decide(D.REOPEN, "check")
    assert case.table("check") == [f"check 1.1 {ended} 2026-03-07T10:00"]


@ended_by
def test_what_a_person_held_before_is_held_again_and_not_sent(end: D, ended: str) -> None:
    case = treated()
    case.decide(D.HOLD, "check")
    case.decide(end, "check")
    case.decide(D.REOPEN, "check")
    assert case.table("check") == [f"check 1.1 {ended} 2026-03-07T10:00", "check 1.2 held:hold 2026-03-07T10:00"]
    case.decide(D.RESUME, "check")
    assert case.table("check")[-1] == "check 1.2 scheduled 2026-03-07T10:00"


@ended_by
def test_what_waited_for_a_release_by_hand_waits_again_and_what_was_released_is(end: D, ended: str) -> None:
    case = treated()
    case.decide(end, "hand")
    case.decide(D.REOPEN, "hand")
    assert case.table("hand")[-1] == "hand 1.2 held:awaiting_release 2026-03-08T10:00"
    case.decide(D.RESUME, "hand")
    case.decide(end, "hand")
    case.decide(D.REOPEN, "hand")
    assert case.table("hand")[-1] == "hand 1.3 scheduled 2026-03-08T10:00"


@ended_by
def test_what_a_person_sent_at_once_is_sent_at_once_again(end: D, ended: str) -> None:
    case = treated()
    case.know(address=_UNCONFIRMED)
    case.decide(D.SEND_NOW, "check")
    case.decide(end, "check")
    case.decide(D.REOPEN, "check")
    assert case.table("check")[-1] == "check 1.2 held:address_unconfirmed 2026-03-02T12:00"
    case.know(address=_CONFIRMED)
    assert case.table("check")[-1] == "check 1.2 scheduled 2026-03-02T12:00"


@ended_by
def test_ended_and_taken_back_twice_it_stands_once(end: D, ended: str) -> None:
    case = treated()
    for _ in range(2):
        case.decide(end, "check")
        case.decide(D.REOPEN, "check")
    assert case.table("check") == [
        f"check 1.1 {ended} 2026-03-07T10:00",
        f"check 1.2 {ended} 2026-03-07T10:00",
        "check 1.3 scheduled 2026-03-07T10:00",
    ]
    case.decide(end, "check")
    assert case.table("check")[-1] == f"check 1.3 {ended} 2026-03-07T10:00"


@ended_by
def test_a_line_for_staff_comes_back_also_after_its_end(end: D, ended: str) -> None:
    case = treated()
    case.wait_until("2026-03-10T12:00")
    assert case.table("call") == ["call 1.1 held:for_staff 2026-03-09T10:00"]
    case.sleep_until("2026-03-25T12:00")  # a line that is not finished stays whatever its end
    case.sweep()
    case.decide(end, "call")
    case.decide(D.REOPEN, "call")
    case.sweep()
    case.replan()
    assert case.table("call") == [f"call 1.1 {ended} 2026-03-09T10:00", "call 1.2 held:for_staff 2026-03-09T10:00"]


@ended_by
def test_what_is_forbidden_now_is_not_brought_back_but_held_things_are(end: D, ended: str) -> None:
    case = treated()
    case.decide(end, "check")
    case.know(stopped=StopReason.OPTED_OUT)
    case.decide(D.REOPEN, "check")
    assert case.table("check") == [f"check 1.1 {ended} 2026-03-07T10:00"]
    case.know(stopped=None)
    assert case.table("check")[-1] == "check 1.2 scheduled 2026-03-07T10:00"
    paused = treated()
    paused.decide(end, "check")
    paused.event(EventKind.COMPLICATION)
    paused.decide(D.REOPEN, "check")
    assert paused.table("check")[-1] == "check 1.2 held:complication 2026-03-07T10:00"


def test_what_staff_were_asked_about_is_asked_again_and_what_they_had_answered_stands() -> None:
    case = record("2026-03-11T12:00")
    case.treat(RECIPE, "2026-03-02T09:00")
    assert case.table("ask") == ["ask 1.1 held:past_ask 2026-03-10T10:00"]
    case.decide(D.CANCEL, "ask")
    case.decide(D.REOPEN, "ask")
    assert case.table("ask")[-1] == "ask 1.2 held:past_ask 2026-03-10T10:00"
    case.decide(D.RESUME, "ask")
    case.decide(D.CANCEL, "ask")
    case.decide(D.REOPEN, "ask")
    assert case.table("ask")[-1] == "ask 1.3 scheduled 2026-03-10T10:00"


def test_without_a_word_what_a_person_ended_never_comes_back() -> None:
    case = treated()
    case.decide(D.CANCEL, "check")
    case.know(stopped=StopReason.OPTED_OUT)
    case.know(stopped=None)
    case.move("2026-03-04T09:00")
    assert case.table("check") == ["check 1.1 cancelled:by_staff 2026-03-07T10:00"]


@pytest.mark.parametrize(
    ("state", "reason"), [(ReminderState.FAILED, Reason.REFUSED), (ReminderState.MISSED, Reason.EXPIRED)]
)
def test_a_line_about_a_failed_one_put_back_makes_no_message_but_lets_a_new_date_bring_one(
    state: ReminderState, reason: Reason
) -> None:
    case = treated()
    case.sleep_until("2026-03-07T12:00")
    case.write(case.row("check").id, state=state, reason=reason, changed_at=case.now)
    case.now += timedelta(hours=1)
    case.decide(D.DONE, "check")
    case.decide(D.REOPEN, "check")
    assert len(case.table("check")) == 1
    case.move("2026-03-06T09:00")
    assert case.table("check")[-1] == "check 1.2 scheduled 2026-03-11T10:00"


def test_a_new_date_does_not_bring_back_what_staff_did_by_hand() -> None:
    case = treated()
    case.sleep_until("2026-03-07T12:00")
    case.write(case.row("check").id, state=ReminderState.FAILED, reason=Reason.REFUSED, changed_at=case.now)
    case.now += timedelta(hours=1)
    case.decide(D.DONE, "check")
    case.move("2026-03-06T09:00")
    assert len(case.table("check")) == 1


@given(
    facts=st.lists(
        st.one_of(some.zones, some.addresses, some.plain_events, some.corrections, some.approvals), max_size=5
    ),
    word=st.sampled_from([None, D.HOLD, D.RESUME, D.SEND_NOW]),
    end=st.sampled_from([D.DONE, D.CANCEL]),
    data=st.data(),
)
def test_ended_and_taken_back_at_once_it_stands_as_it_stood(
    facts: list[some.Fact], word: D | None, end: D, data: st.DataObject
) -> None:
    case = record("2026-03-02T12:00")
    case.treat(COURSE, "2026-03-02T09:00")
    for fact in facts:
        fact.apply(case)
    live = [row for row in case.rows if row.state in LIVE_STATES]
    if not live:
        return
    row = data.draw(st.sampled_from(live))
    if word is not None:
        case.decide(word, row.step, row.occurrence)
        case.now += timedelta(seconds=1)
    stood = case.live()
    if not any(row.step == each[1] and row.occurrence == each[2] for each in stood):
        return
    case.decide(end, row.step, row.occurrence)
    case.decide(D.REOPEN, row.step, row.occurrence)
    assert case.live() == stood
