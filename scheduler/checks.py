"""`check`: what could be wrong before anyone notices; findings with stable ids. Reads only, but for one SMTP login."""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sqlalchemy import select

from db import audit, gate
from db.engine import UnsafeDatabase, check_engine
from db.migrations import current, head
from db.records import PatientKey
from db.vault import VaultError
from scheduler import gate_watch, permit, stop_journal
from scheduler.backup import find_last_backup
from scheduler.bounce_mailbox import MailboxTrouble, look_at_folder
from scheduler.clinic import Clinic
from scheduler.integrity import PROBLEMS, find_last_check
from scheduler.keys import find_exports
from scheduler.mailer import Connection, Limits, RelayTrouble
from scheduler.protocols import ProtocolInvalid, list_protocol_files, read_protocol
from scheduler.sender import relay_of
from scheduler.template_files import check_templates, list_templates
from scheduler.unsafe_settings import list_unsafe
from scheduler.wording import lint_values

BACKUP_OLD = timedelta(days=2)
LOGIN_LIMITS = Limits(connect=10, command=10, final_reply=10, quit=2)


@dataclass(frozen=True, slots=True)
class Found:
    """One finding. `fail` has to be mended, `warn` looked at."""

    id: str
    severity: Literal["fail", "warn"]
    problem: str


def check(clinic: Clinic) -> list[Found]:
    """All findings. Each part is looked at whatever another found."""
    parts: list[Callable[[Clinic], Iterator[Found]]] = [
        _settings,
        _database,
        _keys,
        _copies,
        _audit,
        _relay,
        _mailbox,
        _gate,
        _permit,
        _stops,
        _clock,
        _protocols,
        _texts,
    ]
    return [found for part in parts for found in part(clinic)]


def _settings(clinic: Clinic) -> Iterator[Found]:
    settings = clinic.settings
    if settings.smtp_host is None:
        yield Found("relay-not-set", "warn", "no mail server is set: mails are written to the outbox folder")
    for name in settings.to_be_set:
        yield Found("setting-to-be-set", "warn", f"{name.upper()} still has its example value")
    shown = {
        "SENDER_NAME": settings.sender_name,
        "SENDER_ADDRESS": settings.sender_address,
        "REPLY_TO": settings.reply_to,
        "CLINIC_NAME": settings.clinic_name,
        "PUBLIC_URL": settings.public_url or "",
    }
    for finding in lint_values(shown, clinic.library.words(settings.clinic_language)):
        yield Found("revealing-setting", "fail", f"{finding.place}: {finding.problem}")
    for unsafe in list_unsafe(settings):
        yield Found(unsafe.id, "fail" if unsafe.must_mend else "warn", unsafe.problem)


def _database(clinic: Clinic) -> Iterator[Found]:
    try:
        check_engine(clinic.store.engine)
    except UnsafeDatabase as unsafe:
        yield Found("database-unsafe", "fail", str(unsafe))
    found = current(clinic.store.engine)
    if found != head():
        yield Found("schema-outdated", "fail", f"the schema is {found}, this program's is {head()}: run migrate")
    if clinic.store.is_sqlite:
        with clinic.store.engine.connect() as connection:
            answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if answer != "ok":
            yield Found("database-damaged", "fail", "SQLite's quick_check found damage: restore a backup")


def _keys(clinic: Clinic) -> Iterator[Found]:
    with clinic.store.read() as session:
        for patient_id, wrapped in session.execute(
            select(PatientKey.patient_id, PatientKey.wrapped).order_by(PatientKey.patient_id).limit(1)
        ):
            try:
                clinic.store.vault.learn(patient_id, wrapped)
            except VaultError as wrong:
                yield Found("keys-do-not-fit", "fail", str(wrong))
    try:
        mode = clinic.settings.keys_file.stat().st_mode & 0o777
    except OSError:
        # What runs has its keys in memory; the next start would find the record closed.
        yield Found("keys-missing", "fail", "the key file cannot be read: put it back before the service stops")
        return
    if mode & 0o077:
        yield Found("keys-readable", "fail", f"the key file can be read by others (mode {mode:04o})")


def _copies(clinic: Clinic) -> Iterator[Found]:
    """Whether the record could come back after this machine was lost."""
    newest = clinic.store.vault.ring.wrapping[-1].id
    with clinic.store.read() as session:
        exported, backed_up, checked = find_exports(session), find_last_backup(session), find_last_check(session)
    if not exported:
        yield Found("recovery-key-missing", "warn", "no recovery key was made: keys export")
    elif newest not in exported:
        yield Found("recovery-key-outdated", "warn", "the recovery key lacks the newest clinic key: keys export")
    if backed_up is None:
        yield Found("backup-missing", "warn", "no backup was made: backup FILE")
    elif clinic.clock.now() - backed_up > BACKUP_OLD:
        yield Found("backup-old", "warn", f"the last backup is {(clinic.clock.now() - backed_up).days} days old")
    for problem in checked.problems if checked else ():
        yield Found("record-not-whole", "fail", PROBLEMS.get(problem, problem))


def _audit(clinic: Clinic) -> Iterator[Found]:
    with clinic.store.read() as session:
        _, findings = audit.verify(session, clinic.settings.anchors_file)
    if findings:
        yield Found("audit-chain-broken", "fail", f"{len(findings)} place(s): run audit verify")


def _relay(clinic: Clinic) -> Iterator[Found]:
    relay = relay_of(clinic)
    if relay is None:
        return

    async def log_in() -> None:
        connection = Connection(relay, LOGIN_LIMITS)
        try:
            await connection.open()
        finally:
            await connection.close()

    try:
        asyncio.run(log_in())
    except RelayTrouble as trouble:
        code = f" {trouble.verdict.code}" if trouble.verdict.code else ""
        yield Found("relay-login", "fail", f"the mail server could not be used: {trouble.verdict.phase.value}{code}")


def _mailbox(clinic: Clinic) -> Iterator[Found]:
    settings = clinic.settings
    address = settings.bounce_address
    if address is None:
        if settings.smtp_host is not None:
            problem = "BOUNCE_ADDRESS is not set: what comes back later returns to SENDER_ADDRESS, and no list shows it"
            yield Found("bounce-address-not-set", "warn", problem)
        return
    if address.casefold() in (settings.sender_address.casefold(), settings.reply_to.casefold()):
        problem = "BOUNCE_ADDRESS is one that people write to: give undeliverable mail an address of its own"
        yield Found("bounce-address-shared", "fail", problem)
    if not settings.bounce_tokens:
        problem = "BOUNCE_TOKENS is off: reports that return no Message-ID of ours are not recognised"
        yield Found("bounce-tokens-off", "warn", problem)
    if settings.bounce_imap_host is not None:
        try:
            look_at_folder(settings)
        except MailboxTrouble as trouble:
            yield Found("bounce-mailbox", "fail", f"the technical mailbox cannot be read: {trouble}")


def _gate(clinic: Clinic) -> Iterator[Found]:
    with clinic.store.read() as session:
        row = gate.get_gate(session)
    if row.reason is not None:
        yield Found("gate-closed", "warn", f"nothing is sent: {row.reason}")


def _permit(clinic: Clinic) -> Iterator[Found]:
    with clinic.store.read() as session:
        fault = gate_watch.find_fault(gate_watch.look(session, clinic))
    if fault is not None:
        yield Found("permit", "fail", f"{fault.reason.rstrip('?')}. A start stops all sending over it until release")
    folder = permit.path_of(clinic.settings).parent
    if not os.access(folder, os.W_OK):
        yield Found(
            "permit-unwritable", "fail", f"{folder} cannot be written: the permit to send lives beside the keys"
        )


def _stops(clinic: Clinic) -> Iterator[Found]:
    with clinic.store.read() as session:
        lost = stop_journal.find_lost(session, clinic)
    for problem in lost.journal.problems:
        yield Found("stop-journal-damaged", "fail", problem)
    missing = sum(len(entries) for entries in lost.of_patients.values()) + len(lost.strangers)
    if missing:
        yield Found("stops-missing", "fail", f"{missing} stop(s) were entered that are not in this record: run release")


def _clock(clinic: Clinic) -> Iterator[Found]:
    now = clinic.clock.now()
    with clinic.store.read() as session:
        worker = gate.find_latest_worker(session)
    if worker is not None and worker.heartbeat_at > now:
        yield Found("clock-behind", "fail", "the clock stands before the last sign of life: it was set back")


def _protocols(clinic: Clinic) -> Iterator[Found]:
    with clinic.store.read() as session:
        shelf = clinic.library.shelf(session)
    known = {key for key, _, _ in (*list_templates(clinic.settings.template_folders), *shelf.latest)}
    for path in list_protocol_files(clinic.settings.protocol_folders).values():
        try:
            read_protocol(path.read_text(encoding="utf-8"), path.name, known)
        except (ProtocolInvalid, UnicodeDecodeError) as wrong:
            problems = wrong.problems if isinstance(wrong, ProtocolInvalid) else [f"{path.name}: is not UTF-8"]
            for problem in problems:
                yield Found("protocol-invalid", "fail", problem)
    for key in sorted({shelved.protocol.key for shelved in shelf.protocols.values()}):
        if key not in shelf.retired and not any(s.approved for s in shelf.list_versions(key)):
            yield Found("protocol-draft", "warn", f"{key} is a draft: nothing of it is sent")


def _texts(clinic: Clinic) -> Iterator[Found]:
    for finding in check_templates(clinic.settings.template_folders):
        yield Found("text", finding.severity, str(finding))
