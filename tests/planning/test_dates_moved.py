"""A treatment's date corrected, before and after its messages went out; what is asked of staff then.

Visits that move are in `test_visits`.
"""

from db.states import DecisionKind, EventKind
from scheduler.planning.protocol import Anchor
from tests.planning.build import record
from tests.planning.recipes import EXERCISE, days, hours, protocol, step, weekly

TWO = protocol(step("start", days(1)), step("weeks-two", days(14)))
WEEKS = protocol(step("solo", days(7), kind=EXERCISE, anchor=Anchor.SOLO_STARTED, repeat=weekly(4)))


def test_before_anything_was_sent_the_rows_move_in_place() -> None:
    case = record("2026-03-02T12:00")
    case.treat(TWO, "2026-03-02T09:00")
    assert case.table() == ["start 1.1 scheduled 2026-03-03T10:00", "weeks-two 1.1 scheduled 2026-03-16T10:00"]
    case.move("2026-03-05T09:00")
    assert case.table() == ["start 1.1 scheduled 2026-03-06T10:00", "weeks-two 1.1 scheduled 2026-03-19T10:00"]
    assert case.open_questions() == []


def test_a_message_already_sent_for_the_old_date_opens_a_question_and_nothing_else() -> None:
    case = record("2026-03-02T12:00")
    case.treat(TWO, "2026-03-02T09:00")
    case.wait_until("2026-03-16T12:00")
    case.move("2026-03-05T09:00")
    sent = ["start 1.1 sent 2026-03-03T10:00", "weeks-two 1.1 sent 2026-03-16T10:00"]
    assert case.table() == sent
    asked = [("date_moved", "weeks-two", 1, "2026-03-02", "2026-03-05")]  # the first day is over: no second mail
    assert case.open_questions() == asked
    case.wait_until("2026-03-18T12:00")
    case.replan()
    assert case.table() == sent
    assert case.open_questions() == asked


def test_keep_closes_the_question_and_moved_again_asks_again() -> None:
    case = record("2026-03-02T12:00")
    case.treat(TWO, "2026-03-02T09:00")
    case.wait_until("2026-03-16T12:00")
    case.move("2026-03-05T09:00")
    case.decide(DecisionKind.KEEP, "weeks-two")
    assert case.open_questions() == []
    case.replan()
    assert case.open_questions() == []
    case.now = case.now.replace(hour=15)
    case.move("2026-03-06T09:00")
    assert case.open_questions() == [("date_moved", "weeks-two", 1, "2026-03-02", "2026-03-06")]
    assert case.table("weeks-two") == ["weeks-two 1.1 sent 2026-03-16T10:00"]


def test_send_again_closes_the_question_and_sends_one_more() -> None:
    case = record("2026-03-02T12:00")
    case.treat(TWO, "2026-03-02T09:00")
    case.wait_until("2026-03-16T12:00")
    case.move("2026-03-05T09:00")
    case.decide(DecisionKind.SEND_AGAIN, "weeks-two")
    assert case.table("weeks-two") == [
        "weeks-two 1.1 sent 2026-03-16T10:00",
        "weeks-two 1.2 scheduled 2026-03-16T12:00",
    ]
    assert case.open_questions() == []
    case.wait_until("2026-03-25T12:00")
    assert case.table("weeks-two") == ["weeks-two 1.1 sent 2026-03-16T10:00", "weeks-two 1.2 sent 2026-03-16T12:00"]


def test_a_date_put_right_again_closes_the_question() -> None:
    case = record("2026-03-02T12:00")
    case.treat(TWO, "2026-03-02T09:00")
    case.wait_until("2026-03-16T12:00")
    case.move("2026-03-05T09:00")
    case.move("2026-03-02T09:00")
    assert case.open_questions() == []
    case.move("2026-03-05T09:00")  # nobody had answered: it is asked again
    assert case.open_questions() == [("date_moved", "weeks-two", 1, "2026-03-02", "2026-03-05")]


def test_an_answered_question_stays_answered_when_the_date_goes_there_and_back() -> None:
    case = record("2026-03-02T12:00")
    case.treat(TWO, "2026-03-02T09:00")
    case.wait_until("2026-03-16T12:00")
    case.move("2026-03-05T09:00")
    case.decide(DecisionKind.KEEP, "weeks-two")
    case.move("2026-03-02T09:00")
    case.move("2026-03-05T09:00")
    assert case.open_questions() == []


def test_another_time_on_the_same_day_asks_nothing_about_whole_days_and_moves_elapsed_steps() -> None:
    case = record("2026-03-02T12:00")
    case.treat(protocol(step("days", days(1)), step("hours", hours(26), expires_after=hours(5))), "2026-03-02T09:00")
    case.move("2026-03-02T09:20")
    assert case.table() == ["days 1.1 scheduled 2026-03-03T10:00", "hours 1.1 scheduled 2026-03-03T11:20"]
    case.wait_until("2026-03-03T12:00")
    case.move("2026-03-02T09:40")
    assert case.table() == ["days 1.1 sent 2026-03-03T10:00", "hours 1.1 sent 2026-03-03T11:20"]
    assert case.open_questions() == [
        ("date_moved", "hours", 1, "2026-03-02T09:20:00 Europe/London", "2026-03-02T09:40:00 Europe/London")
    ]


def test_repeats_keep_their_numbers_when_the_anchor_moves() -> None:
    case = record("2026-03-02T12:00")
    case.treat(WEEKS, "2026-03-02T09:00")
    first = case.event(EventKind.SOLO_STARTED, "2026-03-02T09:00")
    case.wait_until("2026-03-17T12:00")
    case.retract(first)
    case.event(EventKind.SOLO_STARTED, "2026-03-04T09:00")
    assert case.table() == [
        "solo 1.1 sent 2026-03-09T10:00",
        "solo 2.1 sent 2026-03-16T10:00",
        "solo 3.1 cancelled:no_longer_applies 2026-03-23T10:00",
        "solo 3.2 scheduled 2026-03-25T10:00",
        "solo 4.1 cancelled:no_longer_applies 2026-03-30T10:00",
        "solo 4.2 scheduled 2026-04-01T10:00",
    ]
    assert case.open_questions() == []


def test_solo_started_again_moves_the_unsent_weeks_in_place() -> None:
    case = record("2026-03-02T12:00")
    case.treat(WEEKS, "2026-03-02T09:00")
    case.event(EventKind.SOLO_STARTED, "2026-03-02T09:00")
    case.wait_until("2026-03-10T12:00")
    case.event(EventKind.SOLO_STARTED, "2026-03-10T09:00")
    assert case.table() == [
        "solo 1.1 sent 2026-03-09T10:00",
        "solo 2.1 scheduled 2026-03-24T10:00",
        "solo 3.1 scheduled 2026-03-31T10:00",
        "solo 4.1 scheduled 2026-04-07T10:00",
    ]


def test_a_failed_message_comes_back_for_a_new_date_that_is_still_ahead_and_only_then() -> None:
    case = record("2026-03-02T12:00")
    case.treat(TWO, "2026-03-02T09:00")
    case.sleep_until("2026-03-20T12:00")
    case.sweep()
    missed = ["start 1.1 missed:expired 2026-03-03T10:00", "weeks-two 1.1 missed:expired 2026-03-16T10:00"]
    assert case.table() == missed
    case.move("2026-03-03T09:00")
    assert case.table() == missed
    case.move("2026-03-10T09:00")
    assert case.table() == [*missed, "weeks-two 1.2 scheduled 2026-03-24T10:00"]
