"""The form of `web.entry_pages` as it is sent, and the use case's entry made of it: only texts, nothing looked up."""

from collections.abc import Mapping
from typing import ClassVar, Final
from uuid import UUID

from pydantic import Field

from db.states import CallSafe, Past
from scheduler.accounts.front_door import Present
from scheduler.accounts.rights import Right
from scheduler.dates import english_name
from scheduler.entries import PatientForm
from scheduler.errors import InvalidInput, ReplaceOrKeep, UnderAge
from scheduler.library import Shelf
from scheduler.treatment_entry import Entry
from scheduler.treatments import TreatmentForm
from web.forms import FormModel

PATIENT_FIELDS: Final = (
    "given_name",
    "family_name",
    "preferred_name",
    "birth_date",
    "email",
    "phone",
    "call_safe",
    "contact_note",
    "record_number",
    "language",
    "consent",
)
LABELS: Final = {
    "given_name": "Given name",
    "family_name": "Family name",
    "preferred_name": "Preferred name",
    "birth_date": "Born",
    "email": "E-mail",
    "phone": "Telephone",
    "call_safe": "May the clinic ring",
    "contact_note": "How to reach, or not",
    "record_number": "Record number",
    "language": "Language",
    "consent": "Agreed to",
    "page_code": "Code for the private page",
    "protocol": "Treatment",
    "at": "Date and time",
    "clinician": "Clinician",
    "booked_at": "Review booked for",
    "late_reason": "Why it is entered late",
    "age_override": "Reason to treat under the age",
    "patient": "Patient",
    "replaces": "The running plan",
}
CONSENT_OPTIONS: Final = (
    ("", "Choose …"),
    ("all", "Messages about visits and about the plan"),
    ("reviews", "Only about visits"),
    ("exercises", "Only about the plan"),
    ("none", "No messages"),
)
REPLACES: Final = {"replace": True, "keep": False}  # what becomes of a running plan, where its protocol asks
CALL_OPTIONS: Final = ((CallSafe.ASK.value, "Not asked"), (CallSafe.YES.value, "Yes"), (CallSafe.NO.value, "No"))


class EntryForm(FormModel):
    """The form as sent. Record fields are `field.<key>`."""

    groups: ClassVar[Mapping[str, str]] = {"record": "field."}

    entry_id: str = ""
    patient_id: str = ""
    new: str = ""  # "yes": a new patient's fields are shown
    find: str = ""
    given_name: str = ""
    family_name: str = ""
    preferred_name: str = ""
    birth_date: str = ""
    email: str = ""
    phone: str = ""
    call_safe: str = CallSafe.ASK.value
    contact_note: str = ""
    record_number: str = ""
    language: str = ""  # empty: the clinic's
    consent: str = ""
    page_code: str = ""
    address: str = ""  # right, later or none
    address_version: str = ""  # of a known patient: which one was read back
    protocol: str = ""
    date: str = ""
    time: str = ""
    clinician: str = ""
    record: dict[str, str] = Field(default_factory=dict)
    fields_of: str = ""  # whose record fields the page showed
    booked_date: str = ""
    booked_time: str = ""
    past: str = ""
    replaces: str = ""
    age_override: str = ""
    late_reason: str = ""
    sure: str = ""
    asked_at: str = ""  # about which day far ahead the page has asked
    planned: str = ""  # "yes": the treatment is planned for that day
    remember: str = ""
    late: str = ""  # "yes": the page asks already why it is entered late
    look: str = ""  # a button that only shows: what is chosen so far
    pick: str = ""  # a button: this patient

    @property
    def at(self) -> str:
        """Date and time together, as use cases take them."""
        return f"{self.date.strip()}T{self.time.strip()}" if self.date.strip() else ""

    @property
    def has_other_fields(self) -> bool:
        """Whether the record fields belong to another treatment than the one chosen: a lot is never carried over."""
        return bool(self.fields_of) and self.fields_of != self.protocol

    @property
    def booked_at(self) -> str:
        """The visit's date and time together; empty when no date was given."""
        return f"{self.booked_date.strip()}T{self.booked_time.strip()}" if self.booked_date.strip() else ""


def looked(form: EntryForm) -> EntryForm:
    """The form after a button that only shows."""
    if form.look == "new":
        given, _, family = form.find.strip().rpartition(" ")
        names = {"given_name": given or family, "family_name": family if given else ""}
        kept = {} if form.given_name or form.family_name else names
        return form.model_copy(update={"new": "yes", "patient_id": "", "look": "", **kept})
    if form.look == "other":
        return form.model_copy(update={"new": "", "patient_id": "", "look": ""})
    return form.model_copy(update={"look": ""})


def entry_of(form: EntryForm) -> Entry:
    treatment = TreatmentForm(
        protocol=form.protocol,
        at=form.at,
        clinician=form.clinician or None,
        fields={key: text for key, text in form.record.items() if text.strip() and not form.has_other_fields},
        past=Past(form.past) if form.past in {rule.value for rule in Past} else None,
        replaces=REPLACES.get(form.replaces),
        age_override=form.age_override or None,
        late_reason=form.late_reason or None,
    )
    known = read_id(form.patient_id) if form.patient_id else None
    return Entry(
        treatment_id=read_id(form.entry_id),
        treatment=treatment,
        patient_id=known,
        patient=None if known else patient_form(form),
        address_confirmed=form.address == "right",
        address_seen=int(form.address_version) if known and form.address_version.isdecimal() else None,
        booked_at=form.booked_at,
        page_code="" if known else form.page_code,
        sure=form.sure == "yes",
    )


def languages_to_choose(own: str, shelf: Shelf) -> list[tuple[str, str]]:
    """The clinic's own language first, then every other in which there are texts."""
    others = sorted({language for _, language, _ in shelf.latest} - {own})
    return [("", english_name(own)), *((language, english_name(language)) for language in others)]


def patient_form(form: EntryForm) -> PatientForm:
    values = {name: getattr(form, name).strip() or None for name in PATIENT_FIELDS}
    if form.address == "none":
        values["email"] = None
    return PatientForm(**values)


def read_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput("this form is not whole: load the page again") from None


def in_page_words(error: Exception, me: Present) -> Exception:
    """An error as a page can answer it: the command line's options are no help there."""
    if isinstance(error, ReplaceOrKeep):
        return InvalidInput(f"replaces: {error.words}; choose below")
    if isinstance(error, UnderAge) and me.may(Right.RECORD):
        return InvalidInput(f"age_override: {error.words}; write why you treat all the same")
    if isinstance(error, UnderAge):
        return InvalidInput(f"{error.words}; a clinician may treat all the same, with a reason")
    return error
