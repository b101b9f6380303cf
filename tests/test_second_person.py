"""Who may approve what was written on the screen, on both databases: another clinician, or alone with a reason."""

import pytest

from db.follow_up import Approval
from db.states import Role
from scheduler import approvals, protocol_edits, second_person, text_edits
from scheduler.accounts import staff
from scheduler.errors import InvalidInput, Refused
from scheduler.library import Shelf
from scheduler.second_person import Standing, standing_of
from tests.clinic import COURSE, DOCTOR, STAFF, Desk
from tests.staffed import MACHINE_START, Staffed
from tests.test_screen_versions import DRAFT, LATER

DANA, NOVAK = "staff:dana", "staff:novak"


def shelf(desk: Desk) -> Shelf:
    """The library as stored."""
    with desk.store.read() as session:
        return desk.clinic.library.shelf(session)


def hire(desk: Desk, *logins: str) -> None:
    """Clinicians with accounts."""
    staffed = Staffed(desk.clinic)
    for login in logins:
        staffed.hire(login, Role.CLINICIAN)


def write_course(desk: Desk, actor: str = DANA) -> str:
    """Change the course on the screen; the seal of what is then to be approved."""
    newest = shelf(desk).list_versions("course")[-1]
    protocol_edits.save(desk.clinic, actor, "course", LATER, newest.content_hash)
    desk.tick()
    return approvals.scope_of(desk.clinic, "course").seal


def write_text(desk: Desk, actor: str = DANA) -> str:
    """Change a text on the screen; its seal."""
    text_edits.save(desk.clinic, actor, DRAFT, shelf(desk).latest[DRAFT.id].content_hash)
    desk.tick()
    return shelf(desk).latest[DRAFT.id].content_hash


def reasons(desk: Desk) -> set[str | None]:
    """Why approvals were given alone."""
    with desk.store.read() as session:
        return {row.alone_because for row in session.query(Approval)}


def test_whoever_wrote_it_needs_another_clinician(desk: Desk) -> None:
    hire(desk, "dana", "novak")
    write_course(desk)
    words = write_text(desk)
    seal = approvals.scope_of(desk.clinic, "course").seal
    with desk.unchanged():
        with pytest.raises(Refused, match="another clinician"):
            second_person.approve_protocol(desk.clinic, DANA, "Dana", "course", seal, "I am sure")
        with pytest.raises(Refused, match="another clinician"):
            second_person.approve_text(desk.clinic, DANA, "Dana", DRAFT.id, words, "I am sure")
    second_person.approve_text(desk.clinic, NOVAK, "Dr Novak", DRAFT.id, words)
    seal = approvals.scope_of(desk.clinic, "course").seal
    second_person.approve_protocol(desk.clinic, NOVAK, "Dr Novak", "course", seal)
    approved = shelf(desk).for_new_treatment("course")
    assert (approved.protocol.version, approved.approved_by) == (2, "Dr Novak")
    assert reasons(desk) == {None}
    assert desk.audit("protocol.approved")[-1]["actor"] == NOVAK


def test_a_text_that_she_wrote_is_part_of_what_a_protocol_covers(desk: Desk) -> None:
    hire(desk, "dana", "novak")
    write_text(desk)
    scope = approvals.scope_of(desk.clinic, "course")
    assert scope.writers == {DANA}
    with pytest.raises(Refused, match="another clinician"):
        second_person.approve_protocol(desk.clinic, DANA, "Dana", "course", scope.seal)


def test_a_value_that_she_gave_counts_as_written_by_her(desk: Desk) -> None:
    hire(desk, "dana", "novak")
    approvals.set_text(desk.clinic, DANA, "course", "rest_rule", "Rest for two days.")
    scope = approvals.scope_of(desk.clinic, "course")
    assert (scope.writers, scope.covers_protocol) == (frozenset({DANA}), True)
    with pytest.raises(Refused, match="another clinician"):
        second_person.approve_protocol(desk.clinic, DANA, "Dana", "course", scope.seal)
    second_person.approve_protocol(desk.clinic, NOVAK, "Dr Novak", "course", scope.seal)
    assert approvals.scope_of(desk.clinic, "course").writers == set()


def test_the_only_clinician_approves_her_own_words_with_a_reason(desk: Desk) -> None:
    hire(desk, "dana")
    seal = write_course(desk)
    with desk.unchanged(), pytest.raises(InvalidInput, match="reason: you wrote it yourself"):
        second_person.approve_protocol(desk.clinic, DANA, "Dana", "course", seal, "  ")
    second_person.approve_protocol(desk.clinic, DANA, "Dana", "course", seal, "Nobody else works here.")
    approval = shelf(desk).for_new_treatment("course").approval
    assert approval is not None
    assert (approval.by, approval.alone_because) == ("Dana", "Nobody else works here.")
    desk.tick()
    words = write_text(desk)
    second_person.approve_text(desk.clinic, DANA, "Dana", DRAFT.id, words, "Nobody else works here.")
    given = shelf(desk).approved[DRAFT.id].approval
    assert given is not None
    assert given.alone_because == "Nobody else works here."


def test_who_has_left_or_not_joined_or_is_no_clinician_is_no_second_person(desk: Desk) -> None:
    staffed = Staffed(desk.clinic)
    hire(desk, "dana")
    staffed.hire("rosa", Role.RECEPTION)
    staffed.hire("mara", Role.MANAGER)
    staff.add(desk.clinic, STAFF, "Not Yet", [Role.CLINICIAN], "not.yet", None, MACHINE_START)
    gone = staffed.hire("gone", Role.CLINICIAN)
    with desk.store.read() as session:
        assert standing_of(session, DANA, {DANA}) is Standing.NEEDS_ANOTHER
        assert standing_of(session, DANA, {NOVAK}) is Standing.MAY
    staff.disable(desk.clinic, STAFF, gone.id, MACHINE_START)
    with desk.store.read() as session:
        assert standing_of(session, DANA, {DANA}) is Standing.ALONE


def test_any_clinician_approves_what_came_from_files(draft_desk: Desk) -> None:
    hire(draft_desk, "dana", "novak")
    approvals.read_files(draft_desk.clinic, STAFF)
    approvals.set_text(draft_desk.clinic, STAFF, "course", "rest_rule", "Rest for a day.")
    scope = approvals.scope_of(draft_desk.clinic, "course")
    done = second_person.approve_protocol(draft_desk.clinic, DANA, "Dana", "course", scope.seal)
    assert (done.protocol, done.texts) == (True, len(scope.texts))


@pytest.mark.parametrize("what", ["protocol", "value", "text"])
def test_what_changed_since_it_was_shown_is_not_approved(desk: Desk, what: str) -> None:
    hire(desk, "novak")
    seal = write_course(desk)
    if what == "protocol":
        base = shelf(desk).list_versions("course")[-1].content_hash
        protocol_edits.save(desk.clinic, DANA, "course", COURSE.replace("17:00", "16:00"), base)
    elif what == "value":
        approvals.set_text(desk.clinic, DANA, "course", "rest_rule", "Rest for two days.")
    else:
        write_text(desk)
        with pytest.raises(Refused, match="changed since it was shown"):
            second_person.approve_text(desk.clinic, NOVAK, "Dr Novak", DRAFT.id, seal)
    with desk.unchanged(), pytest.raises(Refused, match="changed since it was shown"):
        second_person.approve_protocol(desk.clinic, NOVAK, "Dr Novak", "course", seal)


def test_the_command_line_approves_as_it_did(desk: Desk) -> None:
    hire(desk, "dana", "novak")
    write_course(desk)
    approvals.approve_protocol(desk.clinic, DANA, approvals.scope_of(desk.clinic, "course"), DOCTOR)
    assert reasons(desk) == {None}
