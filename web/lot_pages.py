"""Lots: from a lot number to the patients treated with it, for a recall; as a list and as a file.

Who is on it is found in `scheduler.lots`. The number is sent as a form, so that it stands in no address.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response

from scheduler import lots
from scheduler.errors import InvalidInput
from scheduler.local_time import to_wall
from scheduler.lots import LotLine, LotStanding
from web.doors import me_of
from web.forms import Filled, FormModel, filled
from web.pages import clinic_of, download, page
from web.people import Person, person
from web.times import Say

LABELS = {"lot": "Lot number"}


class LotForm(FormModel):
    """The number that is looked for."""

    lot: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Shown:
    """One line of the list: whom, what, when, and what else staff have to know before they ring."""

    who: Person
    treatment_id: UUID
    title: str
    treated_on: str
    clinician: str
    adverse: int
    remark: str


def lot_page(request: Request) -> Response:
    """Where a lot is looked for."""
    return _empty(request, filled(LotForm()))


def find(request: Request) -> Response:
    """The patients treated with a lot."""
    form, clinic = LotForm.read(request), clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    try:
        with clinic.store.show() as session:
            report = lots.search(session, clinic, form.lot)
            held = [_show(line, say) for line in report.held]
            once = [_show(line, say) for line in report.once]
    except InvalidInput as wrong:
        return _empty(request, filled(form, wrong, LABELS), 422)
    lots.note(clinic, me_of(request).actor, report)
    ring = Counter(line.who.may_ring for line in {line.who.id: line for line in held}.values())
    return page(
        request,
        "lot/lots.html",
        form=filled(form),
        lot=report.lot,
        held=held,
        once=once,
        patients=report.patients,
        may_ring=ring[True],
        shut=ring[False],
    )


def export(request: Request) -> Response:
    """The same list as a CSV file."""
    form, clinic = LotForm.read(request), clinic_of(request)
    with clinic.store.show() as session:
        report = lots.search(session, clinic, form.lot)
        content = lots.export(report)
    lots.note(clinic, me_of(request).actor, report, exported=True)
    today = to_wall(clinic.clock.now(), clinic.settings.clinic_time_zone)
    return download(content, "text/csv; charset=utf-8", f"lot-{today:%Y-%m-%d}.csv")


def _show(line: LotLine, say: Say) -> Shown:
    use = line.use
    remark = ""
    if line.standing is LotStanding.CORRECTED:
        remark = f"corrected since: the record now says lot {line.lot_now}" if line.lot_now else "the lot was taken out"
    elif line.standing is LotStanding.CANCELLED:
        moved = use.treatment.reassigned_to_id is not None
        remark = "entered under the wrong patient" if moved else "cancelled: it did not take place"
    return Shown(
        who=person(use.patient, say.today),
        treatment_id=use.treatment.id,
        title=line.title,
        treated_on=say.full_date(datetime.fromisoformat(use.holds.treated_local).date()),
        clinician=use.holds.clinician or "",
        adverse=len(use.adverse),
        remark=remark,
    )


def _empty(request: Request, form: Filled, status: int = 200) -> Response:
    return page(request, "lot/lots.html", status, form=form, lot=None)
