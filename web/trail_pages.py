"""The trail: who did or saw what, with filters; the state of its chain; the same as a file. Never a patient's name.

The words of actions are in `web.trail_words`, the queries in `db.trail`, the chain in `db.audit`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from db import audit
from db.audit import ChainFinding
from db.staff import AuditEvent
from db.trail import TrailFilter, list_actors, list_trail
from scheduler.clinic import Clinic
from scheduler.csv_cells import csv_text
from scheduler.errors import InvalidInput
from scheduler.local_time import to_utc, to_wall
from web.forms import EmptyForm, FormModel, filled
from web.long_work import Progress, start
from web.pages import clinic_of, page
from web.seen import note_view
from web.times import Say
from web.trail_words import GROUPS, actions_of, subject_words, words_of

PAGE: Final = 100
EXPORTED_AT_ONCE: Final = 2_000  # events in one query of an export, so that no long transaction stands in the way
LABELS: Final = {"patient": "Patient’s id", "since": "From", "until": "To"}
COLUMNS: Final = ("number", "at", "actor", "action", "subject", "subject_id", "patient_id", "fields")


class TrailForm(FormModel):
    """Which events: an actor, a group of actions, a patient's id, a first and a last day."""

    who: str = ""
    group: str = ""
    patient: str = ""
    since: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class ChainState:
    """What the last verification found, and when."""

    at: datetime
    events: int
    findings: Sequence[ChainFinding] = field(default_factory=tuple)


def trail_page(request: Request) -> Response:
    """One page of the trail."""
    clinic = clinic_of(request)
    asked = request.query_params
    form = TrailForm(**{name: asked.get(name, "").strip() for name in TrailForm.model_fields})
    before = _number(asked.get("before", ""))
    try:
        wanted = _filter(clinic, form)
    except InvalidInput as wrong:
        return _page(request, form, [], None, 422, wrong)
    with clinic.store.show() as session:
        events = list_trail(session, wanted, before, PAGE + 1)
    note_view(request, "trail.viewed", patient_id=wanted.patient_id)
    next_before = events[PAGE - 1].number if len(events) > PAGE else None
    return _page(request, form, events[:PAGE], next_before)


def verify(request: Request) -> Response:
    """Check the whole chain; its state then stands on the page."""
    EmptyForm.read(request)
    clinic, state = clinic_of(request), request.app.state
    note_view(request, "trail.verified")

    def run(progress: Progress) -> str:
        at = clinic.clock.now()
        with clinic.store.show() as session:
            events, findings = audit.verify(session, clinic.settings.anchors_file, progress)
        state.chain = ChainState(at, events, tuple(findings))
        return "/audit"

    return start(request, "Verifying the trail", run, "/audit")


def export(request: Request) -> Response:
    """All events of a filter as a CSV file, the newest first; it comes in pieces, however long it is."""
    form, clinic = TrailForm.read(request), clinic_of(request)
    wanted = _filter(clinic, form)
    note_view(request, "trail.exported", patient_id=wanted.patient_id)
    today = to_wall(clinic.clock.now(), clinic.settings.clinic_time_zone)
    return StreamingResponse(
        _file(clinic, wanted),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="audit-trail-{today:%Y-%m-%d}.csv"'},
    )


def _file(clinic: Clinic, wanted: TrailFilter) -> Iterator[bytes]:
    yield csv_text(COLUMNS, []).encode("utf-8-sig")
    before: int | None = None
    while True:
        with clinic.store.show() as session:
            events = list_trail(session, wanted, before, EXPORTED_AT_ONCE)
        yield csv_text((), [_cells(event) for event in events]).encode()
        if len(events) < EXPORTED_AT_ONCE:
            return
        before = events[-1].number


def _cells(event: AuditEvent) -> list[object]:
    at = event.at.isoformat().replace("+00:00", "Z")
    subject = [event.subject, event.subject_id, event.patient_id]
    return [event.number, at, event.actor, event.action, *subject, " ".join(event.fields)]


def _page(
    request: Request,
    form: TrailForm,
    events: Sequence[AuditEvent],
    next_before: int | None,
    status: int = 200,
    wrong: InvalidInput | None = None,
) -> Response:
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        actors = sorted(((actor, say.who(actor)) for actor in list_actors(session)), key=lambda pair: pair[1].lower())
        count = audit.count_events(session)
    kept = {name: value for name, value in form.model_dump().items() if value}
    return page(
        request,
        "trail/trail.html",
        status,
        form=filled(form, wrong, LABELS),
        lines=[_line(event, say) for event in events],
        actors=[("", "anybody"), *actors],
        groups=[("", "everything"), *GROUPS.items()],
        count=count,
        chain=chain_of(request),
        older=f"/audit?{urlencode({**kept, 'before': next_before})}" if next_before else None,
        newest=f"/audit?{urlencode(kept)}" if request.query_params.get("before") else None,
        filtered=bool(kept),
        kept=kept,
    )


def chain_of(request: Request) -> ChainState | None:
    """What the last verification in this process found; None before the first."""
    found: ChainState | None = getattr(request.app.state, "chain", None)
    return found


def _line(event: AuditEvent, say: Say) -> Mapping[str, Any]:
    wall = to_wall(event.at, say.zone)
    return {
        "number": event.number,
        "day": say.on(wall.date()),
        "time": f"{wall:%H:%M:%S}",
        "who": say.who(event.actor),
        "words": words_of(event.action),
        "action": event.action,
        "subject": subject_words(event.subject),
        "subject_id": event.subject_id if event.subject_id != str(event.patient_id) else None,
        "patient_id": event.patient_id,
        "fields": ", ".join(name.replace("_", " ") for name in event.fields),
    }


def _filter(clinic: Clinic, form: TrailForm) -> TrailFilter:
    """What was chosen as a filter. Raises `InvalidInput` with everything that is none."""
    problems = []
    if "\0" in form.who:
        problems.append("who: is nobody’s name")
    patient_id: UUID | None = None
    if form.patient:
        try:
            patient_id = UUID(form.patient)
        except ValueError:
            problems.append("patient: ids look like 0193a5f0-…; it stands in the address of the patient’s page")
    days: dict[str, date | None] = {"since": None, "until": None}
    for name in days:
        if text := getattr(form, name):
            try:
                days[name] = date.fromisoformat(text)
            except ValueError:
                problems.append(f"{name}: write a day like 2026-11-23")
    if problems:
        raise InvalidInput(*problems)
    return TrailFilter(
        actor=form.who or None,
        actions=actions_of(form.group),
        patient_id=patient_id,
        since=_midnight(clinic, days["since"]),
        until=_midnight(clinic, days["until"], after=1),
    )


def _midnight(clinic: Clinic, day: date | None, after: int = 0) -> datetime | None:
    """When a day of the clinic begins; `after`: so many days later."""
    if day is None:
        return None
    try:
        return to_utc(datetime.combine(day + timedelta(days=after), time()), clinic.settings.clinic_time_zone)
    except OverflowError:
        raise InvalidInput(f"{'until' if after else 'since'}: write a day like 2026-11-23") from None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
