"""Approving on the screen after reading all of it, by a second person; then moving running plans, or keeping them."""

import html
import re
import threading
from dataclasses import replace
from uuid import UUID

import pytest

from db.states import Role
from scheduler import approvals, care_plans, protocol_edits, replanning, text_edits
from tests.clinic import COURSE, STAFF, Desk
from tests.people import AMINA, BEATRIX
from tests.staffed import Browser, Staffed, kept, place
from tests.test_protocol_pages import words
from tests.test_screen_versions import BODY, DANA, DRAFT, LATER, newest, shelf, text
from tests.test_second_person import write_course, write_text
from tests.test_version_moves import approve_second, plan_of
from web import long_work

APPROVE = "/protocols/course/approve"
TEXT = "/texts/after_visit/en/general/approve"
MOVE = "/protocols/course/move"


@pytest.fixture
def staffed(sqlite_desk: Desk) -> Staffed:
    """The clinic with everything approved, and its pages."""
    return Staffed(sqlite_desk.clinic)


@pytest.fixture
def dana(staffed: Staffed) -> Browser:
    """A clinician at work."""
    return staffed.at_work("dana", Role.CLINICIAN)


@pytest.fixture
def novak(staffed: Staffed) -> Browser:
    """A second one."""
    return staffed.at_work("novak", Role.CLINICIAN)


async def approve(browser: Browser, path: str, **more: str) -> str:
    """Press the button of an approval as it is shown; where that leads."""
    form = kept(await browser.get(path), path)
    return place(await browser.post(path, form | more))


async def test_everything_that_is_approved_is_shown(sqlite_desk: Desk, novak: Browser) -> None:
    write_course(sqlite_desk)
    write_text(sqlite_desk)
    approvals.set_text(sqlite_desk.clinic, STAFF, "course", "rest_rule", "Rest for two days.")
    page = (await novak.get(APPROVE)).text
    told = words(page)
    assert "Read and approve version 2" in told
    assert "compared with version 1, which is in force “After your visit” moves from 17:00 to 18:00." in told
    assert "Rest for two days. Until now: Rest for a day." in told
    assert "On the day of the treatment, 18:00: “After your visit”" in told
    assert "1 text is approved with it" in told
    assert "It was good to see you." in told
    assert "<ins>" in page
    digest = text(sqlite_desk).content_hash[:12]
    assert f'src="/texts/after_visit/en/general/html?version={digest}' in page
    assert await approve(novak, APPROVE) == "/protocols/course?done=approved"
    in_force = shelf(sqlite_desk).for_new_treatment("course")
    assert (in_force.protocol.version, in_force.approved_by) == (2, "Novak")
    assert in_force.texts == {"rest_rule": "Rest for two days."}
    assert "All of it is approved already." in (await novak.get(APPROVE)).text


async def test_what_is_read_is_what_this_protocol_sends(sqlite_desk: Desk, novak: Browser) -> None:
    sqlite_desk.write_protocol(COURSE.replace('"course"', '"a-course"'), "a-course")  # sends the same texts
    approvals.read_files(sqlite_desk.clinic, STAFF)
    seen = newest(sqlite_desk).content_hash
    toxin = LATER.replace("version = 1", 'version = 1\nurgent = "urgent_toxin"', 1)
    protocol_edits.save(sqlite_desk.clinic, DANA, "course", toxin, seen)
    body = f"{BODY}\n\n{{{{ text.rest_rule }}}}"
    draft = replace(DRAFT, body=body)
    text_edits.save(sqlite_desk.clinic, DANA, draft, text(sqlite_desk).content_hash)
    sqlite_desk.tick()
    approvals.set_text(sqlite_desk.clinic, STAFF, "course", "rest_rule", "Rest for two days.")
    page = (await novak.get(APPROVE)).text
    read = words(page.partition("approved with it")[2])
    assert "Rest for two days." in read
    assert "your eyelids droop" in read  # its own urgent signs, not those of another protocol that sends this text
    assert "you bleed heavily" not in read
    frames = [html.unescape(path) for path in re.findall(r'<iframe src="([^"]+)"', page)]
    assert frames
    for path in frames:
        mail = (await novak.get(path)).text
        assert ("Lider hängen" if "/de/" in path else "your eyelids droop") in mail, path
        assert "/after_visit/en/" not in path or "Rest for two days." in mail, path
    assert (await novak.get("/texts/after_visit/en/general/html?protocol=corse")).status_code == 404


async def test_whoever_wrote_it_is_told_that_another_has_to_approve(
    sqlite_desk: Desk, dana: Browser, novak: Browser
) -> None:
    seal, words_ = write_course(sqlite_desk), write_text(sqlite_desk)
    for path, sealed in ((APPROVE, seal), (TEXT, words_)):
        page = (await dana.get(path)).text
        assert "another clinician has to read and approve it" in page
        assert f'action="{path}"' not in page
        with sqlite_desk.unchanged():
            assert (await dana.post(path, {"seal": sealed, "reason": "I am sure"})).status_code == 409
    assert await approve(novak, TEXT) == "/texts/after_visit?language=en&level=general&done=text-approved"
    assert "It is approved already." in (await novak.get(TEXT)).text


async def test_the_only_clinician_says_why_and_it_is_marked_everywhere(sqlite_desk: Desk, dana: Browser) -> None:
    write_course(sqlite_desk)
    write_text(sqlite_desk)
    form = kept(await dana.get(APPROVE), APPROVE)
    with sqlite_desk.unchanged():
        wrong = await dana.post(APPROVE, form | {"reason": " "})
        assert wrong.status_code == 422
        assert "you wrote it yourself and there is no other clinician" in wrong.text
    await dana.post(APPROVE, form | {"reason": "Nobody else <here>."})
    marked = html.escape("by its writer alone: Nobody else <here>")
    for path in ("/protocols", "/protocols/course", "/texts", "/texts/after_visit"):
        assert marked in (await dana.get(path)).text, path


async def test_what_changed_meanwhile_is_not_approved(sqlite_desk: Desk, novak: Browser) -> None:
    write_course(sqlite_desk)
    form = kept(await novak.get(APPROVE), APPROVE)
    write_text(sqlite_desk)
    with sqlite_desk.unchanged():
        refused = await novak.post(APPROVE, form)
        assert refused.status_code == 409
        assert "It changed since it was shown; look at it again" in refused.text
        assert f'href="{APPROVE}"' in refused.text
        assert (await novak.post(TEXT, {"seal": "0" * 64})).status_code == 409
        assert (await novak.post("/protocols/corse/approve", form)).status_code == 404


async def test_what_fails_its_gates_has_no_button(sqlite_desk: Desk, novak: Browser) -> None:
    path = sqlite_desk.folder / "email" / "en"
    path.mkdir(parents=True, exist_ok=True)
    shown = shelf(sqlite_desk).latest[("after_visit", "en", "general")].source.text
    (path / "after_visit.md").write_text(shown.replace("A short note", "Your botox note"), encoding="utf-8")
    approvals.read_files(sqlite_desk.clinic, STAFF)
    for page in (APPROVE, TEXT):
        answer = (await novak.get(page)).text
        assert "It cannot be approved yet" in answer
        assert "botox" in answer
        assert f'action="{page}"' not in answer


async def test_approving_is_for_clinicians(staffed: Staffed) -> None:
    mara = staffed.at_work("mara", Role.MANAGER)
    for path in (APPROVE, TEXT, MOVE):
        assert (await mara.get(path)).status_code == 403


async def test_a_long_approval_shows_how_far_it_is(draft_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = draft_desk
    for person in (AMINA, BEATRIX):
        desk.treat(desk.enter(person))
    approvals.set_text(desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    novak = Staffed(desk.clinic).at_work("novak", Role.CLINICIAN)
    go_on, begun = threading.Event(), threading.Event()

    def slowly(*arguments: object) -> object:
        begun.set()
        assert go_on.wait(5)
        return care_plans.replan(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(long_work, "SOON", 0.0)
    monkeypatch.setattr(replanning, "replan", slowly)
    path = await approve(novak, APPROVE)
    assert path.startswith("/progress/")
    assert begun.wait(5)
    assert "Approving, and planning again" in (await novak.get(path)).text
    go_on.set()
    for _ in range(200):
        answer = await novak.get(path)
        if answer.status_code == 303:
            break
        threading.Event().wait(0.02)
    assert place(answer) == "/protocols/course?done=approved"
    assert desk.stands("after-visit") == "scheduled"
    desk.nothing_left()


# moving plans


async def test_after_approval_the_running_plans_are_shown_and_kept_or_moved(
    sqlite_desk: Desk, dana: Browser, novak: Browser
) -> None:
    first, second = [sqlite_desk.treat(sqlite_desk.enter(person)).treatment_id for person in (AMINA, BEATRIX)]
    write_course(sqlite_desk)
    assert await approve(novak, APPROVE) == f"{MOVE}?done=approved"
    page = (await novak.get(MOVE)).text
    told = words(page)
    assert "2 plans run on an earlier version, with 4 unsent messages." in told
    assert "“After your visit”: today 17:00 becomes today 18:00" in told
    assert "2 running plans follow earlier versions" in words((await novak.get("/protocols/course")).text)
    assert sqlite_desk.audit("list.viewed")[-1]["subject_id"] == "course"
    form = kept(await novak.get(MOVE), MOVE)
    with sqlite_desk.unchanged():
        nothing = await novak.post(MOVE, form | {"which": "chosen"})
        assert nothing.status_code == 409
        assert "Choose at least one plan" in nothing.text
    chosen = form | {"which": "chosen", "plans": [str(plan_of(sqlite_desk, first).id)]}
    assert place(await novak.post(MOVE, chosen)) == "/protocols/course?done=plans-moved"
    versions = {treatment: plan_of(sqlite_desk, treatment).protocol_version_id for treatment in (first, second)}
    assert versions[first] == newest(sqlite_desk).version_id != versions[second]
    assert place(await novak.post(MOVE, chosen)) == "/protocols/course?done=plans-moved-some"
    await novak.post(MOVE, form | {"which": "all"})
    assert plan_of(sqlite_desk, second).protocol_version_id == newest(sqlite_desk).version_id
    assert "No running plan follows an earlier version." in (await novak.get(MOVE)).text
    sqlite_desk.nothing_left()


async def test_another_version_approved_meanwhile_is_told(sqlite_desk: Desk, novak: Browser) -> None:
    sqlite_desk.treat(sqlite_desk.enter())
    target: UUID = approve_second(sqlite_desk)
    form = kept(await novak.get(MOVE), MOVE)
    assert form["target"] == str(target)
    write_course(sqlite_desk)
    await approve(novak, APPROVE)
    ended = await novak.get(place(await novak.post(MOVE, form | {"which": "all"})))
    assert "Another version was approved since this was shown" in ended.text
    assert re.search(rf'href="{MOVE}"', ended.text)
    assert (await novak.post(MOVE, {"target": "none", "which": "all"})).status_code == 404
