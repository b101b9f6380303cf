"""The cast: invented people, so that a name tells the case; nobody here exists.

`entered` makes a patient's row without any use case; tests of the use cases enter people themselves.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from db.engine import Store
from db.patients import PatientEntry, add_patient
from db.states import Level


@dataclass(frozen=True, slots=True)
class Person:
    """One invented patient as staff would enter her."""

    given_name: str
    family_name: str
    email: str
    record_number: str
    birth_date: date
    time_zone: str = "Europe/London"
    language: str = "en"
    preferred_name: str | None = None
    phone: str | None = None
    contact_note: str | None = None

    def entry(self, **changes: Any) -> PatientEntry:
        """Her as `db.patients` takes her."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return PatientEntry(**{"level": Level.GENERAL, **fields, **changes})


def entered(store: Store, person: Person, at: datetime, **changes: Any) -> UUID:
    """Store her and nothing else; returns her id."""
    with store.write("test", at) as session:
        return add_patient(session, person.entry(**changes)).id


# Nothing is special about her: the plain case.
AMINA = Person("Amina", "Farouk", "amina@example.org", "A-1001", date(1990, 4, 12), phone="+44 20 7946 0101")
# Her review is booked, moved and missed.
BEATRIX = Person("Beatrix", "Lindqvist", "beatrix@example.org", "A-1002", date(1985, 11, 3))
# She moves abroad in the middle of her plan.
CARMEN = Person("Carmen", "Ibarra-Soto", "carmen@example.org", "A-1003", date(1994, 2, 28), preferred_name="Carmencita")
# A complication is reported.
DANUTA = Person("Danuta", "Wiśniewska", "danuta@example.org", "A-1004", date(1979, 7, 19))
# She stops her messages.
ESME = Person("Esmé", "O'Hara", "esme@example.org", "A-1005", date(2000, 2, 29))
# She is released to the phase with a partner.
FENG = Person("Feng", "Zhao", "feng@example.org", "A-1006", date(1988, 9, 9), time_zone="Asia/Shanghai")
# It is not safe to ring her.
GRETA = Person(
    "Greta", "Holm", "greta@example.org", "A-1007", date(1991, 6, 1), contact_note="Only the clinic's own number."
)
# She lives where the clock moves by half an hour.
HINEMOA = Person(
    "Hinemoa", "Tāwhai", "hinemoa@example.org", "A-1008", date(1996, 1, 5), time_zone="Australia/Lord_Howe"
)

CAST = (AMINA, BEATRIX, CARMEN, DANUTA, ESME, FENG, GRETA, HINEMOA)
