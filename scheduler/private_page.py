"""Her private page: whose link this is, whether it still opens anything, and what she chose to open it with.

Reading changes nothing. What she can say there is in `scheduler.answers`, how it looks in `web.private`.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from db import audit, page_links, raised_lines
from db import patients as stored_patients
from db import treatments as stored_treatments
from db.follow_up import CarePlan, Reminder
from db.private_page import MessageLink, PageCodeKind, RaisedKind
from db.records import Patient
from db.states import CallSafe, ReminderState, StopReason, TreatmentStatus
from scheduler import patients
from scheduler.accounts import passwords
from scheduler.clinic import Clinic
from scheduler.entries import clean_text
from scheduler.errors import InvalidInput, Refused
from scheduler.page_links import FIRST_SIGN, LINK_SIGNS, PAGE_LIVES, STOP_LIVES, TOKEN_BYTES, hash_of
from scheduler.planning.protocol import CONFIRM

ACTOR: Final = "patient"  # who holds the link, and, where it was asked for, knows the code
MOST_TRIES: Final = 5  # wrong codes in a row; then staff give her a new one
SHORTEST_CODE: Final = 4
LONGEST_CODE: Final = 60
_TOKEN = re.compile(rf"{FIRST_SIGN}[{LINK_SIGNS}]{{{2 * TOKEN_BYTES}}}", re.ASCII)
_SHUT: Final = frozenset({StopReason.DECEASED, StopReason.UNSAFE, StopReason.LEFT, StopReason.LOST})
_GONE: Final = frozenset({ReminderState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Opening:
    """A link that opens something, and for whom. `confirms`: it only asks whether the address is hers."""

    patient_id: UUID
    plan_id: UUID
    treatment_id: UUID
    reminder_id: UUID
    email_version: int
    confirms: bool
    language: str
    stops: bool = False  # the link that stops messages: it opens no page, and lives longer


class Code(StrEnum):
    """What became of a code that was typed."""

    RIGHT = "right"
    WRONG = "wrong"
    LOCKED = "locked"  # five wrong ones: staff give her another
    NONE = "none"  # none was ever chosen


def open_link(clinic: Clinic, token: str) -> Opening | None:
    """What a page link opens now; None for a token that is none, is too old, was revoked, or whose patient moved on."""
    return _open(clinic, token, stops=False)


def open_stop(clinic: Clinic, token: str) -> Opening | None:
    """What a stop link stops. It lives longer than the page, and also while messages to her are stopped."""
    return _open(clinic, token, stops=True)


def _open(clinic: Clinic, token: str, stops: bool) -> Opening | None:
    if not _TOKEN.fullmatch(token):
        return None
    with clinic.store.read() as session:
        return _opening(session, clinic, token, stops)


def _opening(session: Session, clinic: Clinic, token: str, stops: bool) -> Opening | None:
    find = page_links.find_by_stop if stops else page_links.find_by_page
    found = find(session, hash_of(clinic.store.vault, "stop" if stops else "page", token))
    if found is None:
        return None
    link, row, plan, patient = found
    if not _opens(session, link, row, plan, patient, clinic.clock.now(), stops):
        return None
    return Opening(
        patient_id=patient.id,
        plan_id=plan.id,
        treatment_id=plan.treatment_id,
        reminder_id=row.id,
        email_version=link.email_version,
        confirms=row.step == CONFIRM.key,
        language=patient.language,
        stops=stops,
    )


def _opens(
    session: Session, link: MessageLink, row: Reminder, plan: CarePlan, patient: Patient, now: datetime, stops: bool
) -> bool:
    if link.patient_id != patient.id or plan.patient_id != patient.id:
        return False
    if not _is_alive(link, patient, now - (STOP_LIVES if stops else PAGE_LIVES)):
        return False
    return stops or _is_readable(session, row, plan, patient)


def _is_alive(link: MessageLink, patient: Patient, oldest: datetime) -> bool:
    if patient.voided_at is not None or link.email_version != patient.email_version or link.made_at < oldest:
        return False
    return patient.links_revoked_at is None or link.made_at > patient.links_revoked_at


def _is_readable(session: Session, row: Reminder, plan: CarePlan, patient: Patient) -> bool:
    if row.state in _GONE:
        return False
    if row.step != CONFIRM.key:  # whether an address is hers is no matter of a treatment
        treatment = stored_treatments.find_treatment(session, plan.treatment_id)
        if treatment is None or treatment.status is TreatmentStatus.CANCELLED:  # also: it was another patient's
            return False
    stop = stored_patients.find_stop(session, patient.id)
    return stop is None or stop.reason not in _SHUT


def lock_opening(session: Session, clinic: Clinic, opening: Opening) -> tuple[Patient, CarePlan]:
    """Her row locked for a change. Raises `Refused` when the link has ended between reading and writing."""
    patient = stored_patients.lock_patient(session, opening.patient_id)
    plan = session.get(CarePlan, opening.plan_id)
    link, row = session.get(MessageLink, opening.reminder_id), session.get(Reminder, opening.reminder_id)
    if patient is None or plan is None or link is None or row is None:
        raise Refused("this page has ended")
    still = patient.email_version == opening.email_version
    if not still or not _opens(session, link, row, plan, patient, clinic.clock.now(), opening.stops):
        raise Refused("this page has ended")
    return patient, plan


def code_kind(session: Session, patient_id: UUID) -> PageCodeKind | None:
    """What she chose to open her page with, or None."""
    code = page_links.find_code(session, patient_id)
    return None if code is None else code.kind


def try_code(clinic: Clinic, opening: Opening, typed: str) -> tuple[Code, int]:
    """Whether it is the code she chose, and how many tries are left. Each is counted before it is looked at."""
    with clinic.store.write(ACTOR, clinic.clock.now()) as session:
        code = page_links.find_code(session, opening.patient_id)
        if code is None:
            return Code.NONE, 0
        counted = page_links.count_try(session, opening.patient_id, MOST_TRIES)
        kind, stored = code.kind, code.code_hash
        session.expire(code)
        left = MOST_TRIES - code.tries
        if not counted:
            _tell_locked(session, clinic, opening)
    if not counted:
        return Code.LOCKED, 0
    if passwords.matches(_plain(kind, typed), stored, _key(clinic)):
        with clinic.store.write(ACTOR, clinic.clock.now()) as session:
            page_links.forget_tries(session, opening.patient_id)
            audit.record(session, "page.opened", "reminder", opening.reminder_id, opening.patient_id)
        return Code.RIGHT, MOST_TRIES
    if left > 0:
        return Code.WRONG, left
    with clinic.store.write(ACTOR, clinic.clock.now()) as session:
        _tell_locked(session, clinic, opening)
    return Code.LOCKED, 0


def _tell_locked(session: Session, clinic: Clinic, opening: Opening) -> None:
    """Tell staff that her page is locked; again when somebody has closed the line and given her no other code."""
    _, plan = lock_opening(session, clinic, opening)
    if raised_lines.find_open(session, plan.id, RaisedKind.CODE_LOCKED) is None:
        raised_lines.raise_line(session, plan, RaisedKind.CODE_LOCKED)
        audit.record(session, "page.locked", "patient", opening.patient_id, opening.patient_id)


def set_code(clinic: Clinic, actor: str, patient_id: UUID, kind: PageCodeKind, typed: str) -> None:
    """Store what she chose at the desk. Raises `InvalidInput`; `Refused` for a birth date that others may know."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        store_code(session, clinic, patients.lock(session, patient_id), kind, typed)


def store_code(session: Session, clinic: Clinic, patient: Patient, kind: PageCodeKind, typed: str) -> None:
    """`set_code` of a locked or new patient, in the caller's transaction; it closes the line about a locked page."""
    secret = _chosen(patient, kind, typed)
    page_links.set_code(session, patient.id, kind, passwords.keep(secret, _key(clinic)))
    audit.record(session, "page.code_set", "patient", patient.id, patient.id, [kind.value])
    for line in raised_lines.list_of_patient(session, patient.id):
        if line.kind is RaisedKind.CODE_LOCKED and line.closed_at is None:
            raised_lines.close(session, line)


def revoke_links(clinic: Clinic, actor: str, patient_id: UUID) -> None:
    """No link that was sent until now opens anything any more."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        patient = patients.lock(session, patient_id)
        page_links.revoke(session, patient)
        audit.record(session, "link.revoked", "patient", patient.id, patient.id, ["links"])


def _chosen(patient: Patient, kind: PageCodeKind, typed: str) -> str:
    if kind is PageCodeKind.WORD:
        cleaned, problem = clean_text(typed, "code", LONGEST_CODE)
        plain = _plain(kind, cleaned)
        if problem is None and len(plain) < SHORTEST_CODE:
            problem = f"code: write at least {SHORTEST_CODE} letters or digits that she chose"
        if problem is None and len(set(plain)) < 3:
            problem = "code: is among the first that are guessed; let her choose another"
        if problem is None and plain in _known_of(patient):
            problem = "code: is her name or birth date, which others know; let her choose another"
        if problem:
            raise InvalidInput(problem)
        return plain
    if patient.contact_note or patient.call_safe is not CallSafe.YES:
        raise Refused("the birth date opens no page where the contact note asks for care: somebody near knows it")
    if patient.birth_date is None:
        raise InvalidInput("birth_date: is not known; enter it first, or let her choose a word")
    return _plain(kind, patient.birth_date.isoformat())


def _known_of(patient: Patient) -> set[str]:
    names = [name for name in (patient.given_name, patient.family_name, patient.preferred_name) if name]
    born = patient.birth_date
    dates = [] if born is None else [born.isoformat(), f"{born:%d%m%Y}", f"{born:%d%m%y}", f"{born:%Y}"]
    return {_plain(PageCodeKind.WORD, text) for text in (*names, *dates)}


def _plain(kind: PageCodeKind, typed: str) -> str:
    """As it is compared: of a word its letters and digits however they are written; of a date its day."""
    if len(typed) > LONGEST_CODE:  # nobody chose that
        return ""
    folded = unicodedata.normalize("NFKC", typed).casefold()
    if kind is PageCodeKind.WORD:
        return "".join(letter for letter in folded if letter.isalnum())
    return _read_date(folded) or "".join(letter for letter in folded if letter.isdigit())


def _read_date(text: str) -> str | None:
    """`7.3.1990`, `07/03/1990`, `07031990` or `1990-03-07` as 1990-03-07: the day before the month."""
    parts = re.findall(r"\d+", text)
    if len(parts) == 1 and len(parts[0]) == 8:
        parts = [parts[0][:2], parts[0][2:4], parts[0][4:]]
    if len(parts) != 3:
        return None
    first, month, last = (int(part) for part in parts)
    year, day = (first, last) if len(parts[0]) == 4 else (last, first)
    try:
        return date(year, month, day).isoformat()
    except (ValueError, OverflowError):
        return None


def _key(clinic: Clinic) -> bytes:
    return clinic.store.vault.ring.tokens
