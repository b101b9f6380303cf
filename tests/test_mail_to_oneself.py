"""A text sent to the person who looks at it: a real mail through a real server, told in words, and no patient in it."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from db.engine import Store
from scheduler import gate_keeper, test_mail, text_edits, text_previews
from scheduler.clock import FastClock
from scheduler.errors import InvalidInput, NotFound, Refused
from scheduler.message_source import Source
from scheduler.outbox import list_mails
from tests.clinic import STAFF, Desk, dump, open_desk
from tests.people import AMINA, BEATRIX
from tests.smtp_script import CLOSE, Act, Step
from tests.smtp_server import SmtpServer, running
from tests.test_screen_versions import DRAFT, shelf

DANA = "staff:dana"
ADDRESS = "dana@example.org"
SENDER = {"SENDER_ADDRESS": "office@example.org", "SENDER_NAME": "Harbour", "REPLY_TO": "office@example.org"}


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    """A real mail server."""
    with running(SmtpServer()) as server:
        yield server


@pytest.fixture
def mailing(server: SmtpServer, sqlite_store: Store, clock: FastClock, tmp_path: Path) -> Desk:
    """A clinic that sends through it, with everything approved."""
    relay = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_SECURITY": "none", **SENDER}
    desk = open_desk(sqlite_store, clock, tmp_path / "clinic", **relay)
    desk.approve_unseen()
    return desk


def send(desk: Desk, address: str | None = ADDRESS) -> test_mail.Tried:
    """Send the text after a visit to oneself."""
    return test_mail.send(desk.clinic, DANA, address, DRAFT.id)


def test_it_leaves_as_a_real_mail_with_an_invented_patient(mailing: Desk, server: SmtpServer) -> None:
    mailing.enter()
    gate_keeper.close(mailing.clinic, STAFF, "a test mail leaves all the same")
    tried = send(mailing)
    assert tried.sent
    assert tried.lines[0] == "The mail server took it for dana@example.org."
    (mail,) = server.accepted
    message = message_from_bytes(mail.content, policy=policy.default)
    assert (mail.sender, mail.recipient, message["To"]) == ("office@example.org", ADDRESS, ADDRESS)
    assert message["Subject"] == "After your visit"
    assert str(message["From"]) == "Harbour <office@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Unsubscribe"].startswith("<mailto:office@example.org?subject=stop")
    body = message.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    assert "Hello Asha." in text
    assert "Harbour Clinic, phone 020 7946 0999" in text
    assert AMINA.given_name not in text
    assert dump(mailing.store)["delivery_attempts"] == []
    (event,) = mailing.audit("template.test_mailed")
    assert (event["actor"], event["patient_id"]) == (DANA, None)
    assert ADDRESS not in repr(mailing.audit())


def test_it_is_the_newest_content_approved_or_not(mailing: Desk, server: SmtpServer) -> None:
    text_edits.save(mailing.clinic, DANA, DRAFT, shelf(mailing).latest[DRAFT.id].content_hash)
    send(mailing)
    assert b"It was good to see you" in server.accepted[0].content


@pytest.mark.parametrize(
    ("step", "act", "told"),
    [
        ("rcpt", "550 5.1.1 no such user", "refused your address for good"),
        ("rcpt", "550 5.7.1 not from you", "refused this mail for good"),
        ("content", "554 5.6.0 looks like spam", "refused this mail for good"),
        ("rcpt", "451 4.7.1 try later", "put it off"),
        ("content", CLOSE, "No answer came after it was handed over"),
        ("greeting", "554 go away", "could not be used"),
        ("mail", "550 5.7.1 not this sender", "before the mail was handed over"),
    ],
)
def test_what_the_server_said_is_told_in_words(
    mailing: Desk, server: SmtpServer, step: Step, act: Act | str, told: str
) -> None:
    server.always(step, act)
    tried = send(mailing)
    assert not tried.sent
    assert told in " ".join(tried.lines)
    if isinstance(act, str):
        assert act in " ".join(tried.lines)
    assert len(mailing.audit("template.test_mailed")) == 1


def test_a_server_that_is_not_there_is_told(sqlite_store: Store, clock: FastClock, tmp_path: Path) -> None:
    relay = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": "1", "SMTP_SECURITY": "none", **SENDER}
    desk = open_desk(sqlite_store, clock, tmp_path / "clinic", **relay)
    desk.approve_unseen()
    assert send(desk).lines == ("The mail server could not be used.", "It did not answer at its address.")


def test_without_a_mail_server_it_is_written_to_the_folder(sqlite_desk: Desk) -> None:
    tried = send(sqlite_desk)
    assert tried.lines == ("No mail server is set: it was written to the folder, where you can look at it.",)
    (path,) = list_mails(sqlite_desk.clinic.settings.outbox, 5)
    assert message_from_bytes(path.read_bytes(), policy=policy.default)["To"] == ADDRESS


def test_what_cannot_be_sent_is_refused_and_changes_nothing(sqlite_desk: Desk) -> None:
    with sqlite_desk.unchanged():
        with pytest.raises(InvalidInput, match="Your account"):
            send(sqlite_desk, None)
        with pytest.raises(Refused, match="not there any more"):
            test_mail.send(sqlite_desk.clinic, DANA, ADDRESS, ("no_such", "en", "general"))
        with pytest.raises(Refused, match="cannot be written in ASCII"):
            send(sqlite_desk, "dånå@example.org")
    assert list_mails(sqlite_desk.clinic.settings.outbox, 5) == []


# previews


def test_a_part_is_shown_inside_a_message(sqlite_desk: Desk) -> None:
    found = shelf(sqlite_desk)
    for key in ("_footer", "urgent_toxin"):
        for language in ("en", "de"):
            source = found.latest[(key, language, "general")].source
            assert text_previews.render_sample(sqlite_desk.clinic, found, source).text.count("-" * 40) == 2
    with pytest.raises(Refused, match="no message in this language"):
        text_previews.render_sample(
            sqlite_desk.clinic, found, Source("_footer", "fr", "general", "+++\n+++\nBonjour.\n")
        )


def test_a_real_patient_is_one_whose_plan_sends_the_text(sqlite_desk: Desk) -> None:
    treatment_id = sqlite_desk.treat(sqlite_desk.enter(BEATRIX)).treatment_id
    found = shelf(sqlite_desk)
    with sqlite_desk.store.read() as session:
        plans = text_previews.list_plans_using(session, sqlite_desk.clinic, "after_visit")
        assert [plan.treatment_id for plan in plans] == [treatment_id]
        assert text_previews.list_plans_using(session, sqlite_desk.clinic, "how_are_you") == []
        source = found.latest[DRAFT.id].source
        shown = text_previews.render_for(session, sqlite_desk.clinic, source, treatment_id)
        assert "Hello Beatrix." in shown.rendered.text
        assert (shown.findings, shown.patient.given_name) == ([], "Beatrix")
        other = found.latest[("how_are_you", "en", "general")].source
        with pytest.raises(Refused, match="does not send this text"):
            text_previews.render_for(session, sqlite_desk.clinic, other, treatment_id)
        with pytest.raises(NotFound):
            text_previews.render_for(session, sqlite_desk.clinic, source, sqlite_desk.row("after-visit").id)


def test_where_a_text_is_used_is_told_by_protocol(sqlite_desk: Desk) -> None:
    found = shelf(sqlite_desk)
    assert [protocol.key for protocol in text_previews.protocols_using(found, "urgent_general")] == ["course"]
    assert text_previews.protocols_using(found, "how_are_you") == []
