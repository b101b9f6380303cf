"""Roles and rights in words, for the pages of staff and for help.

What a role may do is in `scheduler.accounts.rights`.
"""

from collections.abc import Mapping
from typing import Final

from db.states import Role
from scheduler.accounts.rights import RIGHTS, Right

ROLE_NAMES: Final[Mapping[Role, str]] = {
    Role.RECEPTION: "Reception",
    Role.CLINICIAN: "Clinician",
    Role.MANAGER: "Manager",
    Role.AUDITOR: "Auditor",
}
RIGHT_WORDS: Final[Mapping[Right, str]] = {
    Right.OWN: "use an account: password, PIN, where one is signed in",
    Right.DESK: "work at the desk: patients, treatments, visits, and that a message is due",
    Right.RECORD: "read and write what is clinical: records, notes, what messages say, outcomes of reviews",
    Right.APPROVE: "approve protocols and texts",
    Right.LIBRARY: "read protocols and texts",
    Right.WRITE_TEXTS: "write protocols and texts, for another person to approve",
    Right.STOP_SENDING: "stop all sending, and release it",
    Right.IMPORT: "import patients from a file, release an import, undo it",
    Right.LOTS: "find the patients treated from a lot",
    Right.FIGURES: "see the clinic's figures: counts over many patients, small ones withheld",
    Right.STAFF: "make and change accounts, read the settings",
    Right.TRAIL: "read the trail: who did or saw what",
}
ROLE_OPTIONS: Final = tuple(
    (
        role,
        ROLE_NAMES[role],
        {
            Role.RECEPTION: "the desk, without the clinical text",
            Role.CLINICIAN: "the desk, the record, approving, lots, figures",
            Role.MANAGER: "the desk, import, lots, figures, staff, settings, the trail",
            Role.AUDITOR: "the trail; ids, never names of patients",
        }[role],
    )
    for role in Role
)


def may_do(role: Role) -> list[str]:
    """What a role may do, a line each, in the order of the rights."""
    return [RIGHT_WORDS[right] for right in Right if right in RIGHTS[role]]


def roles_in_words(roles: tuple[Role, ...]) -> str:
    """`Clinician, Manager`."""
    return ", ".join(ROLE_NAMES[role] for role in Role if role in roles)
