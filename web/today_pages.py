"""Today: what needs a person, what leaves next, what was done; and the card of the first days.

The words of its lines are in `web.today_lines`; deciding about a line is in `web.decision_pages`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response

from db.states import SetupStep
from scheduler import first_days, returned_mail
from scheduler.accounts.rights import Right
from scheduler.done_today import read_done
from scheduler.errors import InvalidInput
from scheduler.worklist import RED, Letters, LineKind, read_worklist
from web.doors import me_of
from web.forms import FormModel
from web.line_parts import Act
from web.pages import clinic_of, fragment, go_to, page
from web.seen import note_view
from web.times import Say
from web.today_lines import show_done, show_leaving, show_line, show_visit

# Where there are more lines of a kind than fit, what they are called.
MANY: Final[Mapping[LineKind, str]] = {
    LineKind.CALL_ASKED: "calls asked for",
    LineKind.COMPLICATION: "complications",
    LineKind.STOP_LOST: "patients of whom a stop is missing",
    LineKind.UNKNOWN: "messages that may or may not have arrived",
    LineKind.FAILED: "messages that did not arrive",
    LineKind.CAME_BACK: "messages that came back",
    LineKind.MISSED: "patients whose messages were not sent",
    LineKind.WRONG_PERSON: "addresses that are another person’s",
    LineKind.STOPPED_BY_LINK: "patients whose messages a link stopped",
    LineKind.ADDRESS_REFUSED: "addresses that refused mail",
    LineKind.QUESTION: "questions about what was sent",
    LineKind.VISIT_PASSED: "visits to write down",
    LineKind.REVIEW_MISSED: "missed reviews",
    LineKind.REVIEW_OVERDUE: "overdue reviews",
    LineKind.CODE_LOCKED: "locked private pages",
    LineKind.OTHER_TIME: "visits for which another time is asked",
    LineKind.NOT_YET: "patients who answered “not yet” several times",
    LineKind.SILENT: "patients who have not answered for a while",
    LineKind.FOR_STAFF: "things the protocols ask of you",
    LineKind.RELEASE_ASKED: "next parts asked for",
    LineKind.REVIEW_TO_BOOK: "reviews to book",
    LineKind.ADDRESS_MISSING: "missing addresses",
    LineKind.ADDRESS_UNCONFIRMED: "addresses to confirm",
    LineKind.CONSENT_MISSING: "answers about consent to record",
    LineKind.BIRTH_DATE_MISSING: "birth dates to enter",
    LineKind.UNDER_AGE: "patients younger than their protocol allows",
    LineKind.PAST_ASK: "messages due before they were planned",
    LineKind.AWAITING_RELEASE: "messages to release",
    LineKind.NOT_SENDABLE: "messages that could not be sent",
    LineKind.UNSIGNED: "records to sign",
}


class LettersForm(FormModel):
    """Up to which letter somebody has looked: what came after the page was made stays a line."""

    until: str = ""
    back: str = ""


class MarkForm(FormModel):
    """A step of the first days that a person says is done."""


def today_page(request: Request) -> Response:
    """The page, or the lines of one kind of which there are more; it asks for its lists again by itself."""
    shown = _read(request)
    note_view(request, "list.viewed", "today")
    return page(request, "today.html", **shown)


def today_lists(request: Request) -> Response:
    """The lists alone, for a page that is open: nothing when nothing has changed, which then nobody sees anew."""
    shown = _read(request)
    if request.query_params.get("have") == shown["stamp"]:
        return Response(status_code=204)
    note_view(request, "list.viewed", "today")
    return fragment(request, "today_lists.html", **shown)


def mark_step(request: Request, step: str) -> Response:
    """A person says that a step of the first days is done."""
    MarkForm.read(request)
    try:
        named = SetupStep(step)
    except ValueError:
        raise InvalidInput("step: is none") from None
    first_days.mark(clinic_of(request), me_of(request).actor, named)
    return go_to("/today", "noted")


def settle_letters(request: Request) -> Response:
    """Somebody looked into the technical mailbox."""
    form = LettersForm.read(request)
    try:
        until = datetime.fromisoformat(form.until)
    except ValueError:
        until = None
    if until is None or until.tzinfo is None:
        raise InvalidInput("this form is not whole: load the page again")
    returned_mail.settle_letters(clinic_of(request), me_of(request).actor, until)
    return go_to("/today", "noted")


def _read(request: Request) -> dict[str, Any]:
    clinic, me = clinic_of(request), me_of(request)
    asked = next((kind for kind in LineKind if kind.value == request.query_params.get("show")), None)
    say = Say(clinic, clinic.clock.now(), me.may(Right.RECORD))
    with clinic.store.show() as session:
        found = read_worklist(session, clinic, asked)
        done = read_done(session, clinic)
        steps = first_days.list_open_steps(session, clinic) if me.may(Right.STOP_SENDING) and asked is None else []
        lines = [
            show_line(line, found, say, me)
            for line in found.lines
            if line.kind is not LineKind.UNSIGNED or me.may(Right.RECORD)
        ]
        shown = {
            "day": say.full_date(say.today),
            "lines": lines,
            "asked": (asked.value, MANY[asked]) if asked else None,
            "more": [
                (
                    "red" if kind in RED else "amber",
                    kind.value,
                    MANY[kind],
                    sum(line.kind is kind for line in found.lines),
                )
                for kind in LineKind
                if kind in found.more and (kind is not LineKind.UNSIGNED or me.may(Right.RECORD))
            ],
            "counted": [(reason, count) for reason, count in found.counted.items()],
            "visits": [show_visit(line, found, say) for line in found.visits],
            "leaving": [show_leaving(row, found, say) for row in found.leaving],
            "leaves_more": found.leaves_more,
            "letters": _letters(found.letters, say),
            "done_today": [show_done(line, done, say, me) for line in done.lines],
            "steps": steps,
        }
    shown["stamp"] = hashlib.sha256(repr(_plain(shown)).encode()).hexdigest()[:16]
    return shown


def _letters(found: Letters | None, say: Say) -> tuple[int, str, Act] | None:
    """Letters to the technical mailbox: how many, since when, and the button that somebody has looked."""
    if found is None:
        return None
    looked = Act("I looked", action="/letters/looked-at", fields={"until": found.until.isoformat()})
    return found.count, say.when(found.since), looked


def _plain(value: object) -> object:
    """A value whose `repr` tells all that is shown: a person's own tells nothing."""
    if is_dataclass(value):
        return [_plain(getattr(value, each.name)) for each in fields(value)]
    if isinstance(value, Mapping):
        return [(name, _plain(each)) for name, each in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)
