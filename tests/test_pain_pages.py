"""Pain as staff see it: what the patient answered before a review, the trend against before, and the plot of all."""

import pytest

from db.states import EventKind
from scheduler import answers
from scheduler.answers import CheckIn, Questions
from tests.clinic import Desk
from tests.her_page import AT_HOME, opening
from tests.page_parts import AtWork, seen
from tests.people import AMINA
from web.pain import SITUATIONS

K = EventKind
BASELINE = '[[field]]\nkey = "pain_on_touch"\nlabel = "Pain before, on touch"\ntype = "number"\n\n[[review]]'


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    sqlite_desk.write_protocol(AT_HOME.replace("[[review]]", BASELINE, 1))
    sqlite_desk.approve_unseen()
    return AtWork(sqlite_desk)


async def test_a_review_shows_what_the_patient_answered_beside_the_fields_and_enters_nothing(work: AtWork) -> None:
    desk = work.desk
    treatment_id = desk.treat(desk.enter(AMINA), fields={"pain_on_touch": "8"}).treatment_id
    form = f"/treatments/{treatment_id}/reviews/two-week"
    told = await seen(work.dana, form)
    assert "Pain so far, 0 to 10" in told
    assert "answered before this review" not in told
    desk.tick(days=12)
    hers = opening(desk, treatment_id)
    answers.answer_questions(desk.clinic, hers, "two-week", Questions({"pain_at_rest": "1"}))
    desk.tick()
    typed = Questions({"pain_at_rest": "3", "pain_on_touch": "5"}, ("leak",), "May I <swim>?")
    answers.answer_questions(desk.clinic, hers, "two-week", typed)
    answer = await work.dana.get(form)
    told = await seen(work.dana, form)
    for part in (
        "Amina answered before this review, today",
        "Noticed leak Questions May I <swim>?",
        "At rest Amina answered 3",
        "On touch Amina answered 5",
        "Situation Before, Monday 23 November On touch 8",
    ):
        assert part in told, part
    for name in ("pain_at_rest", "pain_on_touch"):
        assert f'name="pain.{name}" inputmode="numeric" value=""' in answer.text
    assert "Amina answered 1" not in told
    assert "Amina answered" not in await seen(work.dana, f"/treatments/{treatment_id}/reviews/six-week")


async def test_the_trend_sets_each_review_beside_what_was_before(work: AtWork) -> None:
    desk = work.desk
    treatment_id = desk.treat(desk.enter(AMINA), fields={"pain_on_touch": "8"}).treatment_id
    desk.tick(days=14)
    desk.event(treatment_id, K.REVIEW_COMPLETED, review="two-week", fields={"pain_at_rest": "2", "pain_on_touch": "4"})
    told = await seen(work.dana, f"/treatments/{treatment_id}/reviews/six-week")
    assert "Before, Monday 23 November two-week, today At rest not asked 2 On touch 8 4" in told


async def test_what_the_patient_told_is_in_the_plot_with_reviews_and_the_record(work: AtWork) -> None:
    desk = work.desk
    amina = desk.enter(AMINA)
    treatment_id = desk.treat(amina, fields={"pain_on_touch": "8"}).treatment_id
    desk.tick(days=3)
    answers.check_in(desk.clinic, opening(desk, treatment_id), CheckIn("done", "6"))
    desk.tick(days=9)
    answers.answer_questions(desk.clinic, opening(desk, treatment_id), "two-week", Questions({"pain_at_rest": "3"}))
    page = (await work.dana.get(f"/patients/{amina}")).text
    assert (
        "Pain from 0 to 10 over time: 23 November 2026: 8 on touch; 26 November 2026: 6 told by the patient; "
        "5 December 2026: 3 at rest, told by the patient"
    ) in page
    assert "Pain, 0 to 10" not in (await work.rosa.get(f"/patients/{amina}")).text


def test_reviews_and_the_patients_questions_are_about_the_same_situations() -> None:
    assert tuple(key for key, _ in SITUATIONS) == answers.SITUATIONS
