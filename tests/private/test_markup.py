"""Every page of a patient is HTML as the standard has it: held by the Nu HTML checker, as staff's pages are."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.conftest import opened
from tests.pages.test_markup import NO_CHECKER, VNU, checked
from tests.private.gallery import PAGES, HerWorld
from tests.private_parts import PUBLIC, Client


class Program:
    """A program as the gallery's hands."""

    def __init__(self, world: HerWorld) -> None:
        self._client = Client(world.app, "127.0.0.1")
        self.answer: httpx.Response | None = None

    def open(self, path: str) -> None:
        """Follow a link."""
        self.answer = self._client.get(path)

    def send(self, path: str, fields: Mapping[str, str]) -> None:
        """Send a form."""
        self.answer = self._client.post(path, data=fields, headers={"Origin": PUBLIC})


@pytest.mark.long
def test_every_page_is_html_as_the_standard_has_it(sqlite_template: Path, tmp_path: Path) -> None:
    if not VNU.is_file() or shutil.which("java") is None:
        pytest.skip(NO_CHECKER)
    (tmp_path / "aftercare.db").write_bytes(sqlite_template.read_bytes())
    with opened(f"sqlite:///{tmp_path / 'aftercare.db'}") as engine:
        write_pages(HerWorld(engine, tmp_path / "clinic"), tmp_path / "pages")
    wrong = checked(tmp_path / "pages")
    assert not wrong, "\n".join(wrong)


def write_pages(world: HerWorld, folder: Path) -> None:
    """Write every page of the gallery, with the status it has to have, into a folder."""
    folder.mkdir()
    for name in PAGES:
        program = Program(world)
        status = world.come(name, program)
        assert program.answer is not None
        assert program.answer.status_code == status, name
        (folder / f"{name.replace(' ', '-')}.html").write_text(program.answer.text, encoding="utf-8")
