"""Every page, found wrong or right, is HTML as the standard has it: held by the Nu HTML checker."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Awaitable, Iterator
from pathlib import Path

import httpx
import pytest

from db.states import Role
from tests.conftest import opened
from tests.door_world import HALF_IN, NOBODY, World, make_world
from tests.pages.hard_day import make_hard
from web.app import ROUTES
from web.doors import Open

EVERYTHING = "everything"
VNU = Path(os.environ.get("AFTERCARE_TEST_VNU", "vnu.jar"))
COMERS = (EVERYTHING, HALF_IN, NOBODY)
PATHS = [route.path for route in ROUTES if route.method == "GET"]
AROUND_A_PART = '<!doctype html><html lang="en"><title>A part</title><h1>A page</h1><form id="acts"></form>{}'
FOR_MAIL_READERS = "CSS: “mso-"  # properties that one of them obeys
NO_CHECKER = "no Nu HTML checker: set AFTERCARE_TEST_VNU to a vnu.jar and install Java"


@pytest.fixture(scope="module")
def hard(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The worst day of a clinic, with a person who has every right."""
    folder = tmp_path_factory.mktemp("markup")
    (folder / "aftercare.db").write_bytes(sqlite_template.read_bytes())
    with opened(f"sqlite:///{folder / 'aftercare.db'}") as engine:
        world = make_world(engine, folder / "clinic")
        world.people[EVERYTHING] = world.staffed.hire(EVERYTHING, *Role)
        world.people[HALF_IN] = world.staffed.hire("coded", Role.CLINICIAN, totp=True)  # asked for her code
        make_hard(world)
        yield world


@pytest.mark.long
def test_every_page_is_html_as_the_standard_has_it(hard: World, tmp_path: Path) -> None:
    if not VNU.is_file() or shutil.which("java") is None:
        pytest.skip(NO_CHECKER)
    names = asyncio.run(write_pages(hard, tmp_path))
    missing = [path for path in PATHS if not {f"GET {path} {who}" for who in COMERS} & names]
    no_pages = {"/health", "/metrics", "/static/{digest}/{name}", "/", "/import/columns", "/import/check"}
    assert set(missing) == no_pages
    wrong = checked(tmp_path)
    assert not wrong, "\n".join(wrong)


async def write_pages(world: World, folder: Path) -> set[str]:
    """Write every answer that a browser shows as a page into a folder, and say which there were."""
    names = set()
    for name, coming in asked(world):
        answer = await coming
        if "text/html" in answer.headers.get("content-type", "") and answer.text:
            part = not answer.text.lstrip().lower().startswith("<!doctype")
            text = AROUND_A_PART.format(answer.text) if part else answer.text
            (folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.html").write_text(text, encoding="utf-8")
            names.add(name)
    return names


def checked(folder: Path) -> list[str]:
    """What the checker finds wrong, each thing once: the first page with it, the words, the place."""
    run = subprocess.run(
        ["java", "-Xss2m", "-jar", str(VNU), "--format", "json", "--skip-non-html", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[tuple[str, str], str] = {}
    for message in json.loads(run.stderr)["messages"]:
        told = message["type"] == "error" or message.get("subType") == "warning"
        if told and not message["message"].startswith(FOR_MAIL_READERS):
            place = " ".join(message.get("extract", "").split())[:160]
            found.setdefault((message["message"], place), Path(message["url"]).name)
    return [f"{name}: {words} {place}" for (words, place), name in found.items()]


def asked(world: World) -> Iterator[tuple[str, Awaitable[httpx.Response]]]:
    """Every route asked by who may do everything and by nobody; every form sent empty."""
    for who in COMERS:
        for route in ROUTES:
            if route.permission is not Open.ANYONE and route.path != "/sign-out":
                browser, path = world.come_in(who), world.path(route, who)
                answer = browser.get(path) if route.method == "GET" else browser.post(path)
                yield f"{route.method} {route.path} {who}", answer
    yield "nothing there", world.come_in(EVERYTHING).get("/nothing-there")
