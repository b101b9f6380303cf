"""Reading protocol and text files into the record, and the shelf that stays right however it changes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select

from db import library as stored
from db.engine import Store
from db.follow_up import ProtocolVersion, TemplateVersion
from db.states import Approvable
from scheduler import approvals
from scheduler.errors import NotFound, Refused
from scheduler.library import Library, Shelf
from scheduler.settings import SHIPPED
from tests.clinic import COURSE, DOCTOR, STAFF, Desk


def shelf(desk: Desk) -> Shelf:
    """The library as stored."""
    with desk.store.read() as session:
        return desk.clinic.library.shelf(session)


def count(desk: Desk, table: type[ProtocolVersion] | type[TemplateVersion]) -> int:
    """How many rows there are."""
    with desk.store.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_files_are_read_once(draft_desk: Desk) -> None:
    assert approvals.read_files(draft_desk.clinic, STAFF) == []
    assert count(draft_desk, ProtocolVersion) == 1
    texts = count(draft_desk, TemplateVersion)
    assert texts > 20
    with draft_desk.unchanged():
        assert approvals.read_files(draft_desk.clinic, STAFF) == []
    assert [event["subject_id"] for event in draft_desk.audit("protocol.seen")] == ["course 1"]


@pytest.mark.both
def test_processes_that_read_the_same_new_files_at_once_store_them_once(desk: Desk) -> None:
    text = (SHIPPED / "email" / "en" / "after_visit.md").read_text(encoding="utf-8")
    texts = count(desk, TemplateVersion)
    for number in range(20):
        desk.write_text(f"new_{number}", text)
    desk.write_protocol(COURSE.replace("version = 1", "version = 2"))
    ready = Barrier(4)

    def read(_: int) -> list[str]:
        ready.wait(10)
        return approvals.read_files(desk.clinic, STAFF)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, range(4))) == [[]] * 4
    assert (count(desk, TemplateVersion), count(desk, ProtocolVersion)) == (texts + 20, 2)
    assert [event["subject_id"] for event in desk.audit("protocol.seen")].count("course 2") == 1


def test_line_ends_are_no_change(desk: Desk) -> None:
    (desk.folder / "protocols" / "course.toml").write_bytes(COURSE.replace("\n", "\r\n").encode())
    assert approvals.read_files(desk.clinic, STAFF) == []


def test_a_wrong_file_is_told_and_what_was_stored_stays(desk: Desk) -> None:
    desk.write_protocol(COURSE.replace('kind = "aftercare"', 'kind = "afterwards"', 1))
    desk.write_protocol('key = "other"\nversion = 1\n', key="other")
    problems = approvals.read_files(desk.clinic, STAFF)
    assert {problem.split(":")[0] for problem in problems} == {"course.toml", "other.toml"}
    found = shelf(desk)
    assert [shelved.protocol.key for shelved in found.protocols.values()] == ["course"]
    assert found.for_new_treatment("course").approved


def test_a_file_that_is_gone_leaves_its_version(desk: Desk) -> None:
    (desk.folder / "protocols" / "course.toml").unlink()
    assert approvals.read_files(desk.clinic, STAFF) == []
    desk.treat(desk.enter())
    assert desk.stands("after-visit") == "scheduled"


def test_an_unknown_protocol_is_not_found_and_the_nearest_is_named(desk: Desk) -> None:
    with pytest.raises(NotFound, match="did you mean course"):
        shelf(desk).for_new_treatment("coarse")
    with pytest.raises(NotFound, match="there are: course"):
        shelf(desk).for_new_treatment("xyz")
    empty = Shelf({}, {}, {}, frozenset(), "en")
    with pytest.raises(NotFound, match="there are: none"):
        empty.list_versions("course")


def test_a_new_treatment_takes_the_highest_approved_version(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    draft_desk.write_protocol(COURSE.replace("version = 1", "version = 2"))
    approvals.read_files(draft_desk.clinic, STAFF)
    assert shelf(draft_desk).for_new_treatment("course").protocol.version == 2  # all are drafts: the highest
    first = shelf(draft_desk).list_versions("course")[0]
    with draft_desk.store.write(STAFF, draft_desk.clock.now()) as session:
        stored.add_approval(session, Approvable.PROTOCOL, first.version_id, first.content_hash, {}, DOCTOR)
    assert shelf(draft_desk).for_new_treatment("course").protocol.version == 1


def test_only_the_newest_version_says_whether_a_protocol_is_retired(desk: Desk) -> None:
    retired = COURSE.replace('title = "A course"', 'title = "A course"\nstatus = "retired"')
    desk.write_protocol(retired)
    approvals.read_files(desk.clinic, STAFF)
    with pytest.raises(Refused, match="retired"):
        shelf(desk).for_new_treatment("course")
    desk.write_protocol(COURSE.replace("version = 1", "version = 2"))
    approvals.read_files(desk.clinic, STAFF)
    assert shelf(desk).for_new_treatment("course").protocol.version == 1


def test_a_retired_file_that_changes_more_than_that_is_refused(desk: Desk) -> None:
    changed = COURSE.replace('title = "A course"', 'title = "Another"\nstatus = "retired"')
    desk.write_protocol(changed)
    (problem,) = approvals.read_files(desk.clinic, STAFF)
    assert "raise the version" in problem
    assert shelf(desk).for_new_treatment("course").protocol.title == "A course"


# the shelf follows whatever happens to the tables


def test_a_change_in_the_same_instant_is_seen(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    draft_desk.write_protocol(COURSE.replace("A course", "Another course"))
    approvals.read_files(draft_desk.clinic, STAFF)  # the clock stands still
    assert [shelved.protocol.title for shelved in shelf(draft_desk).protocols.values()] == ["Another course"]


def test_what_another_process_changed_is_seen_even_with_the_clock_set_back(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    assert shelf(draft_desk).protocols
    other = Library((draft_desk.folder / "protocols",), (draft_desk.folder, SHIPPED), "en")
    draft_desk.write_protocol(COURSE.replace("A course", "Another course"))
    earlier = draft_desk.clock.now().replace(year=2025)
    with draft_desk.store.write(STAFF, earlier) as session:
        other.read_files(session)
    assert [shelved.protocol.title for shelved in shelf(draft_desk).protocols.values()] == ["Another course"]


def test_what_was_rolled_back_was_never_on_the_shelf(draft_desk: Desk) -> None:
    class Stopped(Exception):
        pass

    def read_and_stop(store: Store) -> None:
        with store.write(STAFF, draft_desk.clock.now()) as session:
            draft_desk.clinic.library.read_files(session)
            assert draft_desk.clinic.library.shelf(session).protocols
            raise Stopped

    with pytest.raises(Stopped):
        read_and_stop(draft_desk.store)
    assert shelf(draft_desk).protocols == {}
    approvals.read_files(draft_desk.clinic, STAFF)
    (version_id,) = shelf(draft_desk).protocols
    with draft_desk.store.read() as session:
        assert session.scalars(select(ProtocolVersion.id)).all() == [version_id]


def test_an_unchanged_library_is_read_from_the_tables_once(desk: Desk) -> None:
    assert shelf(desk) is shelf(desk)


def test_a_text_file_that_goes_back_is_the_newest_again(desk: Desk, tmp_path: Path) -> None:
    first = '+++\nsubject = "Hello"\npreheader = "One"\n+++\nHello {{ patient.preferred_name }}.\n\nOne.\n'
    for text in (first, first.replace("One", "Two"), first):
        desk.write_text("after_visit", text)
        desk.tick()
        approvals.read_files(desk.clinic, STAFF)
    assert shelf(desk).latest[("after_visit", "en", "general")].source.text == first
    with desk.unchanged():
        approvals.read_files(desk.clinic, STAFF)
