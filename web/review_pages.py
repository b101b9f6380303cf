"""Reviews of a treatment: booking and moving a visit, writing down what a review found, releasing the next part."""

from collections.abc import Mapping
from typing import ClassVar, Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from db import care_plans as stored_plans
from db import treatments as stored_treatments
from db.states import EventKind, Phase, ReviewStatus
from scheduler import events, reviews, signing, treatments
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.local_time import to_wall
from scheduler.reviews import OUTCOMES, ReviewForm
from web.doors import me_of
from web.forms import Filled, FormModel, Unlikely, filled
from web.line_parts import review_name
from web.pages import clinic_of, go_to
from web.pain import SITUATIONS, answered_before, trend_of
from web.times import Say
from web.treatment_parts import about, head_of

_OUTCOME_WORDS: Final = {
    "progressing": "Progressing as planned",
    "hold": "Stay at this step",
    "step back": "Go back a step",
    "refer": "Refer on",
    "discharge": "Discharge",
}
LABELS: Final = {
    "at": "Visit",
    "outcome": "Outcome",
    "wish": "What the patient wants",
    "next_at": "Next visit",
    **{f"pain.{key}": words for key, words in SITUATIONS},
    **dict(SITUATIONS),
}


class BookForm(FormModel):
    """A visit's date, time and place."""

    review: str = ""
    date: str = ""
    time: str = ""
    place: str = ""
    sure: str = ""  # "yes": she was asked about this time, and it is right
    asked: str = ""  # about which time


class OutcomeForm(FormModel):
    """What a review found; pain is `pain.<situation>`."""

    groups: ClassVar[Mapping[str, str]] = {"pains": "pain."}

    date: str = ""
    time: str = ""
    outcome: str = ""
    pains: dict[str, str] = Field(default_factory=dict)
    note: str = ""
    wish: str = ""
    releases: str = ""
    starts_solo: str = ""
    next_date: str = ""
    next_time: str = ""
    next_place: str = ""
    sure: str = ""
    asked: str = ""


class ReleaseForm(FormModel):
    """What the patient said about the next part."""

    wish: str = ""


def book_page(request: Request, treatment_id: UUID) -> Response:
    """Book or move a visit: the form."""
    return _book(request, treatment_id, filled(BookForm(review=request.query_params.get("review", ""))))


def book(request: Request, treatment_id: UUID) -> Response:
    """Book it; a booked one is moved, and a date that was mailed is told anew."""
    form = BookForm.read(request)
    at = f"{form.date}T{form.time}" if form.date or form.time else ""
    fields = {"place": form.place} if form.place.strip() else {}
    try:
        if not at:
            raise InvalidInput("at: say when the visit starts")
        _ask_if_unlikely(request, treatment_id, form, form.review or None, at, "at")
        events.record(
            clinic_of(request),
            me_of(request).actor,
            treatment_id,
            EventKind.REVIEW_BOOKED,
            at,
            form.review or None,
            fields,
        )
    except Unlikely as unlikely:
        asked = form.model_copy(update={"asked": unlikely.at, "sure": ""})
        return _book(request, treatment_id, filled(asked, unlikely, LABELS), 422)
    except InvalidInput as wrong:
        return _book(request, treatment_id, filled(form, wrong, LABELS), 422)
    return go_to(f"/treatments/{treatment_id}", "visit-booked")


def outcome_page(request: Request, treatment_id: UUID, review: str) -> Response:
    """Write down a review: the form."""
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        plan = treatments.get_plan(session, treatments.get(session, treatment_id).id)
        row = next((row for row in stored_plans.list_reviews(session, [plan.id]) if row.key == review), None)
    zone = clinic.settings.clinic_time_zone
    now = clinic.clock.now()
    at = to_wall(row.visit_at if row and row.visit_at and row.visit_at < now else now, zone)
    return _outcome(request, treatment_id, review, filled(OutcomeForm(date=at.date().isoformat(), time=f"{at:%H:%M}")))


def save_outcome(request: Request, treatment_id: UUID, review: str) -> Response:
    """Record the review and what follows from it."""
    form = OutcomeForm.read(request)
    known = {key for key, _ in SITUATIONS}
    wanted = ReviewForm(
        review=review,
        at=f"{form.date}T{form.time}" if form.date else "",
        outcome=form.outcome,
        pains={key: text for key, text in form.pains.items() if key in known},
        note=form.note,
        next_at=f"{form.next_date}T{form.next_time}" if form.next_date else "",
        next_review=_next(request, treatment_id, review) or "",
        next_place=form.next_place,
        wish=form.wish,
        releases=form.releases == "yes",
        starts_solo=form.starts_solo == "yes",
    )
    try:
        reviews.fields_of(wanted)
        if wanted.next_at.strip():
            _ask_if_unlikely(request, treatment_id, form, wanted.next_review, wanted.next_at, "next_at")
        reviews.complete(clinic_of(request), me_of(request).actor, treatment_id, wanted)
    except Unlikely as unlikely:
        asked = form.model_copy(update={"asked": unlikely.at, "sure": ""})
        return _outcome(request, treatment_id, review, filled(asked, unlikely, LABELS), 422)
    except (InvalidInput, Refused) as wrong:
        return _outcome(request, treatment_id, review, filled(form, wrong, LABELS), 422)
    return go_to(f"/treatments/{treatment_id}", "review-held")


def release_page(request: Request, treatment_id: UUID) -> Response:
    """Release the part with a partner: the form."""
    return _release(request, treatment_id, filled(ReleaseForm()))


def release(request: Request, treatment_id: UUID) -> Response:
    """Release it, with the patient's own wish."""
    form = ReleaseForm.read(request)
    try:
        reviews.release_partner_phase(clinic_of(request), me_of(request).actor, treatment_id, form.wish)
    except (InvalidInput, Refused) as wrong:
        return _release(request, treatment_id, filled(form, wrong, {"wish": "What the patient said"}), 422)
    return go_to(f"/treatments/{treatment_id}", "event-partner-released")


def _ask_if_unlikely(
    request: Request, treatment_id: UUID, form: BookForm | OutcomeForm, review: str | None, at: str, field: str
) -> None:
    """Ask once about a time that looks like a slip: raises `Unlikely` unless somebody said that this one is right."""
    if form.sure == "yes" and form.asked == at:
        return
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        doubts = reviews.doubts_about(session, clinic, treatment_id, review, at, field)
    if doubts:
        raise Unlikely(at, f"{field}: look once more: {' and '.join(doubts)}. If it is right, say so below")


def _book(request: Request, treatment_id: UUID, form: Filled, status: int = 200) -> Response:
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    with clinic.store.show() as session:
        treatment = treatments.get(session, treatment_id)
        head = head_of(session, treatment, clinic, say)
        rows = stored_plans.list_reviews(session, [treatments.get_plan(session, treatment_id).id])
    open_rows = [row for row in rows if row.status is not ReviewStatus.COMPLETED]
    options = [
        (
            row.key,
            f"{review_name(row.key)} review, "
            + (f"booked for {say.when(row.visit_at)}" if row.visit_at else f"due {say.on(row.due_on)}"),
        )
        for row in open_rows
    ]
    return about(request, "treatment/book.html", status, head, form=form, options=options)


def _outcome(request: Request, treatment_id: UUID, review: str, form: Filled, status: int = 200) -> Response:
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        treatment = treatments.get(session, treatment_id)
        say = Say(clinic, clinic.clock.now())
        head = head_of(session, treatment, clinic, say)
        protocol = signing.protocol_of(session, clinic, treatment)
        events_so_far = stored_plans.list_events(session, [treatments.get_plan(session, treatment_id).id])
        content = stored_treatments.get_content(session, treatment_id)
        trend = trend_of(content.fields, content.treated_local, events_so_far, say)
        answered = answered_before(review, events_so_far, say)
    if review not in {rule.key for rule in protocol.reviews}:
        raise NotFound(f"there is no review {review}")
    phases = {step.phase for step in protocol.steps}
    following = _next(request, treatment_id, review)
    return about(
        request,
        "treatment/outcome.html",
        status,
        head,
        form=form,
        review=review,
        review_name=review_name(review),
        situations=SITUATIONS,
        trend=trend,
        answered=answered,
        outcomes=[("", "Choose …"), *((word, _OUTCOME_WORDS[word]) for word in OUTCOMES)],
        has_solo=Phase.SOLO in phases,
        has_partner=Phase.PARTNER in phases,
        next_name=review_name(following) if following else None,
    )


def _release(request: Request, treatment_id: UUID, form: Filled, status: int = 200) -> Response:
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        treatment = treatments.get(session, treatment_id)
        head = head_of(session, treatment, clinic, Say(clinic, clinic.clock.now()))
    return about(request, "treatment/release.html", status, head, form=form)


def _next(request: Request, treatment_id: UUID, review: str) -> str | None:
    """The review after this one that has not taken place."""
    with clinic_of(request).store.show() as session:
        rows = stored_plans.list_reviews(session, [treatments.get_plan(session, treatment_id).id])
    place = next((row.place for row in rows if row.key == review), 0)
    later = [row for row in rows if row.place > place and row.status is not ReviewStatus.COMPLETED]
    return min(later, key=lambda row: row.place).key if later else None
