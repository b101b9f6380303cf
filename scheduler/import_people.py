"""Whom the rows of an import speak of: a patient of the record, one already met in the file, or a new one.

One row's cells are checked in `scheduler.import_rows`; what is planned for a new patient is in `scheduler.import_plan`.

A record number decides. Without one, the same names with an equal address or birth date, and neither of them
different, are the same patient. Names alone never make two treatments one patient's: such a row is refused when the
record or the file already has somebody of that name, unless it says nothing new. So a file imported twice changes
nothing, and nobody's treatments end in another's record by chance.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from db.imports import Hits, Keys, KnownPatient
from db.vault import Vault, normal
from scheduler.entries import PatientForm, check_patient
from scheduler.errors import InvalidInput, Refused
from scheduler.import_person import Fit, Person, compared, fit, new_in, of_the_record
from scheduler.import_rows import CheckedRow
from scheduler.settings import Settings
from scheduler.treatments import check_age, keeps_earlier

LONG_AGO = timedelta(days=730)  # older treatments are perhaps mistyped

_WHO = frozenset({"given_name", "family_name", "birth_date", "email"})
_BINDING = _WHO | {"level", "consent", "confirmed"}  # a file that contradicts itself here is not guessed at


@dataclass(slots=True)
class People:
    """What the rows add up to. Problems and warnings come with the line they are about."""

    persons: list[Person] = field(default_factory=list)
    skipped: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    warnings: list[tuple[int, str]] = field(default_factory=list)

    def wrong(self, line: int, problem: str) -> None:
        """Note what makes a row bad."""
        self.problems.append((line, f"line {line}, {problem}"))

    def note(self, line: int, warning: str) -> None:
        """Note what staff should look at."""
        self.warnings.append((line, f"line {line}, {warning}"))


def keys_of(vault: Vault, rows: Iterable[CheckedRow]) -> Keys:
    """By what these rows look for patients in the record."""
    rows = list(rows)
    return Keys(
        numbers=frozenset(vault.blind("record_number", row.number) for row in rows if row.number),
        emails=frozenset(vault.blind("email", row.email) for row in rows if row.email),
        prefixes=frozenset(vault.prefix(part) for row in rows for part in row.name_parts),
    )


def candidates(vault: Vault, row: CheckedRow, hits: Hits) -> frozenset[UUID]:
    """Patients of the record who may be the one a row speaks of, or share her address or look like her."""
    found = hits.emails.get(vault.blind("email", row.email), frozenset()) if row.email else frozenset()
    if row.number:
        numbered = hits.numbers.get(vault.blind("record_number", row.number))
        found |= {numbered} if numbered else set()
    parts = [hits.prefixes.get(vault.prefix(part), frozenset[UUID]()) for part in row.name_parts]
    return found | (frozenset.intersection(*parts) if parts else frozenset())


def find_people(rows: Sequence[CheckedRow], known: Iterable[KnownPatient], settings: Settings, now: datetime) -> People:
    """Decide of each row whom it speaks of and whether it brings anything new.

    Rows with a record number come first and rows with nothing but names last, so that their order in the file does
    not matter.
    """
    meeting = _Meeting(known, now)
    for row in sorted(rows, key=lambda row: (0 if row.number else 1 if row.email or row.born else 2, row.line)):
        person, met_before = meeting.person_of(row)
        if person is not None:
            meeting.enter(person, row, met_before)
    people = meeting.people
    for person in people.persons:
        _finish(person, people, settings, now)
    people.persons = [person for person in people.persons if person.known is None or person.treatments]
    return people


class _Meeting:
    """Everybody met so far, in the record and in the file."""

    def __init__(self, known: Iterable[KnownPatient], now: datetime) -> None:
        self.people = People()
        self._now = now
        self._by_number: dict[str, Person] = {}
        self._by_names: dict[tuple[str, str], list[Person]] = defaultdict(list)
        self._by_email: dict[str, list[Person]] = defaultdict(list)
        for patient in known:
            self._meet(of_the_record(patient))

    def person_of(self, row: CheckedRow) -> tuple[Person | None, bool]:
        """The person of a row and whether she was met before; None when the row is bad or says nothing new."""
        if row.number:
            person = self._by_number.get(row.number)
            if person is None:
                return self._new(row), False
            return (person, True) if self._agrees(person, row) else (None, True)
        if not all(row.names):
            missing = "given_name" if not row.names[0] else "family_name"
            self.people.wrong(row.line, f"{missing}: is needed without a record_number")
            return None, False
        alike = [(person, fit(row, person)) for person in self._by_names[row.names]]
        same = [person for person, how in alike if how is Fit.SAME]
        if len(same) == 1:
            return (same[0], True) if self._agrees(same[0], row) else (None, True)
        if any(_says_nothing_new(person, row, how) for person, how in alike):
            self.people.skipped += 1
            return None, True
        if same:
            self.people.wrong(row.line, f"given_name: {len(same)} patients fit; give the record_number")
            return None, True
        return self._unnumbered(row, [person for person, _ in alike]), False

    def enter(self, person: Person, row: CheckedRow, met_before: bool) -> None:
        """Add what a row brings to its person, unless it is there already."""
        people, treatment = self.people, row.treatment
        if treatment is None:
            people.skipped += met_before
            return
        if treatment.key in person.entered:
            people.skipped += 1
            if not person.entered[treatment.key]:
                people.note(row.line, "treated_at: this treatment was cancelled and is not entered again")
            return
        protocol = treatment.shelved.protocol.key
        try:
            keeps = keeps_earlier(treatment.shelved, protocol in person.running, None)
        except InvalidInput:
            people.wrong(
                row.line,
                "protocol: the patient has a running plan of it, and the protocol asks what becomes of that one; "
                "enter this treatment by hand",
            )
            return
        person.entered[treatment.key] = True
        person.running.add(protocol)
        person.treatments.append((treatment, keeps))
        if treatment.entry.treated_at > self._now:
            people.note(row.line, f"treated_at: {treatment.entry.treated_local} lies in the future")
        elif treatment.entry.treated_at < self._now - LONG_AGO:
            people.note(row.line, f"treated_at: {treatment.entry.treated_local} is more than two years ago")

    def _unnumbered(self, row: CheckedRow, namesakes: Sequence[Person]) -> Person | None:
        if namesakes and not (row.email or row.born):
            self.people.wrong(
                row.line,
                f"given_name: somebody of that name is {namesakes[0].where}, "
                "and nothing tells whether this is the same person; give record_number, email or birth_date",
            )
            return None
        if not (row.email or row.name_parts):
            self.people.wrong(
                row.line, "given_name: by so short a name nobody is found again; give record_number or email"
            )
            return None
        return self._new(row)

    def _new(self, row: CheckedRow) -> Person:
        alike = next((one for one in self._by_names[row.names] if fit(row, one) in (Fit.SAME, Fit.ALIKE)), None)
        if alike:
            self.people.note(row.line, f"given_name: looks like a patient {alike.where}; entered as a new one")
        sharing = next((one for one in self._by_email[row.email or ""] if one.names != row.names), None)
        if sharing:
            self.people.note(
                row.line, f"email: is the address of another patient {sharing.where}; mails to both will reach it"
            )
        person = new_in(row)
        self.people.persons.append(person)
        self._meet(person, row.number)
        return person

    def _meet(self, person: Person, number: str | None = None) -> None:
        number = number or normal(person.values.get("record_number", ""))
        if number:
            self._by_number[number] = person
        self._by_names[person.names].append(person)
        if person.email:
            self._by_email[person.email].append(person)
        if person.known:
            self.people.persons.append(person)

    def _agrees(self, person: Person, row: CheckedRow) -> bool:
        """Whether a further row of a patient says nothing against what is known; what is new of a new one is kept."""
        agrees = True
        binding = _BINDING if person.known is None else _WHO if row.number else frozenset[str]()
        for column, value in row.values.items():
            before = person.told(column, value)
            if before == compared(column, value):
                continue
            if person.known is None and before is None:
                person.values[column], person.lines[column] = value, row.line
                self._learn(person, row)
            elif column in binding:
                self.people.wrong(row.line, f"{column}: differs from what is {person.where}; {person.mend}")
                agrees = False
            else:
                self.people.note(
                    row.line, f"{column}: differs from what is {person.where} and is left out; {person.mend}"
                )
        return agrees

    def _learn(self, person: Person, row: CheckedRow) -> None:
        if person.email is None and row.email:
            person.email = row.email
            self._by_email[row.email].append(person)
        person.born = person.born or row.born
        if person.names != row.names and all(row.names):
            self._by_names[row.names].append(person)
            person.names = row.names


def _says_nothing_new(person: Person, row: CheckedRow, how: Fit) -> bool:
    if row.treatment is None:
        return how is Fit.SAME or (row.email is None and row.born is None)
    # The very treatment of somebody of that name is hers, even if her address was changed since: entered again, its
    # messages would go to the address she gave up.
    is_another = bool(row.born and person.born and row.born != person.born)
    return row.treatment.key in person.entered and not is_another


def _finish(person: Person, people: People, settings: Settings, now: datetime) -> None:
    """Check a new patient as a whole, and the age of any for her treatments."""
    if person.known is None:
        try:
            person.entry, person.said = check_patient(PatientForm(**person.values), settings, now.date())
        except InvalidInput as wrong:
            for problem in wrong.problems:
                line = person.lines.get(problem.partition(":")[0], person.line)
                people.wrong(line or 0, problem)
    for treatment, _ in person.treatments:
        try:
            check_age(person.born, treatment.shelved, treatment.entry, None)
        except Refused as under_age:
            people.wrong(treatment.line, f"birth_date: {under_age}")
