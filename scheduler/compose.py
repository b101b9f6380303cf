"""Writing reminders as finished mails: text, values, headers, and the last look at the words.

Texts are compiled in `scheduler.messages`, values come from `scheduler.letter_values`, bytes are assembled in
`scheduler.mime`, words judged in `scheduler.wording`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from db.copy_packing import pack_copy
from db.follow_up import CarePlan, Reminder
from db.letters import Addressee, read_addressees
from db.marks import Links
from db.sends import DueClaim
from db.states import Level, StepKind
from scheduler.clinic import Clinic
from scheduler.errors import AftercareError
from scheduler.exercise_course import Standing, dose_words
from scheduler.exercises import read_course
from scheduler.letter_values import Values, stop_link
from scheduler.messages import CompiledMessage, Rendered, compile_message
from scheduler.mime import MailHeaders
from scheduler.page_links import Tokens, links_of, page_url, stop_url, tokens_of
from scheduler.planning.protocol import CONFIRM, NOTICE, Anchor, Step
from scheduler.return_path import return_path
from scheduler.review_calendar import calendar_file
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
    session: Session,
    clinic: Clinic,
    row: Reminder | DueClaim,
    approved_only: bool = True,
    stand_in: str | None = None,
) -> Letter:
    """The mail of one reminder row: see `Letters.write`."""
    return Letters(session, clinic, {row.care_plan_id}).write(row, approved_only, stand_in)


class Letters:
    """Writes the mails of reminders whose plans, patients and treatments were read together, with one query."""

    def __init__(self, session: Session, clinic: Clinic, plan_ids: Collection[UUID]) -> None:
        self._session = session
        self._clinic = clinic
        self._shelf = clinic.library.shelf(session)
        self.addressees = read_addressees(session, plan_ids)
        self._values = Values(session, clinic, self.addressees)
        self._stop_link = stop_link(clinic)
        self._messages: dict[tuple[UUID, str, str, Level, bool, str | None], CompiledMessage] = {}

    def write(self, row: Reminder | DueClaim, approved_only: bool = True, stand_in: str | None = None) -> Letter:
        """The mail of one of these reminders, exactly as it would leave.

        A preview may take texts where none is approved yet, and a stand-in for an address that is not known.
        Raises `NothingToSend`, `RenderFailed` or `Revealing`.
        """
        clinic = self._clinic
        addressee = self.addressees.get(row.care_plan_id)
        if addressee is None:
            raise NothingToSend("the reminder's care plan does not exist")
        step = self._shelf.get(addressee.protocol_version_id).protocol.find_step(row.step)
        if step is None:
            raise NothingToSend(f'the protocol has no step "{row.step}"')
        email = addressee.email(self._session) or stand_in
        if email is None:
            raise NothingToSend("there is no e-mail address")
        public = clinic.settings.public_url is not None
        tokens = tokens_of(clinic.store.vault, row.message_id) if public else None
        stands = self._standing(addressee, step, row)
        rendered = self._render(addressee, step, row.occurrence, approved_only, tokens, stands)
        stop = stop_url(clinic.settings, tokens.stop) if tokens else None
        headers = MailHeaders(
            to=email,
            message_id=row.message_id,
            date=clinic.clock.now(),
            list_unsubscribe_mailto=self._stop_link,
            list_unsubscribe_https=stop if stop and stop.startswith("https://") else None,
        )
        content = clinic.writer.assemble(rendered, headers, self._calendar(addressee, step, row))
        back = return_path(clinic.settings, clinic.store.vault, row.message_id, addressee.email_version)
        links = links_of(clinic.store.vault, row.message_id) if tokens else None
        return Letter(row.id, email, addressee.email_version, content, pack_copy(content), rendered, back, links)

    def _calendar(self, addressee: Addressee, step: Step, row: Reminder | DueClaim) -> bytes | None:
        """The visit that a message speaks of, for her calendar; not where a mail only says that a message waits."""
        by_notice = addressee.level is Level.NOTICE and self._clinic.settings.public_url is not None
        if step.anchor is not Anchor.REVIEW_BOOKED or by_notice:
            return None
        reviews = self._shelf.get(addressee.protocol_version_id).protocol.reviews
        named = step.review or (reviews[row.occurrence - 1].key if row.occurrence <= len(reviews) else None)
        return calendar_file(self._session, self._clinic, row.care_plan_id, named) if named else None

    def _standing(self, addressee: Addressee, step: Step, row: Reminder | DueClaim) -> Standing | None:
        """Her present exercise, for a mail that says everything."""
        if addressee.level is not Level.FULL or step.kind is not StepKind.EXERCISE:
            return None
        plan = self._session.get(CarePlan, row.care_plan_id)
        return read_course(self._session, self._clinic, plan).stands if plan else None

    def _render(
        self,
        addressee: Addressee,
        step: Step,
        occurrence: int,
        approved_only: bool,
        tokens: Tokens | None,
        stands: Standing | None,
    ) -> Rendered:
        # Where patients have no page to read a notice on, the general text stands in for it.
        by_notice = addressee.level is Level.NOTICE and tokens is not None and step is not CONFIRM
        exercise = stands.exercise.text if stands else None
        compiled = self._message(addressee, NOTICE if by_notice else step.template, approved_only, exercise)
        given, family, preferred = addressee.names(self._session)
        language = compiled.source.language
        settings = self._clinic.settings
        own: dict[str, str | None] = {}
        if tokens:
            own |= {"link.page": page_url(settings, tokens.page), "link.stop": stop_url(settings, tokens.stop)}
        if stands:
            own |= {"exercise.dose": dose_words(stands, language), "exercise.size": stands.size}
        values = self._values.of(addressee, step, occurrence, language, preferred or given, compiled.names, own)
        rendered = compiled.render(values)
        names = [name for name in (given, family, preferred) if name]
        findings = lint_rendered(rendered, names, self._clinic.library.words(language))
        if findings:
            raise Revealing(list(findings))
        return rendered

    def _message(
        self, addressee: Addressee, template: str, approved_only: bool, exercise: str | None
    ) -> CompiledMessage:
        """A text in her language and on her level, with its urgent block and footer."""
        version_id, language, level = addressee.protocol_version_id, addressee.language, addressee.level
        key = version_id, template, language, level, approved_only, exercise
        found = self._messages.get(key)
        if found is None:
            protocol, wanted = self._shelf.get(version_id).protocol, "full" if level is Level.FULL else "general"
            texts = self._shelf.find_message(protocol, template, language, wanted, approved_only)
            if texts is None:
                raise NothingToSend(f'the text "{template}" or its urgent block or footer is not there or not approved')
            moves = self._shelf.find_part(exercise, texts.text.source.language, approved_only) if exercise else None
            parts = [part.source if part else None for part in (texts.urgent, texts.footer, moves)]
            found = self._messages[key] = compile_message(texts.text.source, *parts)
        return found
