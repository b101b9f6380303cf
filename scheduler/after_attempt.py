"""What becomes of a reminder after one attempt: pure, from what happened and what the step says.

What an answer of the mail server means is in `scheduler.smtp_outcome`; writing it down is in `scheduler.recorder`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from db.states import AttemptOutcome, OnUnknown, Reason, ReminderState
from scheduler.smtp_outcome import GIVE_UP_AFTER, retry_wait

NOT_SENT_WAIT = timedelta(minutes=1)  # the connection broke before the message: the next one will do
RESEND_WAIT = timedelta(minutes=5)  # a relay that lost its answer may be restarting


@dataclass(frozen=True, slots=True)
class Tried:
    """What the rule needs to know of a reminder; the counts are from before this attempt's end."""

    attempts: int  # this one counted
    unknowns: int
    first_tried_at: datetime
    on_unknown: OnUnknown
    same_address: bool  # her address is still the one it went to


@dataclass(frozen=True, slots=True)
class Next:
    """The reminder's next state; `ready_at` says when it may be tried again."""

    state: ReminderState
    reason: Reason | None = None
    ready_at: datetime | None = None


def what_next(outcome: AttemptOutcome, tried: Tried, now: datetime, jitter: float, to_folder: bool = False) -> Next:
    """The one rule for all outcomes. `jitter` from 0 to 1 spreads the retries."""
    match outcome:
        case AttemptOutcome.ACCEPTED:
            return Next(ReminderState.SENT, Reason.WRITTEN_TO_FOLDER if to_folder else None)
        case AttemptOutcome.REFUSED:
            return Next(ReminderState.FAILED, Reason.REFUSED)
        case AttemptOutcome.REJECTED:
            return Next(ReminderState.HELD, Reason.REFUSED_BY_SERVER)
        case AttemptOutcome.NOT_SENT:
            return Next(ReminderState.AWAITING_RETRY, Reason.NOT_HANDED_OVER, now + NOT_SENT_WAIT)
        case AttemptOutcome.PUT_OFF:
            again = now + retry_wait(max(1, tried.attempts), jitter)
            if again > tried.first_tried_at + GIVE_UP_AFTER:
                return Next(ReminderState.FAILED, Reason.ATTEMPTS_USED_UP)
            return Next(ReminderState.AWAITING_RETRY, Reason.PUT_OFF, again)
        case AttemptOutcome.UNKNOWN:
            # Losing an instruction is worse than one repeated neutral mail; a second unknown goes to a person, and
            # nothing is ever repeated to an address that has changed.
            if tried.on_unknown is OnUnknown.RESEND_ONCE and tried.unknowns == 0 and tried.same_address:
                return Next(ReminderState.AWAITING_RETRY, Reason.RESEND_ONCE, now + RESEND_WAIT)
            return Next(ReminderState.HELD, Reason.UNKNOWN)
    raise ValueError(f"an attempt cannot end as {outcome}")
