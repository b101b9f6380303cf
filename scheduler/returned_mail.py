"""Use case: a message of the technical mailbox is taken in: a report about one of ours, or a letter that waits there.

What it is and says is read in `scheduler.delivery_report`; the mailbox is asked in `scheduler.bounce_mailbox`.
"""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from db import audit, marks, reminders, sends
from db import patients as stored_patients
from db import returned_mail as stored
from db.follow_up import DeliveryAttempt, Reminder
from db.records import Patient
from db.states import AttemptOutcome, ReminderState
from db.vault import VaultError
from scheduler.care_plans import replan
from scheduler.clinic import Clinic
from scheduler.delivery_report import About, Mail, Sort, about, meaning, read_mail
from scheduler.logs import log
from scheduler.outcomes import refuse_address
from scheduler.received_parts import READ_BYTES, first, read_headers
from scheduler.recorder import ACTOR
from scheduler.return_path import is_ours, read_tokens

# A mailbox that was full or disabled for so many messages in a row takes none, whatever its server calls it.
TROUBLES_BEFORE_REFUSED: Final = 3
# Of these attempts the content may have left the house, so a report may be about them.
_HANDED_OVER: Final = frozenset({AttemptOutcome.ACCEPTED, AttemptOutcome.UNKNOWN, AttemptOutcome.OPEN})


class Taken(StrEnum):
    """What became of a message of the mailbox."""

    REPORT = "report"  # about a message of ours: stored
    KNOWN = "known"  # it was taken in before
    NOT_OURS = "not_ours"  # a report about nothing that we sent: forged, or somebody else's
    AUTOMATIC = "automatic"  # an answer of a machine: nothing follows
    LETTER = "letter"  # a person's, or unreadable: noted; it has to stay where it is, unread


def take(clinic: Clinic, raw: bytes, mailbox: int | None = None, uid: int | None = None) -> Taken:
    """Take one message in, once: what it leads to is durable when this returns. Nothing is ever answered.

    `mailbox` and `uid` say where it lies, for the letters that stay there.
    """
    mail = read_mail(raw)
    if mail.sort is Sort.AUTOMATIC:
        return Taken.AUTOMATIC
    fingerprint = hashlib.sha256(raw[:READ_BYTES]).digest()
    with clinic.store.write(ACTOR, clinic.clock.now()) as session:
        attempt = None if mail.sort is Sort.OTHER else _attempt_of(session, clinic, mail)
        if attempt is not None:
            return _record(session, clinic, mail, attempt, fingerprint)
        if mail.sort is Sort.REPORT:
            log().warning("report_not_ours")
            return Taken.NOT_OURS
        stored.note_letter(session, fingerprint, mailbox, uid)
        return Taken.LETTER


def settle_letters(clinic: Clinic, actor: str, until: datetime) -> None:
    """Somebody looked into the technical mailbox: the letters found up to then are no line any more."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        if stored.settle_letters(session, until):
            audit.record(session, "mailbox.looked_at", "mailbox", None, None)


def _record(session: Session, clinic: Clinic, mail: Mail, attempt: DeliveryAttempt, fingerprint: bytes) -> Taken:
    """The report, and what follows from it for her address: 1 lock her · 2 once · 3 write · 4 blame · 5 plan again."""
    stored_patients.lock_patient(session, attempt.patient_id)
    if stored.find_report(session, fingerprint) is not None:
        return Taken.KNOWN
    address = _address_of(session, attempt)
    if address is None:
        return Taken.NOT_OURS  # she was erased: nothing about her is kept, and nobody can be told
    patient = session.get_one(Patient, attempt.patient_id)
    row = session.get_one(Reminder, attempt.reminder_id, populate_existing=True)
    said = about(mail, address)
    kind, blames = meaning(said)
    failed = kind in stored.FAILURES
    # A second report about the same attempt tells nothing new: she may have been reached, or read her address back.
    new = failed and not stored.has_failed(session, attempt.number)
    waits = new and row.state is ReminderState.SENT
    stored.add_report(session, attempt, kind, said.status, said.said, fingerprint, waits)
    log().info(
        "report_recorded", reminder_id=row.id, attempt=attempt.number, outcome=kind, enhanced=said.status or None
    )
    if not new:
        return Taken.REPORT
    audit.record(session, "reminder.came_back", "reminder", row.id, row.patient_id)
    if blames or _takes_nothing(session, patient, attempt, said):
        session.flush()
        if refuse_address(session, patient, attempt.email_version):
            session.flush()
            replan(session, clinic, patient.id)
    return Taken.REPORT


def _takes_nothing(session: Session, patient: Patient, attempt: DeliveryAttempt, said: About) -> bool:
    if not said.status.startswith("5.2."):
        return False
    return stored.count_mailbox_troubles(session, patient.id, attempt.email_version) >= TROUBLES_BEFORE_REFUSED


def _attempt_of(session: Session, clinic: Clinic, mail: Mail) -> DeliveryAttempt | None:
    """The attempt that a report is about, or None: by our token, else by our Message-ID and the address it left to.

    Never by the text of an address alone: anybody can write one.
    """
    vault = clinic.store.vault
    for token, message_id in read_tokens(clinic.settings, mail.addressed_to):
        for attempt in _attempts(session, message_id, mail.message_id):
            if is_ours(vault, token, message_id, attempt.email_version):
                return attempt
    if mail.sort is Sort.REPORT and mail.message_id is not None:
        for attempt in _attempts(session, mail.message_id):
            address = _address_of(session, attempt)
            if address is not None and any(each.names(address) for each in mail.about):
                return attempt
    return None


def _attempts(session: Session, message_id: str, returned_id: str | None = None) -> list[DeliveryAttempt]:
    """What was handed over under this Message-ID, the last first.

    The domain of Message-IDs follows a setting: under another one a token still fits the message that is returned.
    """
    row = reminders.find_by_message_id(session, message_id)
    if row is None and returned_id is not None and returned_id.partition("@")[0] == message_id.partition("@")[0]:
        row = reminders.find_by_message_id(session, returned_id)
    if row is None:
        return []
    return [attempt for attempt in reversed(sends.list_attempts(session, row.id)) if attempt.outcome in _HANDED_OVER]


def _address_of(session: Session, attempt: DeliveryAttempt) -> str | None:
    """The address an attempt went to, from the copy of what left; None when that is not there any more."""
    try:
        copy = marks.read_copy(session, attempt.number)
    except VaultError:  # she was erased
        return None
    if copy is None:
        return None
    return first(read_headers(copy.partition(b"\r\n\r\n")[0]), "to") or None
