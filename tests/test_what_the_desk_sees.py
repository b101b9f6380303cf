"""Reception sees that a message is due and that something happened, never the clinical text: on any page of hers.

A word that nothing else says stands in every clinical place; every page the desk may open is searched for all of them.
"""

import re
from collections.abc import Iterator

import pytest

from db.states import AttemptOutcome, DecisionKind, EventKind, StopReason
from db.types import new_id
from scheduler import contacts, events, signing, treatments
from scheduler.accounts.rights import Right
from scheduler.recovery import sweep
from tests.clinic import COURSE, STAFF, Desk
from tests.page_parts import AtWork
from tests.people import AMINA, BEATRIX, FENG, GRETA
from web.app import ROUTES

CLINICAL = {
    "a record field": "canaryfield",
    "why a version was written": "canaryreason",
    "why it was entered late": "canarylate",
    "an event's note": "canaryevent",
    "a complication": "canaryfever",
    "why an event was taken back": "canaryretracted",
    "a decision's note": "canarydecision",
    "a clinical note": "canarynote",
    "a contact": "canarycontact",
    "why messages were stopped": "canarystop",
    "a message's body": "canarybody",
    "what the mail server said": "canaryreply",
    "why she is treated under age": "canaryage",
    "a review": "canaryreview",
    "a wish": "canarywish",
    "why a call was asked for": "canarycall",
    "an answer of the patient's": "canaryanswer",
    "an exercise": "canarysize",
}
CLINICAL_EVENTS = ("complication_resolved", "solo_started", "partner_revoked")
# Of a woman for whom e-mail is not safe, no page of the desk says why nothing leaves.
UNSAFE = re.compile(r"not safe|unsafe", re.IGNORECASE)
CHOICE = '<option value="unsafe">E-mail is not safe</option>'  # of the form that stops messages: there for everybody
RECORDED = COURSE.replace("[[review]]", '[[field]]\nkey = "product"\nlabel = "Product"\ntype = "text"\n\n[[review]]', 1)
BODY = """\
+++
subject = "After your visit"
preheader = "A short note from us."
status = "draft"
+++
Hello {{ patient.preferred_name }}.

canarybody
"""


@pytest.fixture
def work(sqlite_desk: Desk) -> AtWork:
    """A clinic in which everything that is clinical has been written down."""
    desk = sqlite_desk
    desk.write_text("after_visit", BODY)
    desk.write_protocol(RECORDED.replace("version = 1", "version = 2"))
    desk.approve_unseen()
    amina = desk.enter(AMINA)
    fields = {"lot": "C4711", "product": "canaryfield"}
    treatment_id = desk.treat(
        amina, "2026-11-20T09:30", fields=fields, late_reason="canarylate", age_override="canaryage", past="send"
    ).treatment_id
    wrong = desk.event(treatment_id, EventKind.COMPLICATION, fields={"note": "canaryfever"})
    events.retract(desk.clinic, STAFF, wrong, "canaryretracted")
    desk.tick()
    desk.event(treatment_id, EventKind.COMPLICATION, fields={"what": "canaryfever"})
    desk.event(treatment_id, EventKind.CALL_REQUESTED, fields={"note": "canaryevent"})
    desk.event(treatment_id, EventKind.CALL_REQUESTED, fields={"because": "pain", "pain": "8", "words": "canarycall"})
    desk.event(treatment_id, EventKind.CHECKED_IN, fields={"answer": "not_yet", "words": "canaryanswer"})
    desk.event(treatment_id, EventKind.QUESTIONS_ANSWERED, fields={"words": "canaryanswer"})
    desk.event(treatment_id, EventKind.EXERCISE_SET, fields={"exercise": "breathing", "size_label": "canarysize"})
    desk.event(treatment_id, EventKind.REVIEW_COMPLETED, fields={"note": "canaryreview", "pain_at_rest": "3"})
    desk.event(treatment_id, EventKind.PARTNER_RELEASED, fields={"wish": "canarywish"})
    desk.decide(desk.row("next-session"), DecisionKind.CANCEL, "canarydecision")
    signing.fill_in(desk.clinic, STAFF, treatment_id, fields, "Dr Okafor", "canaryreason", signs=True)
    desk.tick()
    treatments.move(desk.clinic, STAFF, treatment_id, "2026-11-20T10:30", reason="canaryreason")
    contacts.add_note(desk.clinic, STAFF, amina, "canarynote", treatment_id)
    contacts.record_contact(desk.clinic, STAFF, amina, "canarycontact")
    desk.tick()
    beatrix = desk.enter(BEATRIX)
    desk.treat(beatrix, fields=fields)
    desk.tick(minutes=20)
    desk.stop(beatrix, StopReason.UNSAFE, "canarystop")
    desk.treat(desk.enter(FENG), fields=fields)
    desk.tick(hours=9)
    desk.send_due(AttemptOutcome.REFUSED, reply="550 canaryreply", code=550)
    desk.treat(desk.enter(GRETA), "2026-11-23T17:30", fields=fields)
    desk.tick(minutes=15)
    desk.send_due()
    sweep(desk.clinic)
    return AtWork(desk)


def samples(work: AtWork) -> Iterator[str]:
    """Every page that the desk may open, with every patient, treatment and reminder there is."""
    rows = work.desk.rows()
    of: dict[str, set[object]] = {
        "patient_id": {*(row.patient_id for row in rows)},
        "treatment_id": {*(event["subject_id"] for event in work.desk.audit("treatment.added"))},
        "reminder_id": {*(row.id for row in rows)},
        "review": {"two-week"},
    }
    for route in ROUTES:
        if route.method != "GET" or route.permission is not Right.DESK:
            continue
        (name, *_) = re.findall(r"\{(\w+)\}", route.path) or [""]
        paths = [route.path.replace(f"{{{name}}}", str(value)) for value in of[name]] if name else [route.path]
        yield from paths
    yield from (
        f"/patients/{patient_id}?show={show}" for patient_id in of["patient_id"] for show in ("notes", "record")
    )
    yield from (f"/reminders?show={show}" for show in ("held", "sent", "unsent", "ended", "due"))
    yield "/reminders?show=ended&reason=other"
    yield from (f"/treatments/new?patient={patient_id}" for patient_id in of["patient_id"])
    yield from (f"/treatments/new?from={treatment_id}" for treatment_id in of["treatment_id"])


async def answers(work: AtWork) -> dict[str, str]:
    """What the desk reads: every page, and the answers to what it may ask or try."""
    found = {path: (await work.rosa.get(path)).text for path in samples(work)}
    treatment_id = next(iter(work.desk.audit("treatment.added")))["subject_id"]
    beatrix = next(row.patient_id for row in work.desk.rows() if row.reason == "unsafe")
    theirs = next(str(e["subject_id"]) for e in work.desk.audit("treatment.added") if e["patient_id"] == beatrix)
    entry = {"entry_id": str(new_id()), "protocol": "course", "date": "2026-11-23", "time": "10:00"}
    move = {"date": "2026-11-24", "time": "09:30", "reason": "A slip."}
    forms: list[tuple[str, dict[str, str]]] = [
        ("/patients", {"q": "far"}),
        ("/reminders", {"q": "lin"}),
        ("/treatments/new/people", {"find": "be"}),
        ("/treatments/new/who", {"pick": str(beatrix)}),
        ("/treatments/new/fields", entry),
        ("/treatments/new/plan", {**entry, "patient_id": str(beatrix)}),
        ("/treatments/new", {**entry, "patient_id": str(beatrix), "look": "plan"}),
        (f"/treatments/{theirs}/move", move),
        (f"/treatments/{treatment_id}/move", move),
        (f"/treatments/{treatment_id}/reassign", {"find": "be"}),
        (f"/treatments/{theirs}/events", {"kind": "hold", "back": f"/treatments/{theirs}"}),
    ]
    for path, data in forms:
        answer = await work.rosa.post(path, data)
        found[f"POST {path} {data.get('find', '')}"] = answer.text + answer.headers.get("location", "")
    return found


async def test_no_page_of_the_desk_holds_a_clinical_word_or_offers_what_is_not_for_it(work: AtWork) -> None:
    for path, html in (await answers(work)).items():
        assert [where for where, word in CLINICAL.items() if word in html] == [], path
        assert UNSAFE.findall(html.replace(CHOICE, "")) == [], path
        if path.startswith("POST"):
            continue
        for offered in ("/record", "/copies/", "/notes", *(f'value="{kind}"' for kind in CLINICAL_EVENTS)):
            assert offered not in html, path


async def test_whose_mail_is_not_safe_is_told_like_anybody_whose_messages_were_stopped(work: AtWork) -> None:
    beatrix = next(row.patient_id for row in work.desk.rows() if row.reason == "unsafe")
    hers = (await work.rosa.get(f"/patients/{beatrix}")).text
    assert "All messages stopped" in hers
    assert "messages to the patient were stopped" in hers
    boards = [(await work.rosa.get(f"/reminders?show=ended&reason={why}")).text for why in ("other", "")]
    assert (
        len({board.count("Beatrix") for board in boards}) == 1
    )  # the same of both: what a filter leaves out would tell
    assert (await work.rosa.get("/reminders?reason=unsafe")).text.count("Amina") > 0  # no such choice: everything
    assert "a clinician permits them again" in (await work.rosa.get(f"/patients/{beatrix}")).text
    refused = await work.rosa.post(f"/patients/{beatrix}/permit", {"note": "She rang."})
    assert refused.status_code == 403
    permitted = await work.dana.post(f"/patients/{beatrix}/permit", {"note": "She rang; it is safe now."})
    assert permitted.status_code == 303
    work.desk.tick()
    work.desk.stop(beatrix, StopReason.OPTED_OUT)
    assert (await work.rosa.post(f"/patients/{beatrix}/permit", {"note": "She rang."})).status_code == 303


async def test_a_clinician_reads_all_of_it(work: AtWork) -> None:
    pages = [path for path in samples(work) if not path.startswith("/treatments/new")]
    treatment_ids = [str(event["subject_id"]) for event in work.desk.audit("treatment.added")]
    tried = [row.id for row in work.desk.rows() if row.step == "after-visit"]
    pages += [f"/treatments/{treatment_id}/record" for treatment_id in treatment_ids]
    pages += [f"/reminders/{row_id}/copies/{number}" for row_id in tried for number in (1, 2)]
    read = "".join([(await work.dana.get(path)).text for path in pages])
    assert [where for where, word in CLINICAL.items() if word not in read] == []
    assert "It is not safe to e-mail the patient" in read
    assert "All messages stopped: e-mail is not safe" in read
