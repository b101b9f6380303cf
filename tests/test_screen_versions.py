"""Protocols and texts written on the screen beside their files, on both databases: who wins, and when a file says why
it does not."""

from datetime import timedelta
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from db import library as stored
from db.follow_up import LibraryFile, TemplateVersion
from db.states import Approvable, Origin
from scheduler import approvals, protocol_edits, text_edits
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.library import Shelf, ShelvedProtocol, ShelvedText
from scheduler.message_source import Source
from scheduler.protocols import ProtocolInvalid
from scheduler.text_edits import TextDraft, draft_of, source_of
from tests.clinic import COURSE, DOCTOR, STAFF, Desk
from tests.people import BEATRIX

DANA = "staff:dana"
LATER = COURSE.replace('at = "17:00"', 'at = "18:00"')
BODY = """\
Hello {{ patient.preferred_name }}.

It was good to see you. Your care sheet has what you need for the next few days. Keep it safe. Read it again when you
have a quiet moment. You can call us about anything, big or small, on {{ clinic.phone }}."""
DRAFT = TextDraft("after_visit", "en", "general", "After your visit", "A short note from us.", BODY)


def shelf(desk: Desk) -> Shelf:
    """The library as stored."""
    with desk.store.read() as session:
        return desk.clinic.library.shelf(session)


def newest(desk: Desk) -> ShelvedProtocol:
    """The newest version of the course."""
    return shelf(desk).list_versions("course")[-1]


def text(desk: Desk) -> ShelvedText:
    """The newest content of the text after a visit."""
    return shelf(desk).latest[DRAFT.id]


def write(desk: Desk, source: str = LATER, actor: str = DANA) -> protocol_edits.SavedProtocol:
    """Save the course on the screen."""
    saved = protocol_edits.save(desk.clinic, actor, "course", source, newest(desk).content_hash)
    desk.tick()
    return saved


def start_again(desk: Desk) -> list[str]:
    """What a start of the program finds in the files."""
    desk.tick()
    return approvals.read_files(desk.clinic, "service")


# protocols


def test_an_approved_version_stays_and_its_change_is_the_next_one(desk: Desk) -> None:
    before = newest(desk)
    saved = write(desk)
    after = newest(desk)
    assert (saved.number, saved.changed, after.protocol.version) == (2, True, 2)
    assert (after.origin, after.written_by, after.approved) == (Origin.SCREEN, DANA, False)
    assert after.source == LATER.replace("version = 1", "version = 2")
    assert shelf(desk).get(before.version_id) == before
    assert shelf(desk).for_new_treatment("course") == before
    assert [event["subject_id"] for event in desk.audit("protocol.written")] == ["course 2"]


def test_a_draft_is_written_again_and_its_plans_follow(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    treatment_id = draft_desk.treat(draft_desk.enter()).treatment_id
    assert write(draft_desk).replanned == 1
    found = newest(draft_desk)
    assert (found.protocol.version, found.origin) == (1, Origin.SCREEN)
    assert draft_desk.row("after-visit", treatment_id=treatment_id).due_local == "2026-11-23T18:00:00"
    assert write(draft_desk, LATER.replace("18:00", "18:30"), "staff:rosa").number == 1
    assert newest(draft_desk).written_by == "staff:rosa"
    draft_desk.nothing_left()


def test_a_file_that_stands_still_never_undoes_what_was_written_on_the_screen(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    write(draft_desk)
    text_edits.save(draft_desk.clinic, DANA, DRAFT, text(draft_desk).content_hash)
    with draft_desk.unchanged():
        assert start_again(draft_desk) == []
    assert newest(draft_desk).source == LATER
    assert text(draft_desk).written_by == DANA


def test_a_file_that_changes_to_a_version_of_the_screen_says_so(desk: Desk) -> None:
    write(desk)
    for source, told in (
        (COURSE.replace("A course", "Another"), "version 2 was written on the screen; raise the version"),
        (COURSE.replace("version = 1", "version = 2"), "version 2 was written on the screen; raise the version"),
        (COURSE.replace('title = "A', 'status = "retired"\ntitle = "A'), "copy that version into the file"),
    ):
        desk.write_protocol(source)
        for _ in range(2):  # at every start, until it is mended
            (problem,) = start_again(desk)
            assert problem.startswith("course.toml: version 2 was written on the screen")
            assert told in problem
    desk.write_protocol(COURSE.replace("version = 1", "version = 3"))
    assert start_again(desk) == []
    assert (newest(desk).protocol.version, newest(desk).origin) == (3, Origin.FILE)


def test_a_file_with_the_very_text_of_the_screen_is_no_problem(draft_desk: Desk) -> None:
    approvals.read_files(draft_desk.clinic, STAFF)
    write(draft_desk)
    draft_desk.write_protocol(LATER)
    assert start_again(draft_desk) == []
    assert newest(draft_desk).origin is Origin.SCREEN


def test_a_record_from_before_files_were_remembered_is_not_disturbed(desk: Desk) -> None:
    saved = text_edits.save(desk.clinic, DANA, DRAFT, text(desk).content_hash)
    write(desk)
    with desk.store.write(STAFF, desk.clock.now()) as session:
        session.execute(delete(LibraryFile))
    before = shelf(desk)
    assert start_again(desk) == []
    assert shelf(desk) == before
    assert text(desk).version_id == saved.version_id
    with desk.unchanged():
        assert start_again(desk) == []


def test_saving_what_there_is_changes_nothing(desk: Desk) -> None:
    with desk.unchanged():
        assert write(desk, COURSE.replace("\n", "\r\n") + "\r\n\r\n").changed is False
    write(desk)
    with desk.unchanged():
        assert write(desk, LATER).changed is False


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (COURSE.replace('kind = "aftercare"', 'kind = "afterwards"', 1), "course.toml:26"),
        (COURSE.replace('key = "course"', 'key = "corse"'), "named after it"),
        (COURSE.replace('title = "A', 'status = "retired"\ntitle = "A'), "retired in its file, not on the screen"),
        ("not = [toml", "this is not TOML"),
        ("", "key is missing"),
    ],
)
def test_what_is_no_protocol_is_refused_with_its_findings(desk: Desk, source: str, told: str) -> None:
    with desk.unchanged(), pytest.raises(ProtocolInvalid, match=told):
        write(desk, source)


def test_a_retired_or_unknown_protocol_is_not_changed_here(desk: Desk) -> None:
    desk.write_protocol(COURSE.replace('title = "A', 'status = "retired"\ntitle = "A'))
    assert start_again(desk) == []
    with desk.unchanged():
        with pytest.raises(Refused, match="retired in its file"):
            write(desk)
        with pytest.raises(NotFound):
            protocol_edits.save(desk.clinic, DANA, "corse", COURSE, "")


def test_two_who_write_at_once_do_not_overwrite_each_other(desk: Desk) -> None:
    base, words = newest(desk).content_hash, text(desk).content_hash
    protocol_edits.save(desk.clinic, DANA, "course", LATER, base)
    text_edits.save(desk.clinic, DANA, DRAFT, words)
    with desk.unchanged():
        with pytest.raises(Refused, match="somebody saved another version of this protocol"):
            protocol_edits.save(desk.clinic, "staff:rosa", "course", COURSE, base)
        with pytest.raises(Refused, match="somebody saved another version of this text"):
            text_edits.save(desk.clinic, "staff:rosa", DRAFT, words)


def test_a_draft_that_is_being_approved_is_not_rewritten(postgres_desk: Desk) -> None:
    """Whoever comes second waits: what was approved stays what was shown, and the change is the next version."""
    desk, saved = postgres_desk, list[protocol_edits.SavedProtocol]()
    write(desk)
    shown, again = newest(desk), LATER.replace("18:00", "18:30")
    other = Thread(target=lambda: saved.append(write(desk, again)))
    with desk.store.write(STAFF, desk.clock.now()) as session:
        stored.lock_protocol(session, "course")
        other.start()
        other.join(0.3)
        stored.add_approval(session, Approvable.PROTOCOL, shown.version_id, shown.content_hash, {}, DOCTOR)
    other.join()
    assert saved[0].number == 3
    assert shelf(desk).get(shown.version_id).source == shown.source


def test_a_draft_that_is_being_rewritten_is_not_approved(postgres_desk: Desk) -> None:
    desk, refused = postgres_desk, list[str]()
    write(desk)
    shown, scope = newest(desk), approvals.scope_of(desk.clinic, "course")

    def approve() -> None:
        try:
            approvals.approve_protocol(desk.clinic, STAFF, scope, DOCTOR)
        except Refused as wrong:
            refused.append(str(wrong))

    other = Thread(target=approve)
    with desk.store.write(STAFF, desk.clock.now()) as session:
        (row,) = (row for row in stored.lock_protocol(session, "course") if row.id == shown.version_id)
        other.start()
        other.join(0.3)
        stored.rewrite_protocol_version(session, row, shown.source + "# more\n", "another")
    other.join()
    assert refused == ["the protocol or a text changed since it was shown; look at it again"]
    assert not newest(desk).approved


# texts


def test_a_text_written_on_the_screen_waits_for_approval_while_the_old_one_is_sent(desk: Desk) -> None:
    desk.treat(desk.enter())
    saved = text_edits.save(desk.clinic, DANA, DRAFT, text(desk).content_hash)
    found = text(desk)
    assert (found.version_id, found.origin, found.written_by) == (saved.version_id, Origin.SCREEN, DANA)
    assert shelf(desk).approved[DRAFT.id].version_id != saved.version_id
    assert draft_of(found.source) == DRAFT
    desk.tick()
    approvals.approve_texts(desk.clinic, STAFF, approvals.texts_to_approve(desk.clinic, "after_visit"), DOCTOR)
    assert shelf(desk).approved[DRAFT.id].version_id == saved.version_id
    assert [event["subject_id"] for event in desk.audit("template.written")] == [str(saved.version_id)]


def test_an_earlier_content_is_the_newest_again_with_its_own_writer(desk: Desk) -> None:
    first = text(desk)
    text_edits.save(desk.clinic, DANA, DRAFT, first.content_hash)
    again = text_edits.save(desk.clinic, DANA, draft_of(first.source), text(desk).content_hash)
    assert again.changed
    text_edits.save(desk.clinic, "staff:rosa", DRAFT, text(desk).content_hash)
    assert (text(desk).written_by, text(desk).source) == (DANA, source_of(DRAFT))
    with desk.store.read() as session:
        rows = session.query(TemplateVersion).filter_by(key="after_visit", language="en", level="general").all()
        assert len({row.seen_at for row in rows}) == len(rows)


def test_the_newest_is_the_last_written_even_with_the_clock_set_back(desk: Desk) -> None:
    desk.clock.jump(timedelta(days=-365))
    saved = text_edits.save(desk.clinic, DANA, DRAFT, text(desk).content_hash)
    assert text(desk).version_id == saved.version_id


def test_a_file_that_changes_later_takes_over_again(desk: Desk) -> None:
    text_edits.save(desk.clinic, DANA, DRAFT, text(desk).content_hash)
    desk.write_text("after_visit", source_of(DRAFT).text.replace("good to see", "lovely to see"))
    assert start_again(desk) == []
    assert (text(desk).origin, text(desk).written_by) == (Origin.FILE, None)


def test_a_new_text_can_be_named_by_a_protocol_at_once(desk: Desk) -> None:
    draft = TextDraft("a_new_one", "en", "general", DRAFT.subject, DRAFT.preheader, DRAFT.body)
    text_edits.save(desk.clinic, DANA, draft, None)
    assert write(desk, LATER.replace('"after_visit"', '"a_new_one"')).changed
    desk.write_protocol(COURSE.replace("version = 1", "version = 3").replace('"after_visit"', '"a_new_one"'))
    assert start_again(desk) == []
    with pytest.raises(Refused, match="there is a text of this name"):
        text_edits.save(desk.clinic, DANA, draft, None)
    with pytest.raises(NotFound):
        text_edits.save(desk.clinic, DANA, TextDraft("no_such", "en", "general", "a", "b", BODY), "0")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"key": "New Text"}, "key"),
        ({"key": "new"}, "key"),
        ({"language": "English"}, "language"),
        ({"level": "secret"}, "level"),
        ({"key": "urgent_new", "level": "full"}, "level"),
        ({"subject": ""}, "subject"),
        ({"subject": "{{ patient.preferred_nam }}"}, "subject"),
        ({"body": "Hello {{ patient.name }}."}, "body: line 1: unknown name"),
        ({"body": "Hello.\n\n<b>bold</b>"}, "body: line 3"),
        ({"body": "Hello.\n\n{% if x %}"}, "body: line 3"),
        ({"body": "- a list first"}, "body: line 1: the body begins with a greeting"),
        ({"body": ""}, "the body is empty"),
        ({"body": "x" * 20_001}, "body: write at most"),
    ],
)
def test_what_is_no_text_is_refused_by_its_field(sqlite_desk: Desk, change: dict[str, str], told: str) -> None:
    draft = TextDraft(**({name: getattr(DRAFT, name) for name in DRAFT.__slots__} | {"key": "a_new_one"} | change))
    with sqlite_desk.unchanged(), pytest.raises(InvalidInput, match=told):
        text_edits.save(sqlite_desk.clinic, DANA, draft, None)


def test_a_draft_that_could_not_be_approved_is_kept_all_the_same(sqlite_desk: Desk) -> None:
    draft = TextDraft(*DRAFT.id, DRAFT.subject, "After your botox", DRAFT.body)
    look = text_edits.look_at(sqlite_desk.clinic, shelf(sqlite_desk), draft)
    assert [(note.field, note.line, note.severity) for note in look.failing] == [("preheader", None, "fail")]
    assert text_edits.save(sqlite_desk.clinic, DANA, draft, text(sqlite_desk).content_hash).changed


def test_findings_are_told_by_the_line_that_was_typed(sqlite_desk: Desk) -> None:
    body = "\r\n\r\nHello {{ patient.preferred_name }}.\r\n\r\nYou should rest.\r\n"
    look = text_edits.look_at(sqlite_desk.clinic, shelf(sqlite_desk), TextDraft(*DRAFT.id, "Hello", "Note", body))
    assert {(note.field, note.line) for note in look.failing if "should" in note.problem} == {("body", 5)}
    assert look.readability is not None


@given(st.text(), st.text(), st.text(max_size=200))
def test_the_fields_of_a_text_survive_being_stored(subject: str, preheader: str, body: str) -> None:
    draft = TextDraft("a_text", "en", "general", " ".join(subject.split()), " ".join(preheader.split()), body)
    try:
        again = draft_of(source_of(draft))
    except InvalidInput:
        return
    assert (again.subject, again.preheader) == (draft.subject, draft.preheader)
    assert again.body == body.replace("\r\n", "\n").replace("\r", "\n").strip("\n")


def test_a_part_has_only_a_body(sqlite_desk: Desk) -> None:
    footer = shelf(sqlite_desk).latest[("_footer", "en", "general")]
    draft = draft_of(footer.source)
    assert (draft.subject, draft.preheader) == ("", "")
    changed = TextDraft(*draft.id, "", "", draft.body + "\n\nThank you.")
    text_edits.save(sqlite_desk.clinic, DANA, changed, footer.content_hash)
    stored_text = shelf(sqlite_desk).latest[("_footer", "en", "general")].source
    assert stored_text == Source("_footer", "en", "general", f"+++\n+++\n{draft.body}\n\nThank you.\n")
    assert sqlite_desk.treat(sqlite_desk.enter(BEATRIX)).notes == []
