"""Every row of the classification table of sending, by its own words, and the laws that hold over all of it.

What a real server's misbehaviour comes to is in `tests/test_mailer.py`.
"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.states import AttemptOutcome
from scheduler.smtp_outcome import (
    FIRST_RETRY,
    LONGEST_RELAY_WAIT,
    LONGEST_RETRY,
    TABLE,
    Break,
    Phase,
    RelayEffect,
    Reply,
    Verdict,
    classify,
    enhanced_code,
    goes_on,
    relay_wait,
    retry_wait,
)

NOT_SENT, PUT_OFF = AttemptOutcome.NOT_SENT, AttemptOutcome.PUT_OFF
REFUSED, REJECTED = AttemptOutcome.REFUSED, AttemptOutcome.REJECTED
ACCEPTED, UNKNOWN = AttemptOutcome.ACCEPTED, AttemptOutcome.UNKNOWN
FINE, RECONNECT = RelayEffect.FINE, RelayEffect.RECONNECT
BACK_OFF, ALARM = RelayEffect.BACK_OFF, RelayEffect.ALARM

# words of the row, phase, seen, outcome, effect on the relay, whether the address is blamed
ROWS: list[tuple[str, Phase, Reply | Break, AttemptOutcome, RelayEffect, bool]] = [
    ("DNS failure", Phase.CONNECT, Break.DNS, NOT_SENT, BACK_OFF, False),
    ("connection refused", Phase.CONNECT, Break.REFUSED, NOT_SENT, BACK_OFF, False),
    ("connect timeout", Phase.CONNECT, Break.TIMEOUT, NOT_SENT, BACK_OFF, False),
    ("greeting timeout", Phase.GREETING, Break.TIMEOUT, NOT_SENT, BACK_OFF, False),
    ("greeting 4xx", Phase.GREETING, Reply(421, "4.3.2 busy"), NOT_SENT, BACK_OFF, False),
    ("greeting 5xx", Phase.GREETING, Reply(554, "5.7.1 no service"), NOT_SENT, BACK_OFF, False),
    ("EHLO refused", Phase.EHLO, Reply(550, "5.7.1 who are you"), NOT_SENT, BACK_OFF, False),
    ("EHLO is garbage", Phase.EHLO, Break.MALFORMED, NOT_SENT, BACK_OFF, False),
    ("STARTTLS missing", Phase.STARTTLS, Break.MISSING, NOT_SENT, ALARM, False),
    ("STARTTLS refused for now", Phase.STARTTLS, Reply(454, "4.7.0 not available"), NOT_SENT, ALARM, False),
    ("STARTTLS refused", Phase.STARTTLS, Reply(502, "5.5.1 unknown"), NOT_SENT, ALARM, False),
    ("bad certificate", Phase.STARTTLS, Break.TLS, NOT_SENT, ALARM, False),
    ("bad certificate, implicit TLS", Phase.CONNECT, Break.TLS, NOT_SENT, ALARM, False),
    ("STARTTLS meets a closing server", Phase.STARTTLS, Reply(421, "bye"), NOT_SENT, BACK_OFF, False),
    ("STARTTLS is cut off", Phase.STARTTLS, Break.CLOSED, NOT_SENT, BACK_OFF, False),
    ("AUTH 535", Phase.AUTH, Reply(535, "5.7.8 wrong"), NOT_SENT, ALARM, False),
    ("AUTH 534", Phase.AUTH, Reply(534, "5.7.9 too weak"), NOT_SENT, ALARM, False),
    ("AUTH 530", Phase.AUTH, Reply(530, "5.7.0 first this"), NOT_SENT, ALARM, False),
    ("AUTH 535 with a soft enhanced code", Phase.AUTH, Reply(535, "4.7.8 wrong"), NOT_SENT, ALARM, False),
    ("no way to log in is offered", Phase.AUTH, Break.MISSING, NOT_SENT, ALARM, False),
    ("AUTH 4xx", Phase.AUTH, Reply(454, "4.7.0 later"), NOT_SENT, BACK_OFF, False),
    ("AUTH unanswered", Phase.AUTH, Break.TIMEOUT, NOT_SENT, BACK_OFF, False),
    ("MAIL FROM 4xx", Phase.MAIL, Reply(451, "4.3.0 later"), NOT_SENT, BACK_OFF, False),
    ("MAIL FROM 5xx", Phase.MAIL, Reply(550, "5.7.1 not your address"), NOT_SENT, ALARM, False),
    ("MAIL FROM 5.1.1 is about us", Phase.MAIL, Reply(550, "5.1.1 unknown"), NOT_SENT, ALARM, False),
    ("421 on a connection gone stale", Phase.MAIL, Reply(421, "4.4.2 idle"), NOT_SENT, RECONNECT, False),
    ("a stale connection breaks", Phase.MAIL, Break.CLOSED, NOT_SENT, RECONNECT, False),
    ("RCPT 421", Phase.RCPT, Reply(421, "4.3.2 closing"), PUT_OFF, RECONNECT, False),
    ("RCPT 421 with an odd enhanced code", Phase.RCPT, Reply(421, "5.1.1 closing"), PUT_OFF, RECONNECT, False),
    ("RCPT 450", Phase.RCPT, Reply(450, "4.2.1 busy"), PUT_OFF, FINE, False),
    ("RCPT 451 (greylisting)", Phase.RCPT, Reply(451, "4.7.1 greylisted"), PUT_OFF, FINE, False),
    ("RCPT 452", Phase.RCPT, Reply(452, "4.2.2 full for now"), PUT_OFF, FINE, False),
    ("RCPT 550 but enhanced 4.x", Phase.RCPT, Reply(550, "4.2.1 come back"), PUT_OFF, FINE, False),
    ("RCPT 5.1.1", Phase.RCPT, Reply(550, "5.1.1 no such user"), REFUSED, FINE, True),
    ("RCPT 5.1.10", Phase.RCPT, Reply(556, "5.1.10 null MX"), REFUSED, FINE, True),
    ("RCPT 450 but enhanced 5.1.1", Phase.RCPT, Reply(450, "5.1.1 no such user"), REFUSED, FINE, True),
    ("RCPT bare 550", Phase.RCPT, Reply(550, "no such user"), REFUSED, FINE, True),
    ("RCPT bare 551", Phase.RCPT, Reply(551, "not local"), REFUSED, FINE, True),
    ("RCPT bare 553", Phase.RCPT, Reply(553, "bad mailbox"), REFUSED, FINE, True),
    ("RCPT 5.7.x (policy)", Phase.RCPT, Reply(550, "5.7.1 spam policy"), REJECTED, FINE, False),
    ("RCPT 5.7.x behind a number sign", Phase.RCPT, Reply(553, "blocked (#5.7.1)"), REJECTED, FINE, False),
    ("RCPT 5.2.2 (full)", Phase.RCPT, Reply(550, "5.2.2 full"), REJECTED, FINE, False),
    ("RCPT bare 552 (full)", Phase.RCPT, Reply(552, "full"), REJECTED, FINE, False),
    ("RCPT any other 5xx", Phase.RCPT, Reply(554, "5.5.0 no"), REJECTED, FINE, False),
    ("RCPT any other bare 5xx", Phase.RCPT, Reply(554, "no"), REJECTED, FINE, False),
    ("RCPT blames our sender", Phase.RCPT, Reply(550, "5.1.8 sender's domain not found"), NOT_SENT, ALARM, False),
    ("RCPT doubts our sender", Phase.RCPT, Reply(450, "4.1.8 sender's domain not found"), NOT_SENT, BACK_OFF, False),
    ("RCPT breaks", Phase.RCPT, Break.CLOSED, NOT_SENT, RECONNECT, False),
    ("DATA 4xx, no 354", Phase.DATA, Reply(451, "4.3.0 later"), PUT_OFF, FINE, False),
    ("DATA 5xx, no 354", Phase.DATA, Reply(554, "5.5.1 no"), REJECTED, FINE, False),
    ("DATA 421", Phase.DATA, Reply(421, "4.3.2 closing"), PUT_OFF, RECONNECT, False),
    ("DATA 250 makes no sense", Phase.DATA, Reply(250, "ok"), NOT_SENT, RECONNECT, False),
    ("lost before 354", Phase.DATA, Break.CLOSED, NOT_SENT, RECONNECT, False),
    ("stopped by us before content", Phase.DATA, Break.CANCELLED, NOT_SENT, RECONNECT, False),
    ("after the dot: 250", Phase.CONTENT, Reply(250, "2.0.0 queued"), ACCEPTED, FINE, False),
    ("after the dot: 251", Phase.CONTENT, Reply(251, "will forward"), ACCEPTED, FINE, False),
    ("after the dot: 252", Phase.CONTENT, Reply(252, "will try"), ACCEPTED, FINE, False),
    ("after the dot: 250 with an odd enhanced code", Phase.CONTENT, Reply(250, "5.1.1 eh"), ACCEPTED, FINE, False),
    ("after the dot: 4xx", Phase.CONTENT, Reply(451, "4.3.0 later"), PUT_OFF, FINE, False),
    ("after the dot: 421", Phase.CONTENT, Reply(421, "4.3.2 closing"), PUT_OFF, RECONNECT, False),
    ("after the dot: 5xx", Phase.CONTENT, Reply(554, "5.7.1 spam"), REJECTED, FINE, False),
    ("after the dot: bare 550", Phase.CONTENT, Reply(550, "no"), REJECTED, FINE, False),
    ("after the dot: 5.1.1", Phase.CONTENT, Reply(550, "5.1.1 no such user"), REFUSED, FINE, True),
    ("after the first byte: timeout", Phase.CONTENT, Break.TIMEOUT, UNKNOWN, RECONNECT, False),
    ("after the first byte: end of stream or reset", Phase.CONTENT, Break.CLOSED, UNKNOWN, RECONNECT, False),
    ("after the first byte: cancel", Phase.CONTENT, Break.CANCELLED, UNKNOWN, RECONNECT, False),
    ("after the first byte: malformed reply", Phase.CONTENT, Break.MALFORMED, UNKNOWN, RECONNECT, False),
    ("after the first byte: code -1", Phase.CONTENT, Reply(-1, "?"), UNKNOWN, RECONNECT, False),
    ("after the first byte: code 999", Phase.CONTENT, Reply(999, "?"), UNKNOWN, RECONNECT, False),
    ("after the first byte: a second 354", Phase.CONTENT, Reply(354, "go"), UNKNOWN, RECONNECT, False),
    ("250 read, then QUIT hangs", Phase.QUIT, Break.TIMEOUT, ACCEPTED, RECONNECT, False),
    ("250 read, then QUIT fails", Phase.QUIT, Reply(421, "closing"), ACCEPTED, RECONNECT, False),
]


@pytest.mark.parametrize(
    ("phase", "seen", "outcome", "relay", "blames"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_row_of_the_table(
    phase: Phase, seen: Reply | Break, outcome: AttemptOutcome, relay: RelayEffect, blames: bool
) -> None:
    verdict = classify(phase, seen)
    assert (verdict.outcome, verdict.relay, verdict.blames_address, verdict.phase) == (outcome, relay, blames, phase)


def test_every_row_of_the_table_has_a_case() -> None:
    reached = {next(row for row in TABLE if _decides(row.phases, row.seen, case)) for case in ROWS}
    assert reached == set(TABLE)


def _decides(phases: frozenset[Phase], words: frozenset[str], case: tuple[object, ...]) -> bool:
    phase, seen = case[1], case[2]
    if isinstance(seen, Reply) and 200 <= seen.code <= 599:
        enhanced = enhanced_code(seen.text) if seen.code >= 400 else None
        fits = {str(seen.code), "any", f"{(enhanced or str(seen.code))[0]}xx"}
        fits |= {enhanced, enhanced.rpartition(".")[0] + ".x"} if enhanced else {f"bare {seen.code}"}
    else:
        fits = {seen.value if isinstance(seen, Break) else "malformed", "any"}
    return phase in phases and bool(fits & words)


def test_the_codes_and_the_words_are_kept_and_the_words_stay_out_of_logs() -> None:
    verdict = classify(Phase.RCPT, Reply(550, "5.1.1 <amina@example.org> unknown"))
    assert (verdict.code, verdict.enhanced, verdict.text) == (550, "5.1.1", "5.1.1 <amina@example.org> unknown")
    assert "amina" not in repr(verdict)
    assert "amina" not in repr(Reply(550, "5.1.1 <amina@example.org> unknown"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5.1.1 no such user", "5.1.1"),
        ("#5.1.0 Address rejected.", "5.1.0"),
        ("sorry, no mailbox here by that name. (#5.1.1)", "5.1.1"),
        ("5.7.1\nand a second line", "5.7.1"),
        ("5.1.10", "5.1.10"),
        ("blocked, see 5.1.1 in our manual", None),
        ("5.1.1.7 is an address, not a code", None),
        ("3.1.1 has no such class", None),
        ("", None),
    ],
)
def test_an_enhanced_code_is_read_only_where_it_stands(text: str, expected: str | None) -> None:
    assert enhanced_code(text) == expected


@pytest.mark.parametrize(
    ("phase", "code"), [(Phase.MAIL, 250), (Phase.RCPT, 251), (Phase.RCPT, 252), (Phase.DATA, 354), (Phase.AUTH, 235)]
)
def test_an_answer_that_lets_us_go_on_is_no_verdict(phase: Phase, code: int) -> None:
    assert goes_on(phase, Reply(code))
    with pytest.raises(ValueError, match="go on"):
        classify(phase, Reply(code))


texts = st.one_of(
    st.text(max_size=20),
    st.builds("{}.{}.{} words".format, st.sampled_from("245"), st.integers(0, 9), st.integers(0, 30)),
)
replies = st.builds(Reply, st.integers(-5, 1000), texts)
sights = st.one_of(replies, st.sampled_from(Break))
phases = st.sampled_from(Phase)


def verdict_on(phase: Phase, seen: Reply | Break) -> Verdict | None:
    """The verdict, or None where the conversation simply goes on."""
    return None if isinstance(seen, Reply) and goes_on(phase, seen) else classify(phase, seen)


@given(phases, sights)
def test_everything_that_can_be_seen_has_exactly_one_meaning(phase: Phase, seen: Reply | Break) -> None:
    verdict = verdict_on(phase, seen)
    assert verdict is None or verdict == classify(phase, seen)
    assert verdict is None or verdict.phase is phase


@given(st.builds(Reply, st.integers(200, 299), texts))
def test_any_2xx_after_the_content_is_accepted(reply: Reply) -> None:
    assert classify(Phase.CONTENT, reply).outcome is ACCEPTED


@given(st.sampled_from(Break))
def test_any_break_after_the_first_byte_is_unknown(seen: Break) -> None:
    assert classify(Phase.CONTENT, seen).outcome is UNKNOWN


@given(phases, sights)
def test_unknown_and_accepted_need_content_and_everything_before_it_is_certain(
    phase: Phase, seen: Reply | Break
) -> None:
    verdict = verdict_on(phase, seen)
    if verdict is not None and verdict.outcome in (UNKNOWN, ACCEPTED):
        assert phase in (Phase.CONTENT, Phase.QUIT)


@given(phases, sights)
def test_an_address_is_blamed_only_when_it_was_refused_for_good_by_name(phase: Phase, seen: Reply | Break) -> None:
    verdict = verdict_on(phase, seen)
    if verdict is not None and (verdict.blames_address or verdict.outcome is REFUSED):
        assert verdict.blames_address
        assert verdict.outcome is REFUSED
        assert phase in (Phase.RCPT, Phase.CONTENT)
        assert (verdict.enhanced or "5.1.").startswith("5.1.")


@given(st.sampled_from([Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.STARTTLS, Phase.AUTH, Phase.MAIL]), sights)
def test_trouble_with_the_relay_is_never_charged_to_a_patient(phase: Phase, seen: Reply | Break) -> None:
    verdict = verdict_on(phase, seen)
    if verdict is not None:
        assert verdict.outcome is NOT_SENT
        assert verdict.relay is not FINE


@given(phases, sights)
def test_only_a_reply_about_the_message_leaves_the_relay_fine(phase: Phase, seen: Reply | Break) -> None:
    verdict = verdict_on(phase, seen)
    if verdict is not None and verdict.relay is FINE:
        assert isinstance(seen, Reply)
        assert verdict.outcome in (ACCEPTED, PUT_OFF, REFUSED, REJECTED)


@given(st.integers(1, 500), st.floats(0, 1))
def test_a_message_waits_at_least_a_quarter_of_an_hour_and_never_longer_than_the_limit(
    attempt: int, jitter: float
) -> None:
    assert FIRST_RETRY <= retry_wait(attempt, jitter) <= LONGEST_RETRY
    assert retry_wait(attempt, jitter) <= retry_wait(attempt + 1, jitter)


def test_waits_double_until_their_limit() -> None:
    minutes = [retry_wait(attempt, 0) / timedelta(minutes=1) for attempt in range(1, 8)]
    assert minutes == [15, 30, 60, 120, 240, 360, 360]
    seconds = [relay_wait(failures, 0).total_seconds() for failures in range(1, 9)]
    assert seconds == [30, 60, 120, 240, 480, 960, 1800, 1800]


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_relay_is_tried_again_within_half_an_hour(failures: int, jitter: float) -> None:
    assert timedelta(seconds=30) <= relay_wait(failures, jitter) <= LONGEST_RELAY_WAIT


@pytest.mark.parametrize(("count", "jitter"), [(0, 0.5), (-1, 0.5), (1, -0.1), (1, 1.1)])
def test_a_wait_without_sense_is_refused(count: int, jitter: float) -> None:
    with pytest.raises(ValueError, match="counts start at 1"):
        retry_wait(count, jitter)
