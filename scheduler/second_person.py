"""Approval on the screen: by a second person, or where there is none by the writer herself, who then says why.

What an approval covers and does is in `scheduler.approvals`. What came from a file nobody wrote on the screen: any
clinician approves it.
"""

from collections.abc import Collection
from enum import StrEnum

from sqlalchemy.orm import Session

from db import accounts
from db.states import Role
from scheduler import approvals
from scheduler.accounts.front_door import actor_name
from scheduler.accounts.rights import Right, rights_of
from scheduler.approvals import Approved, Scope
from scheduler.clinic import Clinic
from scheduler.entries import NOTE_LENGTH, clean_text
from scheduler.errors import InvalidInput, Refused
from scheduler.library import ShelvedText
from scheduler.replanning import Progress
from scheduler.template_files import TextId

CHANGED = "it changed since it was shown; look at it again"


class Standing(StrEnum):
    """Whether a person may approve what these people wrote."""

    MAY = "may"
    ALONE = "alone"  # she wrote it and there is no other clinician: with a reason
    NEEDS_ANOTHER = "needs_another"  # she wrote it: another clinician approves


def standing_of(session: Session, actor: str, writers: Collection[str]) -> Standing:
    """Where a clinician stands to an approval."""
    if actor not in writers:
        return Standing.MAY
    others = [
        member
        for member in accounts.list_members(session)
        if member.disabled_at is None
        and member.password_hash is not None
        and Right.APPROVE in rights_of(Role(role) for role in member.roles)
        and actor_name(member.login) != actor
    ]
    return Standing.NEEDS_ANOTHER if others else Standing.ALONE


def approve_protocol(
    clinic: Clinic, actor: str, by: str, key: str, seal: str, reason: str = "", progress: Progress | None = None
) -> Approved:
    """Approve the newest version of a protocol with its texts, if it is the very one that was shown (`seal`).

    Raises `Refused` when it changed or needs another person, `InvalidInput` when she is alone and gives no reason.
    """
    scope, alone = check_protocol(clinic, actor, key, seal, reason)
    return approvals.approve_protocol(clinic, actor, scope, by, progress, alone)


def approve_text(
    clinic: Clinic, actor: str, by: str, text_id: TextId, seal: str, reason: str = "", progress: Progress | None = None
) -> Approved:
    """Approve the newest content of one text, if it is the one that was shown: `seal` is its hash. Raises as above."""
    waiting, alone = check_text(clinic, actor, text_id, seal, reason)
    return approvals.approve_texts(clinic, actor, waiting, by, progress, alone)


def check_protocol(clinic: Clinic, actor: str, key: str, seal: str, reason: str) -> tuple[Scope, str | None]:
    """What would be approved, and why alone; raises like `approve_protocol` and approves nothing."""
    scope = approvals.scope_of(clinic, key)
    if scope.seal != seal:
        raise Refused(CHANGED)
    return scope, _read_reason(clinic, actor, scope.writers, reason)


def check_text(
    clinic: Clinic, actor: str, text_id: TextId, seal: str, reason: str
) -> tuple[list[ShelvedText], str | None]:
    """What would be approved, and why alone; raises like `approve_text` and approves nothing."""
    waiting = approvals.texts_to_approve(clinic, *text_id)
    if [text.content_hash for text in waiting] != [seal]:
        raise Refused(CHANGED)
    writers = {text.written_by for text in waiting if text.written_by}
    return waiting, _read_reason(clinic, actor, writers, reason)


def _read_reason(clinic: Clinic, actor: str, writers: Collection[str], reason: str) -> str | None:
    with clinic.store.read() as session:
        standing = standing_of(session, actor, writers)
    if standing is Standing.NEEDS_ANOTHER:
        raise Refused("you wrote a part of it yourself: another clinician has to read and approve it")
    if standing is Standing.MAY:
        return None
    cleaned, problem = clean_text(reason, "reason", NOTE_LENGTH)
    if problem or not cleaned:
        raise InvalidInput(
            problem or "reason: you wrote it yourself and there is no other clinician; say why it can go"
        )
    return cleaned
