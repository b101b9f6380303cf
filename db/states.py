"""Every enum of the record, one sentence a member, and which reminder state may follow which.

What causes an arrow is in `scheduler.planning` and `scheduler.recorder`; `docs/reminder-states.md` draws the same.
"""

from enum import StrEnum
from typing import Self


class Described(StrEnum):
    """A string enum whose members carry one sentence that staff can read."""

    sentence: str

    def __new__(cls, value: str, sentence: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


class ReminderState(Described):
    """The life of one reminder (DESIGN: the life of a reminder)."""

    SCHEDULED = "scheduled", "Waits for its time."
    HELD = "held", "A person, a flag or a missing confirmation holds it."
    SENDING = "sending", "A worker has it; once an attempt is open its content may be on the wire."
    AWAITING_RETRY = "awaiting_retry", "An attempt ended in a certain 'not yet', or one resend is permitted."
    SENT = "sent", "The mail server accepted it."
    FAILED = "failed", "Refused for good, or its attempts are used up."
    MISSED = "missed", "Its usefulness ran out before it could be sent."
    CANCELLED = "cancelled", "It is no longer wanted."
    DONE = "done", "A person did it instead."


LIVE_STATES = frozenset(
    {ReminderState.SCHEDULED, ReminderState.HELD, ReminderState.SENDING, ReminderState.AWAITING_RETRY}
)
FINAL_STATES = frozenset(ReminderState) - LIVE_STATES
WAITING_STATES = frozenset({ReminderState.SCHEDULED, ReminderState.AWAITING_RETRY})


def _states(words: str) -> frozenset[ReminderState]:
    return frozenset(ReminderState(word) for word in words.split())


ALLOWED_TRANSITIONS: dict[ReminderState, frozenset[ReminderState]] = {
    ReminderState.SCHEDULED: _states("held sending missed cancelled done"),
    ReminderState.HELD: _states("scheduled sent missed cancelled done"),
    ReminderState.SENDING: _states("scheduled held awaiting_retry sent failed missed cancelled done"),
    ReminderState.AWAITING_RETRY: _states("scheduled sending held failed missed cancelled done"),
    ReminderState.SENT: frozenset(),
    ReminderState.FAILED: frozenset(),
    ReminderState.MISSED: frozenset(),
    ReminderState.CANCELLED: frozenset(),
    ReminderState.DONE: frozenset(),
}


class Reason(Described):
    """Why a reminder is in its state; `REASONS` says which go with which."""

    CONSENT_MISSING = "consent_missing", "Nobody has recorded whether these messages were agreed to."
    ADDRESS_MISSING = "address_missing", "There is no e-mail address."
    ADDRESS_UNCONFIRMED = "address_unconfirmed", "The address has not been confirmed yet."
    ADDRESS_REFUSED = "address_refused", "The address refused mail."
    BIRTH_DATE_MISSING = "birth_date_missing", "The protocol has a minimum age and the birth date is not known."
    UNDER_AGE = "under_age", "The patient is younger than the protocol allows."
    NOT_APPROVED = "not_approved", "A clinician has not approved the protocol or its text yet."
    AWAITING_RELEASE = "awaiting_release", "The protocol asks staff to release this step by hand."
    FOR_STAFF = "for_staff", "This is a line for staff; it is due now."
    UNKNOWN = "unknown", "It may have arrived: the mail server's answer was lost. A person decides."
    COMPLICATION = "complication", "A complication is open."
    HOLD = "hold", "Staff put it on hold."
    PAST_ASK = "past_ask", "Its time had passed when it was planned; staff decide."
    REVEALING_TEXT = "revealing_text", "The finished text contains a word that must not be seen."
    ASKED_FOR_CALL = "asked_for_call", "The patient asked for a call; messages wait until that is closed."
    REFUSED_BY_SERVER = "refused_by_server", "The mail server refused this message; the address is not blamed."
    RENDER_FAILED = "render_failed", "The message could not be written; its text needs mending."
    SEND_FAILED = "send_failed", "Sending it broke down repeatedly; it needs a person."
    STOP_LOST = "stop_lost", "Something that stops messages was entered and is not in this database; find out what."

    BY_STAFF = "by_staff", "Staff cancelled it."
    SUPERSEDED = "superseded", "A later treatment of the same kind replaced this plan."
    MERGED = "merged", "Another message of the same day says the same."
    DECEASED = "deceased", "The patient has died."
    OPTED_OUT = "opted_out", "The patient wants no messages."
    UNSAFE = "unsafe", "It is not safe to e-mail the patient."
    LEFT = "left", "The patient has left the clinic."
    OTHER = "other", "Messages to the patient were stopped."
    PLAN_STOPPED = "plan_stopped", "The care plan was stopped."
    PLAN_COMPLETED = "plan_completed", "The care plan was completed."
    TREATMENT_CANCELLED = "treatment_cancelled", "The treatment was cancelled."
    REASSIGNED = "reassigned", "The treatment belongs to another patient."
    CONSENT_WITHDRAWN = "consent_withdrawn", "The patient said no to these messages."
    PARTNER_REVOKED = "partner_revoked", "The release of this phase was taken back."
    REVIEW_COMPLETED = "review_completed", "The review has taken place."
    PARTNER_RELEASED = "partner_released", "The next phase was released."
    HEALING_CLEARED = "healing_cleared", "Healing was cleared."
    NO_LONGER_APPLIES = "no_longer_applies", "What it was for no longer applies."

    PAST_WHEN_PLANNED = "past_when_planned", "Its time had already passed when it was planned."
    OUTSIDE_WINDOW = "outside_window", "No allowed sending time was left before it would be of no use."
    EXPIRED = "expired", "It could not be sent before it would be of no use."

    REFUSED = "refused", "The address refused it for good."
    ATTEMPTS_USED_UP = "attempts_used_up", "The mail server put it off until the attempts were used up."

    PUT_OFF = "put_off", "The mail server said: not yet."
    NOT_HANDED_OVER = "not_handed_over", "The connection ended before the message was handed over."
    RESEND_ONCE = "resend_once", "The answer was lost; the one permitted resend follows."

    WRITTEN_TO_FOLDER = "written_to_folder", "No mail server is set: it was written to the outbox folder."
    RESOLVED_RECEIVED = "resolved_received", "Staff found that it had arrived."

    DONE_BY_STAFF = "done_by_staff", "Staff did it by hand."


_HELD = (
    "consent_missing address_missing address_unconfirmed address_refused birth_date_missing under_age not_approved "
    "awaiting_release for_staff unknown complication hold past_ask revealing_text asked_for_call refused_by_server "
    "render_failed send_failed stop_lost"
)
_CANCELLED = (
    "by_staff superseded merged deceased opted_out unsafe left other plan_stopped plan_completed "
    "treatment_cancelled reassigned consent_withdrawn partner_revoked review_completed partner_released "
    "healing_cleared no_longer_applies"
)


def _reasons(words: str) -> frozenset[Reason]:
    return frozenset(reason for reason in Reason if reason.value in words.split())


REASONS: dict[ReminderState, frozenset[Reason]] = {
    ReminderState.SCHEDULED: frozenset(),
    ReminderState.SENDING: frozenset(),
    ReminderState.HELD: _reasons(_HELD),
    ReminderState.CANCELLED: _reasons(_CANCELLED),
    ReminderState.MISSED: frozenset({Reason.PAST_WHEN_PLANNED, Reason.OUTSIDE_WINDOW, Reason.EXPIRED}),
    ReminderState.FAILED: frozenset({Reason.REFUSED, Reason.ATTEMPTS_USED_UP}),
    ReminderState.AWAITING_RETRY: frozenset({Reason.PUT_OFF, Reason.NOT_HANDED_OVER, Reason.RESEND_ONCE}),
    ReminderState.SENT: frozenset({Reason.WRITTEN_TO_FOLDER, Reason.RESOLVED_RECEIVED}),
    ReminderState.DONE: frozenset({Reason.DONE_BY_STAFF}),
}

# Held by what sending caused: the planner leaves these until a person has decided.
SENDER_HOLDS = _reasons("unknown revealing_text refused_by_server render_failed send_failed")


class StepKind(Described):
    """What a step is about; the order is also who goes first on a shared day."""

    REVIEW = "review", "A visit or a review."
    AFTERCARE = "aftercare", "How the patient is after the treatment."
    ADMINISTRATIVE = "administrative", "Dates, times and paper."
    EXERCISE = "exercise", "The plan followed at home."


class Audience(Described):
    """Who a step is for."""

    PATIENT = "patient", "An e-mail to the patient."
    STAFF = "staff", "A line for staff; no e-mail."


class Phase(Described):
    """Which part of the course a step belongs to."""

    ANY = "any", "Both parts."
    SOLO = "solo", "The part done alone."
    PARTNER = "partner", "The part with a partner: only after a clinician released it."


class Past(Described):
    """What happens to a step whose time has passed when it is planned."""

    SKIP = "skip", "It becomes missed."
    SEND = "send", "It is sent as soon as allowed."
    ASK = "ask", "It is held and staff decide."


class OnUnknown(Described):
    """What happens when the mail server's answer was lost."""

    RESEND_ONCE = "resend_once", "It is sent once more with the same Message-ID."
    ASK = "ask", "It is held and staff decide."


class EventKind(Described):
    """A fact about one care plan."""

    REVIEW_BOOKED = "review_booked", "A visit for a review was booked; a later booking replaces it."
    REVIEW_CANCELLED = "review_cancelled", "The booked visit was cancelled."
    REVIEW_MISSED = "review_missed", "The patient did not come to the visit."
    REVIEW_COMPLETED = "review_completed", "The review took place."
    SOLO_STARTED = "solo_started", "The clinician started the part done alone."
    PARTNER_WANTED = "partner_wanted", "The patient wants the part with a partner; it waits for a clinician's release."
    PARTNER_RELEASED = "partner_released", "The clinician released the part with a partner, and the patient wants it."
    PARTNER_REVOKED = "partner_revoked", "The release was taken back."
    PARTNER_NOT_WANTED = "partner_not_wanted", "The patient does not want, or does not have, the part with a partner."
    SESSION_BOOKED = "session_booked", "The next treatment session was booked."
    HEALING_CLEARED = "healing_cleared", "The clinician cleared activities."
    COMPLICATION = "complication", "A complication was reported."
    COMPLICATION_RESOLVED = "complication_resolved", "The complication was resolved."
    CALL_REQUESTED = "call_requested", "The patient asked for a call."
    CALL_CLOSED = "call_closed", "Somebody spoke to the patient about it; the line is closed."
    CHECKED_IN = "checked_in", "The patient answered on her page how it is going."
    PAUSED = "paused", "The patient paused the messages about the plan until a day."
    UNPAUSED = "unpaused", "The patient's pause was ended early."
    EXERCISE_SET = "exercise_set", "The clinician set the present exercise and how often it is done."
    STEPPED_BACK = "stepped_back", "The patient went back to the exercise before."
    VISIT_CONFIRMED = "visit_confirmed", "The patient said that she comes to the visit."
    QUESTIONS_ANSWERED = "questions_answered", "The patient answered the questions before a review."
    HOLD = "hold", "The care plan was put on hold."
    RESUME = "resume", "The care plan was resumed."
    STOP = "stop", "The care plan was stopped for good."
    COMPLETE = "complete", "The care plan was completed by staff."


class DecisionKind(Described):
    """What staff decided about one reminder."""

    HOLD = "hold", "Hold this one."
    RESUME = "resume", "Give it back."
    CANCEL = "cancel", "Do not send it."
    SEND_NOW = "send_now", "Send it now instead of at its time."
    SEND_AGAIN = "send_again", "Send it once more."
    RETRY = "retry", "Try the refused one again."
    DONE = "done", "It was done by hand, or the line is finished."
    RESOLVE_RECEIVED = "resolve_received", "The unknown one had arrived."
    RESOLVE_RESEND = "resolve_resend", "The unknown one had not arrived: send it again."
    KEEP = "keep", "The message already sent is enough."
    REOPEN = "reopen", "It was not done or cancelled after all: as it was before."


class CarePlanStatus(Described):
    """The FHIR-like life of a care plan; computed by the planner from the facts."""

    ACTIVE = "active", "It runs."
    ON_HOLD = "on-hold", "It is on hold."
    COMPLETED = "completed", "Nothing is left to do."
    REVOKED = "revoked", "It was stopped, replaced or its treatment was cancelled."


class ReviewStatus(Described):
    """Where one review of a care plan stands."""

    DUE = "due", "No visit is booked."
    BOOKED = "booked", "A visit is booked."
    MISSED = "missed", "The visit was missed and none is booked since."
    COMPLETED = "completed", "The review took place."


class TreatmentStatus(Described):
    """The FHIR-like life of a treatment."""

    ACTIVE = "active", "It was done, or is planned for its date."
    CANCELLED = "cancelled", "It was entered in error or did not take place."


class Topic(Described):
    """What a patient may agree to, or not, by e-mail."""

    REVIEWS = "reviews", "Messages about visits."
    EXERCISES = "exercises", "Messages about the plan."
    FULL_TEXT = "full_text", "The clinic's full instructions by e-mail were asked for."


class Level(Described):
    """How much a message may say."""

    NOTICE = "notice", "Only that a message waits."
    GENERAL = "general", "Neutral wording."
    FULL = "full", "The clinic's full instructions; only after a recorded opt-in."


class CallSafe(Described):
    """Whether the clinic may ring her."""

    YES = "yes", "The patient may be rung, as the contact note says."
    NO = "no", "Do not ring."
    ASK = "ask", "Not known: ask a clinician before ringing."


class AddressFactKind(Described):
    """What is known about one version of a patient's e-mail address."""

    CONFIRMED = "confirmed", "It was read back and is right, or the patient confirmed it."
    REFUSED = "refused", "It refused mail."
    DISOWNED = "disowned", "Whoever reads it said that it is not the patient's; it was removed."


class AddressState(Described):
    """What the facts say about the present address."""

    MISSING = "missing", "There is none."
    UNCONFIRMED = "unconfirmed", "Nobody has confirmed it."
    CONFIRMED = "confirmed", "It may be used."
    REFUSED = "refused", "It refused mail."


class StopReason(Described):
    """Why nothing may go to a patient any more."""

    DECEASED = "deceased", "The patient has died."
    OPTED_OUT = "opted-out", "The patient wants no messages."
    UNSAFE = "unsafe", "E-mail is not safe for the patient."
    LEFT = "left", "The patient has left the clinic."
    OTHER = "other", "Another reason, in the note."
    LOST = "lost", "A stop was entered that is not in this database: messages wait until somebody has looked."


class AttemptOutcome(Described):
    """How one try to hand a message over ended."""

    OPEN = "open", "Not known yet: its content may be on the wire."
    ACCEPTED = "accepted", "The mail server took it."
    NOT_SENT = "not_sent", "It was certainly not handed over."
    PUT_OFF = "put_off", "The mail server said: not yet."
    REFUSED = "refused", "The mail server refused the address for good."
    REJECTED = "rejected", "The mail server refused this message; the address is not blamed."
    UNKNOWN = "unknown", "The answer was lost."
    STOPPED = "stopped", "A stop came first: nothing was handed over."


class ReportKind(Described):
    """What a mail server reported about a message after ours had taken it."""

    REFUSED = "refused", "It came back: the address refused it for good."
    RETURNED = "returned", "It came back; the address is not blamed."
    DELAYED = "delayed", "It has not arrived yet; it is still tried."
    DELIVERED = "delivered", "It was delivered, or passed on to where no more is told."


class GateState(Described):
    """The one switch before every send."""

    OPEN = "open", "Messages leave."
    CLOSED = "closed", "Nothing leaves until it is released."


class GateCause(Described):
    """What closed the gate, the weightier later: a weightier cause replaces a lighter one."""

    HOLD = "hold", "Staff stopped all sending."
    BACKLOG = "backlog", "More fell due while nothing was sent than may leave unseen."
    NO_RELAY = "no_relay", "No mail server is set, but the record has been sent from through one."
    CLOCK = "clock", "The clock was set to another time while the service ran."
    SILENT = "silent", "The last sign of life is more than three days old."
    MOVED = "moved", "The permit beside the keys is missing, a copy, or another installation's."
    OLDER = "older", "The record is older than what was sent from it: an earlier copy was put back."
    RESTORED = "restored", "A backup was put back."


class QuestionKind(Described):
    """What the planner asks staff."""

    DATE_MOVED = "date_moved", "The message went out for the old date: send it again for the new one?"
    VISIT_WITHDRAWN = "visit_withdrawn", "The visit was announced and then withdrawn: does the patient know?"


class Approvable(Described):
    """What a clinician approves."""

    PROTOCOL = "protocol", "A version of a protocol."
    TEMPLATE = "template", "A version of a text."


class Role(Described):
    """What a member of staff may do; a person may have several."""

    RECEPTION = "reception", "The desk: patients, visits, and that a message is due; not the clinical text."
    CLINICIAN = "clinician", "The whole record; signs it, releases phases, approves protocols and texts."
    MANAGER = "manager", "Staff, settings, imports and the trail; may stop all sending."
    AUDITOR = "auditor", "Reads the trail; sees no patient."


class LinkPurpose(Described):
    """What a one-time link is for."""

    FIRST = "first", "The first account of a clinic."
    INVITE = "invite", "A new person sets a password."
    RESET = "reset", "A person sets a new password, and a new second factor."


class SetupStep(Described):
    """What only a person can say is done before the first real message."""

    TEST_MAIL_READ = "test_mail_read", "A test mail arrived and was read."
    KEYS_KEPT = "keys_kept", "A copy of the key file is kept apart from this machine."
    BACKUP_KEPT = "backup_kept", "A backup is made and kept apart from this machine."
    ALARMS_KNOWN = "alarms_known", "Somebody reads the address where alarms go."


class Origin(Described):
    """Where a version of a protocol or text was written."""

    FILE = "file", "A file of the protocols or templates folder."
    SCREEN = "screen", "The clinic's screen."
