"""What each role may do. A page or use case names one right; a person has those of all her roles."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from db.states import Role


class Right(StrEnum):
    """One thing a person may be allowed to do."""

    OWN = "own"  # her own account: everybody who is signed in
    DESK = "desk"  # patients, treatments, visits and that a message is due; no clinical text
    RECORD = "record"  # the clinical text: record fields, notes, what messages say; signing, releasing, resolving
    APPROVE = "approve"  # protocols and texts
    LIBRARY = "library"  # reading protocols and texts
    WRITE_TEXTS = "write_texts"  # editing them; another person approves
    STOP_SENDING = "stop_sending"  # closing the gate, and opening it again
    IMPORT = "import"
    LOTS = "lots"  # from a lot to the patients treated with it
    FIGURES = "figures"  # counts over many patients, small ones withheld
    STAFF = "staff"  # accounts of others, settings
    TRAIL = "trail"  # who did or saw what


RIGHTS: Final[Mapping[Role, frozenset[Right]]] = MappingProxyType(
    {
        Role.RECEPTION: frozenset({Right.OWN, Right.DESK, Right.LIBRARY}),
        Role.CLINICIAN: frozenset(
            {
                Right.OWN,
                Right.DESK,
                Right.RECORD,
                Right.APPROVE,
                Right.LIBRARY,
                Right.WRITE_TEXTS,
                Right.STOP_SENDING,
                Right.LOTS,
                Right.FIGURES,
            }
        ),
        Role.MANAGER: frozenset(
            {
                Right.OWN,
                Right.DESK,
                Right.LIBRARY,
                Right.WRITE_TEXTS,
                Right.STOP_SENDING,
                Right.IMPORT,
                Right.LOTS,
                Right.FIGURES,
                Right.STAFF,
                Right.TRAIL,
            }
        ),
        Role.AUDITOR: frozenset({Right.OWN, Right.LIBRARY, Right.TRAIL}),
    }
)
NEEDS_SECOND_FACTOR: Final = frozenset({Role.CLINICIAN, Role.MANAGER})


def rights_of(roles: Iterable[Role]) -> frozenset[Right]:
    """All rights of a person with these roles."""
    return frozenset().union(*(RIGHTS[role] for role in roles))
