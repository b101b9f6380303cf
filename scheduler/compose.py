"""Writing reminders as finished mails: text, values, headers, and the last look at the words.

Texts are compiled in `scheduler.messages`, values come from `scheduler.letter_values`, bytes are assembled in
`scheduler.mime`, words judged in `scheduler.wording`.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from db import care_plans as stored_plans
from db import patients as stored_patients
from db.follow_up import CarePlan, Reminder
from db.marks import Links, pack_copy
from db.records import Patient
from db.sealed import learn_keys
from db.states import Level
from db.vault import Erased
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError
from scheduler.letter_values import Values, stop_link
from scheduler.messages import Rendered, compile_message
from scheduler.mime import MailHeaders
from scheduler.page_links import Tokens, links_of, page_url, stop_url, tokens_of
from scheduler.planning.protocol import CONFIRM, NOTICE, Step
from scheduler.return_path import return_path
from scheduler.wording import WordingFinding, lint_rendered


class NothingToSend(AftercareError):
    """The reminder cannot be written: its step, text or address is gone. The message names no patient."""


class Revealing(AftercareError):
    """The finished text would give her away; it must not leave."""

    def __init__(self, findings: list[WordingFinding]) -> None:
        places = ", ".join(sorted({finding.place for finding in findings}))
        super().__init__(f"the finished text holds a word that must not be seen, in: {places}")
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Letter:
    """A finished mail. `email_version` is the address it was written for: the mark checks it again."""

    reminder_id: UUID
    email: str
    email_version: int
    content: bytes
    packed: bytes  # the same, as it is kept
    rendered: Rendered
    return_path: str  # the envelope's sender
    links: Links | None = None  # what is kept of the links in it

    @property
    def envelope(self) -> tuple[str, str]:
        """Sender and recipient as the mail server is told."""
        return self.return_path, self.email


def write_letter(
    session: Session, clinic: Clinic, row: Reminder, approved_only: bool = True, stand_in: str | None = None
) -> Letter:
    """The mail of one reminder row: see `Letters.write`."""
    return Letters(session, clinic, [row]).write(row, approved_only, stand_in)


class Letters:
    """Writes the mails of reminders whose patients, plans and treatments were read together: a few queries for all."""

    def __init__(self, session: Session, clinic: Clinic, rows: Sequence[Reminder]) -> None:
        self._session = session
        self._clinic = clinic
        self._shelf = clinic.library.shelf(session)
        self.patients = stored_patients.find_all(session, {row.patient_id for row in rows})
        self._plans = stored_plans.find_all(session, {row.care_plan_id for row in rows})
        self._values = Values(session, clinic, list(self._plans.values()), self.patients)
        with suppress(Erased):  # then each is read by itself, and only hers fails
            learn_keys(session, self.patients)

    def is_outdated(self, row: Reminder) -> bool:
        """Whether its plan was made with other settings, holidays or zone data than those of today."""
        plan = self._plans.get(row.care_plan_id)
        return plan is not None and plan.planned_with != self._clinic.fingerprint

    def write(self, row: Reminder, approved_only: bool = True, stand_in: str | None = None) -> Letter:
        """The mail of one of these reminders, exactly as it would leave.

        A preview may take texts where none is approved yet, and a stand-in for an address that is not known.
        Raises `NothingToSend`, `RenderFailed` or `Revealing`.
        """
        clinic = self._clinic
        patient, plan = self.patients.get(row.patient_id), self._plans.get(row.care_plan_id)
        if patient is None or plan is None:
            raise NothingToSend("the reminder's patient or care plan does not exist")
        step = self._shelf.get(plan.protocol_version_id).protocol.find_step(row.step)
        if step is None:
            raise NothingToSend(f'the protocol has no step "{row.step}"')
        email = patient.email or stand_in
        if email is None:
            raise NothingToSend("there is no e-mail address")
        public = clinic.settings.public_url is not None
        tokens = tokens_of(clinic.store.vault, row.message_id) if public else None
        rendered = self._render(patient, plan, step, row.occurrence, approved_only, tokens)
        stop = stop_url(clinic.settings, tokens.stop) if tokens else None
        headers = MailHeaders(
            to=email,
            message_id=row.message_id,
            date=clinic.clock.now(),
            list_unsubscribe_mailto=stop_link(clinic),
            list_unsubscribe_https=stop if stop and stop.startswith("https://") else None,
        )
        content = clinic.writer.assemble(rendered, headers)
        back = return_path(clinic.settings, clinic.store.vault, row.message_id, patient.email_version)
        links = links_of(clinic.store.vault, row.message_id) if tokens else None
        return Letter(row.id, email, patient.email_version, content, pack_copy(content), rendered, back, links)

    def _render(
        self,
        patient: Patient,
        plan: CarePlan,
        step: Step,
        occurrence: int,
        approved_only: bool,
        tokens: Tokens | None,
    ) -> Rendered:
        shelved = self._shelf.get(plan.protocol_version_id)
        level = "full" if patient.level is Level.FULL else "general"
        # Where patients have no page to read a notice on, the general text stands in for it.
        by_notice = patient.level is Level.NOTICE and tokens is not None and step is not CONFIRM
        key = NOTICE if by_notice else step.template
        texts = self._shelf.find_message(shelved.protocol, key, patient.language, level, approved_only)
        if texts is None:
            raise NothingToSend(
                f'the text "{step.template}" or its urgent block or footer is not there or not approved'
            )
        compiled = compile_message(*(part.source if part else None for part in texts))
        given, family, preferred = patient.given_name, patient.family_name, patient.preferred_name
        language, called = texts.text.source.language, preferred or given
        settings = self._clinic.settings
        links = None
        if tokens:
            links = {"link.page": page_url(settings, tokens.page), "link.stop": stop_url(settings, tokens.stop)}
        rendered = compiled.render(self._values.of(plan, step, occurrence, language, compiled.names, called, links))
        names = [name for name in (given, family, preferred) if name]
        findings = lint_rendered(rendered, names, self._clinic.library.words(rendered.language))
        if findings:
            raise Revealing(list(findings))
        return rendered
