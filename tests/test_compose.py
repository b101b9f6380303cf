"""Writing one reminder as a finished mail: its values, its words, its headers, and what must not leave."""

from email import message_from_bytes, policy
from uuid import UUID, uuid4

import pytest

from db.states import EventKind
from scheduler import compose, previews
from scheduler.compose import Letter, Revealing
from scheduler.errors import InvalidInput, NotFound, Refused
from tests.clinic import COURSE, STAFF, Desk, dump
from tests.people import AMINA, BEATRIX, FENG, Person


def letter(desk: Desk, step: str, occurrence: int = 1) -> Letter:
    """The mail of a reminder as it would leave now."""
    with desk.store.read() as session:
        return compose.write_letter(session, desk.clinic, desk.row(step, occurrence))


def booked(desk: Desk, person: Person = AMINA, **fields: str) -> UUID:
    """A treatment with a visit on Tuesday 8 December at 14:00."""
    treatment_id = desk.treat(desk.enter(person)).treatment_id
    desk.event(treatment_id, EventKind.REVIEW_BOOKED, "2026-12-08T14:00", fields=fields)
    return treatment_id


def test_a_mail_goes_to_one_address_with_neutral_headers(sqlite_desk: Desk) -> None:
    booked(sqlite_desk)
    row = sqlite_desk.row("visit-in-3-days")
    made = letter(sqlite_desk, "visit-in-3-days")
    mail = message_from_bytes(made.content, policy=policy.default)
    assert (mail["To"], made.email, made.email_version) == ("amina@example.org", "amina@example.org", 1)
    assert mail["Message-ID"] == row.message_id
    assert mail["Subject"] == "Your visit on Tuesday 8 December"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe"] == "<mailto:clinic@example.org?subject=stop>"
    assert {mail["Cc"], mail["Bcc"]} == {None}
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        assert "Hello Amina." in part.get_content()
    (attached,) = mail.iter_attachments()
    assert (attached.get_content_type(), attached.get_filename()) == ("text/calendar", "appointment.ics")
    assert attached.get_param("method") == "PUBLISH"
    told = attached.get_content()
    assert "DTSTART:20261208T140000Z\r\n" in told
    assert "SUMMARY:Appointment\r\n" in told


def test_a_message_about_no_visit_has_no_calendar_file(sqlite_desk: Desk) -> None:
    booked(sqlite_desk)
    mail = message_from_bytes(letter(sqlite_desk, "after-visit").content, policy=policy.default)
    assert list(mail.iter_attachments()) == []


def test_a_visit_is_told_with_day_time_and_place(sqlite_desk: Desk) -> None:
    booked(sqlite_desk, place="Room 2")
    text = letter(sqlite_desk, "visit-in-3-days").rendered.text
    assert "Tuesday 8 December at 14:00" in text
    assert "Where: Room 2." in text
    assert "020 7946 0999" in text


def test_a_visit_without_a_place_says_nothing_of_one(sqlite_desk: Desk) -> None:
    booked(sqlite_desk)
    assert "Where" not in letter(sqlite_desk, "visit-in-3-days").rendered.text


def test_a_patient_elsewhere_is_told_whose_time_it_is(sqlite_desk: Desk) -> None:
    booked(sqlite_desk, FENG)
    assert "at 14:00 (London time)" in letter(sqlite_desk, "visit-in-3-days").rendered.text


def test_a_weekly_step_counts_its_weeks(sqlite_desk: Desk) -> None:
    treatment_id = sqlite_desk.treat(sqlite_desk.enter()).treatment_id
    sqlite_desk.event(treatment_id, EventKind.SOLO_STARTED)
    made = letter(sqlite_desk, "alone", 2)
    assert made.rendered.subject == "Your plan: week 2"
    assert "week 2 of 3 of your plan" in made.rendered.text


def test_her_preferred_name_is_used(sqlite_desk: Desk) -> None:
    sqlite_desk.treat(sqlite_desk.enter(preferred_name="Mina"))
    assert "Hello Mina." in letter(sqlite_desk, "after-visit").rendered.text


def test_the_same_reminder_is_the_same_mail_but_for_its_date(sqlite_desk: Desk) -> None:
    booked(sqlite_desk)
    first = letter(sqlite_desk, "visit-in-3-days").content
    sqlite_desk.tick(hours=1)
    second = letter(sqlite_desk, "visit-in-3-days").content
    assert first != second
    assert without_date(first) == without_date(second)


def without_date(content: bytes) -> list[bytes]:
    """The lines of a mail but its date."""
    return [line for line in content.split(b"\r\n") if not line.startswith(b"Date: ")]


@pytest.mark.parametrize(
    "name", ["=?utf-8?q?x?=", "<b>Mina</b>", "Bobby'; DROP", "\u202eMina", "Ünal 阿明", "M\u0301ina"]
)
def test_an_odd_name_stays_a_name(sqlite_desk: Desk, name: str) -> None:
    sqlite_desk.treat(sqlite_desk.enter(preferred_name=name))
    made = letter(sqlite_desk, "after-visit")
    mail = message_from_bytes(made.content, policy=policy.default)
    assert not mail.defects
    assert {key.lower() for key in mail} == {
        "from", "to", "subject", "date", "message-id", "mime-version", "content-type", "content-language",
        "auto-submitted", "reply-to", "list-unsubscribe",
    }  # fmt: skip
    assert "<b>" not in made.rendered.html.split("<body")[1].split("Mina")[0]


# what would give her away


@pytest.mark.parametrize("place", ["Botox room", "The BOTOX-Room"])
def test_a_value_that_gives_her_away_does_not_leave(sqlite_desk: Desk, place: str) -> None:
    treatment_id = booked(sqlite_desk, place=place)
    with pytest.raises(Revealing) as found:
        letter(sqlite_desk, "visit-in-3-days")
    assert "Botox" not in str(found.value)
    with pytest.raises(Revealing):
        previews.preview(sqlite_desk.clinic, STAFF, treatment_id, "visit-in-3-days")


def test_a_clinic_that_names_what_it_does_sends_nothing(sqlite_desk: Desk) -> None:
    desk = sqlite_desk.with_settings(CLINIC_NAME="Vaginal Health Clinic")
    desk.treat(desk.enter())
    with pytest.raises(Revealing):
        letter(desk, "after-visit")


def test_a_name_that_is_also_a_word_is_no_reason_to_hold(sqlite_desk: Desk) -> None:
    sqlite_desk.treat(sqlite_desk.enter(BEATRIX, given_name="April", family_name="Visit"))
    assert "Hello April." in letter(sqlite_desk, "after-visit").rendered.text


# what cannot be written


def test_a_text_that_is_gone_or_not_approved_cannot_be_sent(draft_desk: Desk) -> None:
    draft_desk.treat(draft_desk.enter())
    with pytest.raises(compose.NothingToSend, match="not approved"):
        letter(draft_desk, "after-visit")


def test_without_an_address_there_is_nothing_to_send(sqlite_desk: Desk) -> None:
    sqlite_desk.treat(sqlite_desk.enter(email=None, confirmed=None))
    with pytest.raises(compose.NothingToSend, match="no e-mail address"):
        letter(sqlite_desk, "after-visit")


def test_a_step_that_the_protocol_lost_cannot_be_sent(draft_desk: Desk) -> None:
    draft_desk.treat(draft_desk.enter())
    row = draft_desk.row("after-visit")
    row.step = "gone"
    with draft_desk.store.read() as session, pytest.raises(compose.NothingToSend, match='no step "gone"'):
        compose.write_letter(session, draft_desk.clinic, row)


# previews


def test_a_preview_is_what_leaves_later_but_for_its_date(desk: Desk) -> None:
    treatment_id = desk.treat(desk.enter()).treatment_id
    shown = previews.preview(desk.clinic, STAFF, treatment_id, "after-visit").content
    desk.tick(hours=9)
    worker_id = desk.worker()
    (claim,) = desk.claim(worker_id)
    assert without_date(desk.letter(claim).content) == without_date(shown)


def test_a_preview_writes_nothing_but_that_it_was_shown(desk: Desk) -> None:
    patient_id = desk.enter()
    treatment_id = desk.treat(patient_id).treatment_id
    before = dump(desk.store)
    previews.preview(desk.clinic, STAFF, treatment_id, "after-visit")
    after = dump(desk.store)
    assert {name for name in after if after[name] != before[name]} == {"audit_events", "audit_head"}
    (event,) = desk.audit("message.previewed")
    assert (event["patient_id"], event["fields"]) == (patient_id, ["after-visit"])


def test_a_draft_and_a_step_without_a_row_can_be_looked_at(draft_desk: Desk) -> None:
    treatment_id = draft_desk.treat(draft_desk.enter(email=None, confirmed=None)).treatment_id
    shown = previews.preview(draft_desk.clinic, STAFF, treatment_id, "alone", 3)
    assert shown.rendered.subject == "Your plan: week 3"
    assert shown.email == "nobody@example.org"


def test_what_cannot_be_previewed_says_why(desk: Desk) -> None:
    treatment_id = desk.treat(desk.enter()).treatment_id
    with desk.unchanged():
        with pytest.raises(NotFound):
            previews.preview(desk.clinic, STAFF, uuid4(), "after-visit")
        with pytest.raises(InvalidInput, match="none of after-visit, visit-in-3-days"):
            previews.preview(desk.clinic, STAFF, treatment_id, "afterwards")
        with pytest.raises(InvalidInput, match="none of"):
            previews.preview(desk.clinic, STAFF, treatment_id, "no-review-yet")  # a line for staff mails nothing
        with pytest.raises(Refused, match=r"review\.weekday"):
            previews.preview(desk.clinic, STAFF, treatment_id, "visit-in-3-days")


def test_a_mail_in_full_ends_with_the_present_exercise_as_it_was_set(sqlite_desk: Desk) -> None:
    sqlite_desk.write_protocol(
        COURSE.replace("version = 1", "version = 2")
        + '\n[[exercise]]\nkey = "breathing"\ntext = "exercise_breathing"\n'
        + '\n[[exercise]]\nkey = "trainer"\ntext = "exercise_trainer"\n'
    )
    sqlite_desk.approve()
    treatment = sqlite_desk.treat(sqlite_desk.enter(AMINA, level="full")).treatment_id
    sqlite_desk.event(treatment, EventKind.SOLO_STARTED)
    fields = {"exercise": "trainer", "times_per_week": "3", "size_label": "Set A, size 2"}
    sqlite_desk.event(treatment, EventKind.EXERCISE_SET, fields=fields)
    text = letter(sqlite_desk, "alone").rendered.text
    body, urgent, _ = text.split("-" * 40)
    assert "With your trainer" in body
    assert "How often: 3 times a week" in body
    assert "Set A, size 2" in body
    assert "trainer" not in urgent
    assert "With your trainer" not in letter(sqlite_desk, "after-visit").rendered.text
