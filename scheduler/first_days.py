"""What has to be true before the first real message: settings, the clinic's own words, approvals, what only a person
can say. The card of it stays on the day's list until it is empty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from db import accounts, audit
from db import library as stored_library
from db.states import SetupStep
from scheduler import approvals
from scheduler.clinic import Clinic
from scheduler.dates import english_name
from scheduler.library import Shelf, ShelvedProtocol


@dataclass(frozen=True, slots=True)
class SetupLine:
    """One thing to do: what, why, where. `mark` is set where a person says that it is done.

    `example`: what the lines in `aftercare.toml` look like.
    """

    words: str
    help: str
    path: str | None = None
    mark: SetupStep | None = None
    example: tuple[str, ...] = ()


_MAIL_SERVER: Final = ('smtp_host = "mail.example.org"', 'smtp_username = "clinic"', 'smtp_password = "…"')
_CLINIC: Final = (
    'clinic_name = "Harbour Clinic"',
    'clinic_phone = "020 7946 0999"',
    'clinic_hours = "Monday to Friday, 9:00 to 17:00"',
    'clinic_country = "GB-ENG"',
    'clinic_time_zone = "Europe/London"',
    'sender_name = "Harbour"',
    'sender_address = "post@example.org"',
    'reply_to = "desk@example.org"',
)


def list_open_steps(session: Session, clinic: Clinic) -> Sequence[SetupLine]:
    """What is still to do, in the order to do it; empty when a clinic is ready."""
    settings = clinic.settings
    marks = accounts.list_setup_marks(session)
    shelf = clinic.library.shelf(session)
    newest = clinic.store.vault.ring.wrapping[-1].id
    exported, backed_up = audit.find_happened(session, ("keys.exported", newest), ("backup.made", None))
    found = []
    if settings.to_be_set:
        found.append(
            SetupLine(
                "Say who the clinic is",
                "Name, sender, telephone and hours stand in every mail: neutral, as patients know you. Country and "
                "time zone decide the emergency number, the holidays and the hour. All of it in aftercare.toml:",
                "/settings",
                example=_CLINIC,
            )
        )
    if settings.smtp_host is None:
        found.append(
            SetupLine(
                "Set a mail server",
                "Until then every mail is written to a folder and nobody receives it. In aftercare.toml; then start "
                "the service again:",
                "/settings",
                example=_MAIL_SERVER,
            )
        )
    approved = [shelved for shelved in shelf.protocols.values() if shelved.approved]
    # What is approved has its texts: approval refuses without.
    if not any(shelved.approved for shelved in _offered(shelf)) and not _has_texts(session, shelf):
        found.append(
            SetupLine(
                "Write the rest rule",
                "What a patient may do in the first days is the clinic's to say; no protocol starts without it.",
                "/protocols",
            )
        )
    if not approved:
        found.append(
            SetupLine(
                "Read and approve a protocol with its urgent text",
                "All shipped texts are starters. A clinician reads them, changes them and approves them.",
                "/protocols",
            )
        )
    found += [
        SetupLine(
            f"Read and approve the texts in {english_name(language)}",
            f"A patient reads {english_name(language)}. Until then her messages come in "
            f"{english_name(settings.clinic_language)}.",
            "/protocols",
        )
        for language in sorted(_languages_unread(session, clinic, shelf))
    ]
    if SetupStep.TEST_MAIL_READ not in marks:
        found.append(
            SetupLine(
                "Send yourself a test mail and read it",
                "On your own phone, locked: what shows is what a patient's family would see.",
                "/texts",
                SetupStep.TEST_MAIL_READ,
            )
        )
    if SetupStep.KEYS_KEPT not in marks and not exported:
        found.append(
            SetupLine(
                "Make the recovery key, and keep it elsewhere",
                f"aftercare keys export FILE: without it or {settings.keys_file.name} nobody can read a backup.",
                None,
                SetupStep.KEYS_KEPT,
            )
        )
    if SetupStep.BACKUP_KEPT not in marks and not backed_up:
        found.append(
            SetupLine(
                "Make a backup, and keep it elsewhere",
                "aftercare backup FILE, each night.",
                None,
                SetupStep.BACKUP_KEPT,
            )
        )
    if settings.alert_address is None:
        found.append(
            SetupLine("Say where alarms go", "An address that somebody reads: AFTERCARE_ALERT_ADDRESS.", "/settings")
        )
    elif SetupStep.ALARMS_KNOWN not in marks:
        found.append(
            SetupLine(
                "Make sure that somebody reads the alarms",
                f"They go to {settings.alert_address}.",
                None,
                SetupStep.ALARMS_KNOWN,
            )
        )
    return found


def mark(clinic: Clinic, actor: str, step: SetupStep) -> None:
    """Note that a person says a step is done."""
    with clinic.store.write(actor, clinic.clock.now()) as session:
        accounts.mark_setup(session, step)
        audit.record(session, f"setup.{step.value}", "setup")


def _languages_unread(session: Session, clinic: Clinic, shelf: Shelf) -> set[str]:
    """Languages of patients in which there are texts of an approved protocol, and one was never approved."""
    wanted = {name for shelved in _offered(shelf) if shelved.approved for name in shelved.protocol.templates}
    unread = {language for name, language, level in shelf.latest.keys() - shelf.approved.keys() if name in wanted}
    unread.discard(clinic.settings.clinic_language)
    return unread & approvals.languages_read(session, clinic) if unread else set()


def _offered(shelf: Shelf) -> list[ShelvedProtocol]:
    return [shelved for shelved in shelf.protocols.values() if shelved.protocol.key not in shelf.retired]


def _has_texts(session: Session, shelf: Shelf) -> bool:
    values = stored_library.list_texts(session)
    return any(_has_its_texts(shelved, values) for shelved in _offered(shelf))


def _has_its_texts(shelved: ShelvedProtocol, values: dict[str, dict[str, str]]) -> bool:
    given = values.get(shelved.protocol.key, {})
    return all(given.get(text.key) for text in shelved.protocol.texts if text.required)
