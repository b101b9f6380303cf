"""The checker itself: a history that keeps the promise passes, and each doctored one fails by its own kind."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.history import Circumstances, Story, Taken, Try, breaches

DUE = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
AROUND = Circumstances(now=DUE + 2 * HOUR, late_after=5 * SECOND, in_flight={1})


def story(
    message_id: str, state: str, *tries: Try, reason: str | None = None, on_unknown: str = "resend_once"
) -> Story:
    """A reminder that was due at ten."""
    return Story(message_id, state, reason, DUE, DUE, DUE + HOUR, "tara@example.org", on_unknown, False, tries)


def taken(message_id: str, after: timedelta, sha256: str = "x") -> Taken:
    """A copy that the server took so long after ten."""
    return Taken(message_id, "tara@example.org", sha256, DUE + after)


def tried(number: int, outcome: str, after: timedelta) -> Try:
    """An attempt marked so long after ten."""
    return Try(number, outcome, DUE + after, "x")


# One of each kind that is right: at once, twice over a lost answer, put off first, refused, missed, stopped.
KEPT: tuple[list[Story], list[Taken]] = (
    [
        story("<plain>", "sent", tried(2, "accepted", SECOND)),
        story("<twice>", "sent", tried(1, "unknown", SECOND), tried(5, "accepted", 6 * MINUTE)),
        story("<late>", "sent", tried(3, "put_off", SECOND), tried(6, "accepted", 16 * MINUTE)),
        story("<refused>", "failed", tried(4, "refused", SECOND), reason="refused"),
        story("<missed>", "missed", reason="expired"),
        story("<stopped>", "cancelled", reason="stopped"),
    ],
    [
        taken("<plain>", 2 * SECOND),
        taken("<twice>", 2 * SECOND),
        taken("<twice>", 6 * MINUTE + SECOND),
        taken("<late>", 16 * MINUTE + SECOND),
    ],
)


def changed(message_id: str, **to: object) -> list[Story]:
    """The history that is right, with one reminder told otherwise."""
    return [replace(one, **to) if one.message_id == message_id else one for one in KEPT[0]]  # type: ignore[arg-type]


def test_a_history_that_keeps_the_promise_passes() -> None:
    everything = {one.message_id for one in KEPT[0]}
    around = replace(AROUND, entered=everything, stopped={"<stopped>": DUE - HOUR, "<plain>": DUE + HOUR})
    assert breaches(*KEPT, around) == []


@pytest.mark.parametrize(
    ("kind", "message_id", "stories", "ledger", "around"),
    [
        ("lost", "<gone>", KEPT[0], KEPT[1], replace(AROUND, entered={"<plain>", "<gone>"})),
        ("lost", "<plain>", KEPT[0], KEPT[1][1:], AROUND),
        ("lost", "<missed>", changed("<missed>", reason=None), KEPT[1], AROUND),
        ("lost", "<missed>", changed("<missed>", state="scheduled", reason=None), KEPT[1], AROUND),
        ("lost", "<missed>", changed("<missed>", state="awaiting_retry", reason="put_off"), KEPT[1], AROUND),
        ("stuck", "<missed>", changed("<missed>", state="sending", reason=None), KEPT[1], AROUND),
        ("stuck", "<twice>", changed("<twice>", is_open=True), KEPT[1], AROUND),
        ("stranger", "<never>", KEPT[0], [*KEPT[1], taken("<never>", SECOND)], AROUND),
        ("doubled", "<plain>", KEPT[0], [*KEPT[1], taken("<plain>", 3 * SECOND)], AROUND),
        (
            "doubled",
            "<plain>",
            changed("<plain>", tries=(tried(2, "accepted", SECOND), tried(7, "accepted", MINUTE))),
            [*KEPT[1], taken("<plain>", MINUTE + SECOND)],
            AROUND,
        ),
        ("doubled", "<twice>", changed("<twice>", on_unknown="ask"), KEPT[1], AROUND),
        (
            "doubled",
            "<twice>",
            changed(
                "<twice>",
                tries=(
                    tried(1, "unknown", SECOND),
                    tried(5, "unknown", 6 * MINUTE),
                    tried(8, "accepted", 12 * MINUTE),
                ),
            ),
            [*KEPT[1], taken("<twice>", 12 * MINUTE + SECOND)],
            replace(AROUND, in_flight={1, 5}),
        ),
        ("misread", "<late>", KEPT[0], [*KEPT[1], taken("<late>", 2 * SECOND)], AROUND),
        ("misread", "<late>", changed("<late>", tries=(tried(6, "put_off", SECOND),)), KEPT[1], AROUND),
        ("unmarked", "<plain>", changed("<plain>", tries=(tried(2, "accepted", MINUTE),)), KEPT[1], AROUND),
        ("unknown", "<twice>", KEPT[0], KEPT[1], replace(AROUND, in_flight=set())),
        ("cancelled", "<plain>", KEPT[0], KEPT[1], replace(AROUND, stopped={"<plain>": DUE})),
        ("cancelled", "<plain>", changed("<plain>", state="cancelled", reason="stopped"), KEPT[1], AROUND),
        ("early", "<plain>", changed("<plain>", due_at=DUE + MINUTE), KEPT[1], AROUND),
        ("late", "<plain>", changed("<plain>", expires_at=DUE), KEPT[1], AROUND),
        (
            "late",
            "<plain>",
            KEPT[0],
            [taken("<plain>", MINUTE), *KEPT[1][1:]],
            AROUND,
        ),
        ("altered", "<plain>", KEPT[0], [taken("<plain>", 2 * SECOND, "y"), *KEPT[1][1:]], AROUND),
        ("misdirected", "<plain>", changed("<plain>", address="other@example.org"), KEPT[1], AROUND),
    ],
)
def test_a_history_that_breaks_it_is_found(
    kind: str, message_id: str, stories: list[Story], ledger: list[Taken], around: Circumstances
) -> None:
    found = breaches(stories, ledger, around)
    assert (kind, message_id) in {(breach.kind, breach.message_id) for breach in found}
    assert {breach.message_id for breach in found} == {message_id}  # and nobody else is accused


def test_what_a_person_ordered_again_is_allowed() -> None:
    ordered = changed("<twice>", on_unknown="ask", ordered_again=1)
    assert breaches(ordered, KEPT[1], AROUND) == []


def test_an_answer_withheld_by_script_is_no_unknown_out_of_nowhere() -> None:
    assert breaches(*KEPT, replace(AROUND, in_flight=set(), broken_off={"<twice>"})) == []
