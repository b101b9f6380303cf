"""Moving running plans to the version in force: what would become of each message, and doing it after a look.

What moving does is in `scheduler.version_moves`; approving the version in `web.approval_pages`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from fastapi import HTTPException, Request
from fastapi.responses import Response

from scheduler import version_moves
from scheduler.clinic import Clinic
from scheduler.errors import InvalidInput
from scheduler.library import Shelf, ShelvedProtocol
from scheduler.replanning import Progress
from scheduler.subjects import title_of
from scheduler.version_moves import PlanMove
from web.doors import me_of
from web.forms import FormModel
from web.long_work import start
from web.pages import clinic_of, page
from web.people import full_name
from web.seen import note_view
from web.times import Say


class MoveForm(FormModel):
    """Which plans to move to the version that was shown; without any chosen, all."""

    target: str = ""
    plans: tuple[str, ...] = ()
    which: str = ""  # chosen or all
    back: str = ""


@dataclass(frozen=True, slots=True)
class MoveLine:
    """One plan in the table: whose, since when, and what would become of its messages."""

    id: UUID
    patient_id: UUID
    treatment_id: UUID
    name: str
    treated: str
    version: int
    counts: tuple[int, int, int, int]  # moved, new, cancelled, unchanged
    words: Sequence[str]


def move_page(request: Request, key: str) -> Response:
    """The plans on earlier versions, and what moving each would do to its messages."""
    clinic, after = clinic_of(request), request.query_params.get("after")
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        shelf = clinic.library.shelf(session)
        outlook = version_moves.look(session, clinic, key)
        found = version_moves.preview(session, clinic, key, _read_id(after) if after else None) if outlook.plans else []
        lines = [_move_line(clinic, shelf, outlook.target, move, say) for move in found[: version_moves.PAGE]]
    if lines:
        note_view(request, "list.viewed", "plans", key, fields=["name", "plan"])
    return page(
        request,
        "library/move.html",
        key=key,
        title=outlook.target.protocol.title,
        outlook=outlook,
        most=version_moves.MOST_COUNTED,
        lines=lines,
        next_after=lines[-1].id if len(found) > version_moves.PAGE else None,
    )


def move(request: Request, key: str) -> Response:
    """Move the chosen plans, or all, patient by patient."""
    form, clinic, me = MoveForm.read(request), clinic_of(request), me_of(request)
    back = f"/protocols/{key}/move"
    chosen = None if form.which == "all" else {_read_id(text) for text in form.plans}
    if chosen is not None and not chosen:
        raise InvalidInput("choose at least one plan")
    target = _read_id(form.target)

    def run(tell: Progress) -> str:
        moved = version_moves.move(clinic, me.actor, key, target, chosen, tell)
        return f"/protocols/{key}?done={'plans-moved' if not moved.left else 'plans-moved-some'}"

    return start(request, "Moving the plans", run, back)


def _move_line(clinic: Clinic, shelf: Shelf, target: ShelvedProtocol, move: PlanMove, say: Say) -> MoveLine:
    steps = {
        step.key: step for step in (*shelf.get(move.plan.protocol_version_id).protocol.steps, *target.protocol.steps)
    }

    def called(step: str, occurrence: int) -> str:
        return (
            title_of(shelf, target.protocol, steps[step], move.patient.language, occurrence) if step in steps else step
        )

    words = [
        f"“{called(change.row.step, change.row.occurrence)}”: {say.wall(change.row.due_local)} becomes "
        f"{say.wall(change.timing.due_local.isoformat())}"
        for change in move.moved
        if change.timing is not None
    ]
    words += [
        f"“{called(change.row.step, change.row.occurrence)}”, {say.wall(change.row.due_local)}: "
        f"{change.verdict.reason.sentence if change.verdict.reason else 'will be sent'}"
        for change in move.changed
    ]
    words += [
        f"new: “{called(new.item.step.key, new.item.occurrence)}”, {say.wall(new.timing.due_local.isoformat())}"
        for new in move.new
    ]
    words += [
        f"cancelled: “{called(change.row.step, change.row.occurrence)}”, {say.wall(change.row.due_local)}"
        for change in move.cancelled
    ]
    words += [
        f"“{called(new.item.step.key, new.item.occurrence)}”, {say.wall(new.timing.due_local.isoformat())}: "
        "its time has passed, it is left out"
        for new in move.left_out
    ]
    moved, new, gone = len(move.moved) + len(move.changed), len(move.new), len(move.cancelled)
    return MoveLine(
        id=move.plan.id,
        patient_id=move.patient.id,
        treatment_id=move.plan.treatment_id,
        name=full_name(move.patient),
        treated=say.wall(move.treated.isoformat()),
        version=move.version,
        counts=(moved, new, gone, move.unchanged),
        words=words,
    )


def _read_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise HTTPException(404) from None
