"""Attacks on the doors of the patients' pages: what changes nothing, what opens nothing, what nobody can tell apart.

The routes come from `web.private.app.ROUTES`: a new page is held to this from its first day.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import httpx
import pytest

from db.states import EventKind, StopReason
from scheduler import merging, private_page, treatments
from scheduler.errors import Refused
from tests.clinic import STAFF, Desk, dump
from tests.people import AMINA, BEATRIX
from tests.private_parts import CODE, PUBLIC, TOXIN, Phone, choose_code, kinds, send_all
from web.private import doors
from web.private.app import ROUTES, ByName
from web.private.doors import Needs, PrivateRoute

K = EventKind
READS: Final = [route for route in ROUTES if route.method == "GET"]
FORMS: Final = [route for route in ROUTES if route.method == "POST"]
WITH_LINK: Final = [route for route in ROUTES if route.needs in (Needs.LINK, Needs.CODE)]
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


def named(route: PrivateRoute) -> str:
    """A route as tests are named."""
    return f"{route.method} {route.path}"


def unknown(token: str) -> str:
    """A token that was never given out, made like one that was."""
    return token[0] + token[:0:-1]


def path_of(route: PrivateRoute, page: str, stop: str = "") -> str:
    """A real path of the route."""
    token = stop if route.needs is Needs.STOP_LINK else page
    return route.path.format(token=token, digest="0", name="page.css")


@pytest.fixture
def at_work(desk: Desk, treatment_id: UUID, token: str) -> Desk:
    """There is something on every page."""
    desk.event(treatment_id, K.SOLO_STARTED)
    desk.event(treatment_id, K.REVIEW_BOOKED, "2026-11-28T14:00", fields={"place": "Room 2"})
    return desk


def test_reading_any_page_any_way_changes_nothing(at_work: Desk, token: str) -> None:
    desk = at_work
    desk.change(desk.enter(BEATRIX), level="general")
    phone = Phone(desk.clinic)
    phone.enter(token)
    before = dump(desk.store)
    for route in READS:
        for purpose in ({}, {"Sec-Purpose": "prefetch"}, {"X-Moz": "prefetch"}, {"Purpose": "preview"}):
            for query in ("", "?said=stopped&asked=yes&answer=done&topic=all"):
                answer = phone.client.send("GET", path_of(route, token, unknown(token)) + query, purpose, follow=False)
                head = phone.client.send("HEAD", path_of(route, token, unknown(token)) + query, purpose, follow=False)
                assert (head.status_code, head.content) == (answer.status_code, b"")
                assert answer.status_code == (404 if route.needs is Needs.STOP_LINK else 200), route
    assert dump(desk.store) == before


def test_other_methods_do_nothing_and_tell_nothing(at_work: Desk, token: str) -> None:
    phone = Phone(at_work.clinic)
    phone.enter(token)
    before = dump(at_work.store)
    nothing = phone.client.get("/nothing").text
    wrong = [(method, route) for route in ROUTES for method in ("OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "MOVE")]
    wrong += [("GET", route) for route in FORMS if route.path not in {read.path for read in READS}]
    wrong += [("POST", route) for route in READS if route.path not in {form.path for form in FORMS}]
    for method, route in wrong:
        answer = phone.client.send(method, path_of(route, token, unknown(token)), {"Origin": PUBLIC}, follow=False)
        assert (answer.status_code, answer.text) == (404, nothing), (method, route)
        assert "allow" not in answer.headers
    assert dump(at_work.store) == before


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": PUBLIC, "Sec-Fetch-Site": "cross-site"},
        {"Origin": PUBLIC + ".elsewhere.example"},
        {},  # a browser with a cookie always says something
    ],
)
def test_a_form_from_another_site_changes_nothing(at_work: Desk, token: str, sent: dict[str, str]) -> None:
    phone = Phone(at_work.clinic)
    phone.enter(token)
    before = dump(at_work.store)
    for route in FORMS:
        if route.needs is not Needs.STOP_LINK:
            answer = phone.client.send("POST", path_of(route, token), sent, follow=False, data={"code": CODE})
            assert answer.status_code == 403, route
    assert dump(at_work.store) == before


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},  # as browsers do it: our pages send no referrer
        {"Origin": "null"},  # an older one
        {"Origin": PUBLIC, "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_the_forms_of_her_page_are_taken_as_browsers_send_them(
    sqlite_page: tuple[Desk, str], sent: dict[str, str]
) -> None:
    desk, token = sqlite_page
    phone = Phone(desk.clinic)
    phone.open(token)
    answer = phone.client.post(f"/l/{token}/code", sent, data={"code": CODE})
    assert "Rest for a day" in answer.text
    phone.client.post(f"/l/{token}/answer", sent, data={"answer": "done"})
    assert kinds(desk) == [K.CHECKED_IN]


@pytest.fixture
def sqlite_page(desk: Desk, token: str) -> tuple[Desk, str]:
    """A page, for what does not depend on the kind of database."""
    return desk, token


def shown(answer: httpx.Response) -> tuple[Any, ...]:
    """All that whoever asked can tell one answer from another by."""
    return answer.status_code, answer.content, sorted(answer.headers.multi_items())


ENDS: Final[dict[str, Callable[[Desk, UUID, UUID], object]]] = {
    "too old": lambda desk, patient, treatment: desk.tick(days=61),
    "revoked": lambda desk, patient, treatment: private_page.revoke_links(desk.clinic, STAFF, patient),
    "another address": lambda desk, patient, treatment: desk.change(patient, email="another@example.org"),
    "no address": lambda desk, patient, treatment: desk.change(patient, email=""),
    "unsafe": lambda desk, patient, treatment: desk.stop(patient, StopReason.UNSAFE),
    "deceased": lambda desk, patient, treatment: desk.stop(patient, StopReason.DECEASED),
    "left": lambda desk, patient, treatment: desk.stop(patient, StopReason.LEFT),
    "treatment cancelled": lambda desk, patient, treatment: treatments.cancel(
        desk.clinic, STAFF, treatment, "Entered twice."
    ),
    "treatment of another": lambda desk, patient, treatment: treatments.reassign(
        desk.clinic, STAFF, treatment, desk.enter(BEATRIX), "Wrong patient chosen."
    ),
    "merged": lambda desk, patient, treatment: merging.merge(
        desk.clinic, STAFF, patient, desk.enter(BEATRIX), "The same person."
    ),
}


@pytest.mark.sweep(0.3)
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.replace(" ", "-"))
def test_a_link_that_has_ended_opens_nothing_and_looks_like_one_that_never_was(
    desk: Desk, patient_id: UUID, treatment_id: UUID, token: str, end: str
) -> None:
    phone, stranger = Phone(desk.clinic), Phone(desk.clinic)
    phone.enter(token)
    open_still = private_page.open_link(desk.clinic, token)
    ENDS[end](desk, patient_id, treatment_id)
    desk.tick()
    before = dump(desk.store)
    for route in WITH_LINK:
        known = phone.client.send(route.method, path_of(route, token), {"Origin": PUBLIC}, follow=False)
        never = stranger.client.send(route.method, path_of(route, unknown(token)), {"Origin": PUBLIC}, follow=False)
        assert shown(known) == shown(never), route
        assert known.status_code == 404
        desk.tick(minutes=1)
    assert dump(desk.store) == before
    assert open_still is not None
    with pytest.raises(Refused), desk.store.write("patient", desk.clock.now()) as session:
        private_page.lock_opening(session, desk.clinic, open_still)


def test_a_link_serves_no_other_purpose(desk: Desk, patient_id: UUID, treatment_id: UUID) -> None:
    desk.change(patient_id, level="general")
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    phone = Phone(desk.clinic)
    before = dump(desk.store)
    for route in ROUTES:
        if route.needs is not Needs.NOTHING:
            wrong = path_of(route, sent.stop, sent.page)
            answer = phone.client.send(route.method, wrong, {"Origin": PUBLIC}, follow=False)
            assert answer.status_code in (404, 429), route
            desk.tick(minutes=1)
    assert dump(desk.store) == before


def test_a_question_about_an_address_opens_nothing_else(desk: Desk) -> None:
    patient = desk.enter(AMINA, confirmed=None, level="notice")
    choose_code(desk.clinic, patient)
    desk.treat(patient, protocol=TOXIN)
    desk.tick(minutes=20)
    (sent,) = send_all(desk)
    phone = Phone(desk.clinic)
    before = dump(desk.store)
    for route in WITH_LINK:
        if not route.unconfirmed:
            fields = {"code": CODE, "words": "Not her."} if route.method == "POST" else None
            answer = phone.client.send(route.method, path_of(route, sent.page), {"Origin": PUBLIC}, data=fields)
            assert answer.status_code == 404, route
    assert dump(desk.store) == before
    assert {route.path for route in ROUTES if route.unconfirmed} == {"/l/{token}", "/l/{token}/yes", "/l/{token}/no"}


def test_the_cookie_of_a_page_opens_no_other(desk: Desk, patient_id: UUID, treatment_id: UUID) -> None:
    choose_code(desk.clinic, patient_id)
    desk.event(treatment_id, K.SOLO_STARTED)
    other = desk.enter(BEATRIX, level="notice")
    choose_code(desk.clinic, other)
    desk.treat(other, protocol=TOXIN)
    desk.tick(hours=8)
    pages = {sent.letter.email: sent.page for sent in send_all(desk)}
    mine, hers = pages[AMINA.email], pages[BEATRIX.email]
    phone = Phone(desk.clinic)
    phone.enter(mine)
    (cookie,) = [one for one in phone.client.cookies.jar if one.name == doors.COOKIE]
    assert cookie.path == f"/l/{mine}"
    given = cookie.value or ""
    until = int(given.partition(".")[0])
    digest = given.partition(".")[2]
    forged = [given, f"{until + 600}.{digest}", f"{until}.{'0' * 64}", f"{until}.", f"{until}", "", "é", f"+{given}"]
    forged += [f"{until}.{digest[:-1]}", f"{'9' * 12}.{digest}", f"{'9' * 5_000}.{digest}", f"-1.{digest}"]
    for value in forged:
        answer = Phone(desk.clinic).client.send("GET", f"/l/{hers}", {"Cookie": f"page={value}".encode()})  # type: ignore[dict-item]
        assert answer.status_code == 200
        assert "Please give your code" in answer.text
    for value in forged[1:]:
        answer = Phone(desk.clinic).client.send("GET", f"/l/{mine}", {"Cookie": f"page={value}".encode()})  # type: ignore[dict-item]
        assert "Please give your code" in answer.text
    again = Phone(desk.clinic).client.send("GET", f"/l/{mine}", {"Cookie": f"page={given}"})
    assert "Rest for a day" in again.text
    choose_code(desk.clinic, patient_id, "another word")
    again = Phone(desk.clinic).client.send("GET", f"/l/{mine}", {"Cookie": f"page={given}"})
    assert "Please give your code" in again.text


STAFFS, PUBLIC_ONE = "staff", "patients"


@pytest.mark.parametrize(
    ("headers", "answers"),
    [
        ({"host": "pages.example.org"}, PUBLIC_ONE),
        ({"host": "PAGES.Example.org"}, PUBLIC_ONE),
        ({"host": "pages.example.org."}, PUBLIC_ONE),
        ({"host": "pages.example.org:443"}, PUBLIC_ONE),
        ({"host": "pages.example.org:8000"}, PUBLIC_ONE),
        ({"host": "pages.example.org.:"}, PUBLIC_ONE),
        ({"host": " pages.example.org "}, PUBLIC_ONE),
        ({"host": "x@pages.example.org"}, PUBLIC_ONE),
        ({"host": "pages.example.org:99999999"}, PUBLIC_ONE),
        ({"host": "127.0.0.1:8000", "x-forwarded-host": "pages.example.org"}, PUBLIC_ONE),
        ({"host": "127.0.0.1:8000", "x-forwarded-host": "evil.example, pages.example.org"}, PUBLIC_ONE),
        ({"host": "127.0.0.1:8000"}, STAFFS),
        ({"host": "staff.example.org", "x-forwarded-host": "staff.example.org"}, STAFFS),
        ({"host": "notpages.example.org"}, STAFFS),
        ({"host": "pages.example.org.evil.example"}, STAFFS),
        ({"host": ""}, STAFFS),
        ({}, STAFFS),
    ],
)
async def test_the_public_name_leads_to_the_patients_app_however_it_is_written(
    headers: dict[str, str], answers: str
) -> None:
    told = []

    def app(name: str) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            told.append(name)

        return answer

    by_name: Any = ByName(app(STAFFS), app(PUBLIC_ONE), "https://pages.example.org")
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await by_name({"type": "http", "headers": raw}, None, None)
    assert told == [answers]


@pytest.mark.sweep(0.3)
@pytest.mark.parametrize(
    "path",
    [
        "/l/%2e%2e/today",
        "/l/..%2f..%2ftoday",
        "/l/{token}%2f..%2fchoices",
        "/l/{token}%00",
        "/l/{token}%0d%0aSet-Cookie:%20a=b",
        "/l/{token}/",
        "/l//{token}",
        "//l/{token}",
        "/L/{token}",
        "/l/{token}%20",
        "/l/{token};x",
        "/l/%C0%AE%C0%AE/",
        "/l/" + "a" * 9_000,
        "/u/" + "0" * 32 + "?next=//evil.example",
        "/static/../../service.py",
        "/static/0/%2e%2e%2fframe.html",
        "/static/0/aftercare.js",
        "/static/0/htmx.js",
    ],
)
def test_no_trick_of_a_path_opens_anything(sqlite_page: tuple[Desk, str], path: str) -> None:
    desk, token = sqlite_page
    phone = Phone(desk.clinic)
    phone.enter(token)
    answer = phone.client.send("GET", path.replace("{token}", token), follow=False)
    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers
    assert "This page has ended" in answer.text


def test_a_body_has_to_be_a_small_form(sqlite_page: tuple[Desk, str]) -> None:
    desk, token = sqlite_page
    phone = Phone(desk.clinic)
    phone.enter(token)
    before = dump(desk.store)
    for headers, content, status in (
        (FORM, b"answer=done&words=" + b"a" * 20_000, 413),
        ({"Content-Type": "application/json"}, b'{"answer": "done"}', 415),
        (FORM, b"answer=done&answer=call", 400),
        (FORM, b"answer=done&more=1", 400),
        (FORM, b"answer=done&pain=11", 422),
        (FORM, b"answer=done&words=" + b"a" * 501, 422),
        ({"Content-Type": "multipart/form-data"}, b"answer=done", 400),
    ):
        answer = phone.client.post(f"/l/{token}/answer", {**headers, "Origin": PUBLIC}, content=content)
        assert answer.status_code == status, content[:40]
    assert dump(desk.store) == before


@pytest.mark.parametrize("body", [b"", b"List-Unsubscribe=One-Click", b"anything=else&topic=all", b"%00=%ff"])
def test_one_click_stops_its_topic_whatever_else_is_sent(desk: Desk, patient_id: UUID, body: bytes) -> None:
    desk.change(patient_id, level="general")
    desk.treat(patient_id)
    desk.tick(hours=8)
    (sent,) = send_all(desk)
    phone = Phone(desk.clinic)
    answers = [phone.client.send("POST", f"/u/{sent.stop}", FORM, follow=False, content=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content


def test_whoever_has_the_mail_alone_cannot_use_up_what_she_may_send(sqlite_page: tuple[Desk, str]) -> None:
    desk, token = sqlite_page
    somebody, her = Phone(desk.clinic, "203.0.113.9"), Phone(desk.clinic)
    somebody.app = her.app
    somebody.client._app = her.app
    somebody.client.headers["X-Forwarded-Proto"] = "https"
    her.enter(token)
    sent = {"Sec-Fetch-Site": "same-origin"}
    codes = [
        somebody.client.post(f"/l/{token}/call", sent, data={"words": str(number)}).status_code for number in range(25)
    ]
    assert codes == [200] * 20 + [429] * 5
    assert kinds(desk).count(K.CALL_REQUESTED) == 20
    her.send(token, "/answer", answer="done")
    assert "We have your answer" in her.words
    desk.tick(minutes=1)
    assert somebody.client.post(f"/l/{token}/call", sent).status_code == 200


@pytest.mark.parametrize("path", ["/answer", "/call", "/time"])
def test_a_form_sent_twice_counts_once(at_work: Desk, treatment_id: UUID, token: str, path: str) -> None:
    phone = Phone(at_work.clinic)
    phone.enter(token)
    at_work.event(treatment_id, K.EXERCISE_SET, fields={"exercise": "own-touch"})
    phone.open(token)
    fields: dict[str, str] = {
        "/answer": {"answer": "not_yet", "pain": "8", "words": "Some words"},
        "/call": {"words": "Please ring."},
        "/time": {"review": "two-week", "answer": "other", "words": "Thursdays\nor Fridays"},
    }[path]
    phone.send(token, path, **fields)
    once = re.sub(r"said=\w+", "", phone.words), kinds(at_work)
    at_work.tick(seconds=1)
    before = {name: rows for name, rows in dump(at_work.store).items() if name in ("care_events", "raised_lines")}
    phone.send(token, path, **fields)
    after = {name: rows for name, rows in dump(at_work.store).items() if name in ("care_events", "raised_lines")}
    assert (re.sub(r"said=\w+", "", phone.words), kinds(at_work)) == once
    assert after == before


def test_the_guard_of_a_route_without_needs_refuses_to_start(desk: Desk) -> None:
    from web.private.app import NeedsMissing, make_private_app

    with pytest.raises(NeedsMissing):
        make_private_app(desk.clinic, [PrivateRoute("/l/{token}", "GET", None, lambda: None)])


def test_the_throttle_of_misses_ends_by_itself(sqlite_page: tuple[Desk, str]) -> None:
    desk, token = sqlite_page
    phone = Phone(desk.clinic)
    for _ in range(21):
        last = phone.open(unknown(token))
    assert last.status_code == 429
    assert int(last.headers["retry-after"]) <= 60
    desk.clock.advance(timedelta(seconds=61))
    assert phone.open(token).status_code == 200
