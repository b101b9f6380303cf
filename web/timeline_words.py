"""The words of a patient's time line: what happened as a sentence, with what only clinicians read beside it.

What happened is read in `scheduler.timeline`; the pages are `web.patient_pages` and `web.treatment_pages`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from db.follow_up import CareEvent, CareEventRetraction, DeliveryAttempt, Reminder
from db.returned_mail import FAILURES, DeliveryReport
from db.states import (
    AddressFactKind,
    AttemptOutcome,
    Audience,
    DecisionKind,
    EventKind,
    Reason,
    ReminderState,
    StopReason,
    Topic,
)
from scheduler.accounts.front_door import Present
from scheduler.decisions import can_reopen
from scheduler.timeline import Happened, Message
from web.event_rights import may_take_back
from web.event_words import event_fields, event_words
from web.line_parts import Act, decide
from web.times import Say


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a time line. `clinical` are label and text that only clinicians read."""

    level: str  # green, amber, red or quiet
    when: str
    words: str
    kind: str  # messages, record, notes or plan: the filter it belongs to
    by: str = ""
    clinical: Sequence[tuple[str, str]] = ()
    struck: str = ""  # why it no longer counts
    path: str | None = None
    acts: Sequence[Act] = ()
    at: datetime | None = None


_RED_EVENTS: Final = frozenset({EventKind.COMPLICATION, EventKind.CALL_REQUESTED})
_ADDRESS_FACTS: Final = {
    AddressFactKind.CONFIRMED: ("quiet", "Address confirmed"),
    AddressFactKind.REFUSED: ("amber", "The address refused mail"),
    AddressFactKind.DISOWNED: ("amber", "Whoever read the address said that it is another person’s; it was removed"),
}
_DECISION_WORDS: Final = {
    DecisionKind.HOLD: "held",
    DecisionKind.RESUME: "given back",
    DecisionKind.CANCEL: "cancelled",
    DecisionKind.SEND_NOW: "to be sent at once",
    DecisionKind.SEND_AGAIN: "to be sent again",
    DecisionKind.RETRY: "to be tried again",
    DecisionKind.DONE: "done by hand",
    DecisionKind.RESOLVE_RECEIVED: "found to have arrived",
    DecisionKind.RESOLVE_RESEND: "had not arrived: to be sent again",
    DecisionKind.KEEP: "settled, nothing more is sent",
    DecisionKind.REOPEN: "back as it was",
}
_TOPICS: Final = {
    Topic.REVIEWS: "messages about visits",
    Topic.EXERCISES: "messages about the plan",
    Topic.FULL_TEXT: "full instructions by e-mail",
}
_STOPS: Final = {
    StopReason.DECEASED: "All messages stopped: the patient has died",
    StopReason.OPTED_OUT: "All messages stopped: no messages are wanted",
    StopReason.UNSAFE: "All messages stopped: e-mail is not safe",
    StopReason.LEFT: "All messages stopped: the patient has left the clinic",
    StopReason.OTHER: "All messages stopped",
    StopReason.LOST: "Messages wait: a stop was entered that is not in this database; find out what it was",
}
_OUTCOMES: Final = {
    AttemptOutcome.OPEN: "on the wire",
    AttemptOutcome.ACCEPTED: "the mail server took it",
    AttemptOutcome.NOT_SENT: "not handed over",
    AttemptOutcome.PUT_OFF: "the mail server said: not yet",
    AttemptOutcome.REFUSED: "the address refused it",
    AttemptOutcome.REJECTED: "the mail server refused this message",
    AttemptOutcome.UNKNOWN: "the answer was lost",
    AttemptOutcome.STOPPED: "a stop came first",
}


def tell(happened: Happened, say: Say, me: Present) -> Entry:
    """One entry of the past in words, with what this person may do about it."""
    if happened.message is not None:
        return tell_message(happened.message, say)
    if happened.event is not None:
        return _event(happened.event, happened.retraction, say, me)
    for teller in (_decision, _version, _note, _consent, _address, _stop):
        entry = teller(happened, say)
        if entry is not None:
            return entry
    raise LookupError("an entry of the time line without a row")


def tell_message(message: Message, say: Say) -> Entry:
    """A message as people say it: sent, due, held, and why; with the page that shows its text."""
    row = message.row
    level, words = message_words(row, message.title, say)
    if any(report.kind in FAILURES for report in message.reports):
        level, words = "amber", f"{words}, and came back"
    tries = [
        (f"Try {place}", f"{say.when(attempt.marked_at)}: {outcome_words(attempt)}")
        for place, attempt in enumerate(message.attempts, start=1)
    ]
    tries += [("Report", f"{say.when(report.received_at)}: {report_words(report)}") for report in message.reports]
    return Entry(
        level=level,
        when=say.when(message.at),
        words=words,
        kind="messages",
        clinical=tries if len(tries) > 1 or row.state is not ReminderState.SENT else (),
        path=None if row.audience is Audience.STAFF else f"/reminders/{row.id}",
        acts=row_acts(row),
        at=message.at,
    )


def message_words(row: Reminder, title: str, say: Say) -> tuple[str, str]:
    """How a reminder stands, with its title: level and sentence."""
    shown = title if row.audience is Audience.STAFF else f"“{title}”"
    because = f": {_small(say.why(row.reason))}" if row.reason else ""
    if row.state is ReminderState.SENT:
        how = {
            None: "the mail server took it",
            Reason.WRITTEN_TO_FOLDER: "written to the folder",
            Reason.RESOLVED_RECEIVED: "its answer was lost; it was found to have arrived",
        }.get(row.reason, "the mail server took it")
        return "green", f"{shown} · sent, {how}"
    if row.state is ReminderState.DONE:
        return "green", f"{shown} · done by hand"
    if row.state is ReminderState.SCHEDULED:
        return "quiet", f"{shown} · will be {'shown to staff' if row.audience is Audience.STAFF else 'sent'}"
    words = {
        ReminderState.HELD: "amber {0} · held{1}",
        ReminderState.SENDING: "quiet {0} · is being sent",
        ReminderState.AWAITING_RETRY: "amber {0} · will be tried again{1}",
        ReminderState.FAILED: "amber {0} · not sent{1}",
        ReminderState.MISSED: "quiet {0} · not sent{1}",
        ReminderState.CANCELLED: "quiet {0} · cancelled{1}",
    }[row.state]
    level, _, sentence = words.partition(" ")
    if row.state is ReminderState.MISSED and row.settled_at is None:
        level = "amber"
    return level, sentence.format(shown, because)


def row_acts(row: Reminder) -> list[Act]:
    """What can be decided about a message as it stands."""
    if row.state in (ReminderState.SCHEDULED, ReminderState.AWAITING_RETRY):
        acts = [decide(row.id, DecisionKind.HOLD, "Hold"), decide(row.id, DecisionKind.CANCEL, "Cancel")]
        if row.audience is Audience.PATIENT:
            acts.insert(0, decide(row.id, DecisionKind.SEND_NOW, "Send now"))
        return acts
    if row.state is ReminderState.HELD:
        return _held_acts(row)
    if row.state in (ReminderState.FAILED, ReminderState.MISSED):
        acts = [decide(row.id, DecisionKind.RETRY, "Send now")] if row.audience is Audience.PATIENT else []
        if row.settled_at is None:
            acts.append(decide(row.id, DecisionKind.DONE, "Done by hand", asks="What was done (optional)"))
        return acts
    if row.state is ReminderState.SENT:
        return [decide(row.id, DecisionKind.SEND_AGAIN, "Send again")]
    return [decide(row.id, DecisionKind.REOPEN, "Undo")] if can_reopen(row) else []


def _held_acts(row: Reminder) -> list[Act]:
    if row.reason is Reason.UNKNOWN:
        return [
            decide(row.id, DecisionKind.RESOLVE_RECEIVED, "It arrived"),
            decide(row.id, DecisionKind.RESOLVE_RESEND, "Send it again"),
        ]
    if row.reason is Reason.FOR_STAFF:
        return [decide(row.id, DecisionKind.DONE, "Done", asks="What came of it (optional)")]
    acts = [decide(row.id, DecisionKind.CANCEL, "Cancel")]
    if row.reason in (Reason.HOLD, Reason.AWAITING_RELEASE, Reason.PAST_ASK):
        acts.insert(0, decide(row.id, DecisionKind.RESUME, "Give back"))
    if row.reason in (Reason.REVEALING_TEXT, Reason.RENDER_FAILED, Reason.SEND_FAILED, Reason.REFUSED_BY_SERVER):
        acts.insert(0, decide(row.id, DecisionKind.RETRY, "Try again"))
    return acts


def outcome_words(attempt: DeliveryAttempt) -> str:
    """How a try ended, with the server's code."""
    words = _OUTCOMES[attempt.outcome]
    code = " ".join(part for part in (str(attempt.code or ""), attempt.enhanced or "") if part)
    return f"{words} ({code})" if code else words


def report_words(report: DeliveryReport) -> str:
    """What a mail server reported later, with its code."""
    words = _small(report.kind.sentence)
    return f"{words} ({report.status})" if report.status else words


def _event(event: CareEvent, retraction: CareEventRetraction | None, say: Say, me: Present) -> Entry:
    struck = ""
    acts: list[Act] = []
    clinical = event_fields(event.fields)
    if retraction is not None:
        struck = f"taken back by {say.who(retraction.recorded_by)}"
        clinical += [("Taken back", retraction.reason or "")]
    elif may_take_back(event.kind, event.recorded_by, me):
        acts = [Act("Take back", action=f"/events/{event.id}/undo")]
    return Entry(
        level="red" if event.kind in _RED_EVENTS and not struck else "quiet",
        when=say.when(event.recorded_at),
        words=event_words(event.kind, event.review, event.occurred_local, say),
        kind="plan",
        by=say.who(event.recorded_by),
        clinical=clinical,
        struck=struck,
        acts=acts,
        at=event.recorded_at,
    )


def _decision(happened: Happened, say: Say) -> Entry | None:
    decision = happened.decision
    if decision is None:
        return None
    return Entry(
        level="quiet",
        when=say.when(decision.recorded_at),
        words=f"“{happened.decided_title}” {_DECISION_WORDS[decision.kind]}",
        kind="messages",
        by=say.who(decision.recorded_by),
        clinical=[("Note", decision.note)] if decision.note else (),
        at=decision.recorded_at,
    )


def _version(happened: Happened, say: Say) -> Entry | None:
    version, treatment = happened.version, happened.treatment
    if version is None or treatment is None:
        return None
    path = f"/treatments/{treatment.id}/record"
    if happened.signed:
        words = f"Record of {say.wall(version.treated_local)} signed"
        who, at = say.who(version.signed_by or ""), version.signed_at or version.recorded_at
        return Entry("green", say.when(at), words, "record", who, path=path, at=at)
    words = f"Treated {say.wall(version.treated_local)}" if version.number == 1 else "Record corrected"
    reason = [("Reason", version.reason)] if version.reason else []
    if version.number == 1 and version.clinician:
        words += f", by {version.clinician}"
    return Entry(
        "quiet",
        say.when(version.recorded_at),
        words,
        "record",
        say.who(version.recorded_by),
        clinical=reason,
        path=path,
        at=version.recorded_at,
    )


def _note(happened: Happened, say: Say) -> Entry | None:
    note = happened.note
    if note is None:
        return None
    return Entry(
        "quiet",
        say.when(note.recorded_at),
        "Note",
        "notes",
        say.who(note.recorded_by),
        clinical=[("", note.text or "")],
        at=note.recorded_at,
    )


def _consent(happened: Happened, say: Say) -> Entry | None:
    consent = happened.consent
    if consent is None:
        return None
    words = f"{'Agreed to' if consent.granted else 'Said no to'} {_TOPICS[consent.topic]}"
    return Entry(
        "quiet", say.when(consent.recorded_at), words, "plan", say.who(consent.recorded_by), at=consent.recorded_at
    )


def _address(happened: Happened, say: Say) -> Entry | None:
    fact = happened.address
    if fact is None:
        return None
    level, words = _ADDRESS_FACTS[fact.kind]
    return Entry(level, say.when(fact.recorded_at), words, "messages", say.who(fact.recorded_by), at=fact.recorded_at)


def _stop(happened: Happened, say: Say) -> Entry | None:
    stop = happened.stop
    if stop is None:
        return None
    words = stop_words(stop.reason, with_reason=stop.reason is not StopReason.UNSAFE)
    note = [("Reason", "e-mail is not safe")] if stop.reason is StopReason.UNSAFE else []
    note += [("Note", stop.note)] if stop.note else []
    return Entry(
        "amber" if stop.reason else "quiet",
        say.when(stop.recorded_at),
        words,
        "plan",
        say.who(stop.recorded_by),
        clinical=note,
        at=stop.recorded_at,
    )


def stop_words(reason: StopReason | None, with_reason: bool) -> str:
    """A stop in words; that e-mail is not safe is for clinicians only."""
    if reason is None:
        return "Messages permitted again"
    return _STOPS[reason] if with_reason else "All messages stopped"


def _small(sentence: str) -> str:
    return (sentence[:1].lower() + sentence[1:]).rstrip(".")
