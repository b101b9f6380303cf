"""When the mail server may be asked: waits that double, one try at a time, one alarm.

Time is passed in; what the verdicts come from is in `tests/test_mailer_opening.py`.
"""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.relay_circuit import ALARM_AFTER, BREAKS_IN_A_ROW, RelayCircuit
from scheduler.smtp_outcome import Break, Phase, Reply, Verdict, classify

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
UNREACHABLE = classify(Phase.CONNECT, Break.REFUSED)
WRONG_PASSWORD = classify(Phase.AUTH, Reply(535, "5.7.8 amina@example.org may not"))
WRONG_SENDER = classify(Phase.MAIL, Reply(550, "5.7.1 no"))
NO_STARTTLS = classify(Phase.STARTTLS, Break.MISSING)
ACCEPTED = classify(Phase.CONTENT, Reply(250, "2.0.0 kept"))
CUT_OFF = classify(Phase.MAIL, Break.CLOSED)


def seconds(number: float) -> timedelta:
    """That many seconds."""
    return timedelta(seconds=number)


@pytest.fixture
def circuit() -> RelayCircuit:
    """A circuit without chance."""
    return RelayCircuit(draw=lambda: 0.0)


def test_at_first_anyone_may_connect(circuit: RelayCircuit) -> None:
    assert [circuit.may_connect(NOW) for _ in range(5)] == [True] * 5
    assert circuit.alarm is None


def test_after_trouble_nobody_connects_until_the_wait_is_over_and_then_one(circuit: RelayCircuit) -> None:
    circuit.record(UNREACHABLE, NOW)
    assert not circuit.may_connect(NOW + seconds(29))
    assert [circuit.may_connect(NOW + seconds(30)) for _ in range(4)] == [True, False, False, False]
    assert not circuit.may_connect(NOW + seconds(59))
    assert circuit.may_connect(NOW + seconds(60))  # the first try was never reported


def test_each_failed_try_doubles_the_wait_up_to_half_an_hour(circuit: RelayCircuit) -> None:
    now, waits = NOW, []
    circuit.record(UNREACHABLE, now)
    for _ in range(9):
        assert circuit.closed_until is not None
        waits.append((circuit.closed_until - now).total_seconds())
        now = circuit.closed_until
        assert circuit.may_connect(now)
        circuit.record(UNREACHABLE, now)
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]


def test_connections_that_fail_together_count_once(circuit: RelayCircuit) -> None:
    for _ in range(4):
        circuit.record(UNREACHABLE, NOW)
    assert circuit.closed_until == NOW + seconds(30)


def test_an_hour_of_wrong_password_is_at_most_seven_logins_and_one_alarm(circuit: RelayCircuit) -> None:
    logins, alarms = 0, []
    for second in range(3600):
        now = NOW + seconds(second)
        if circuit.may_connect(now):
            logins += 1
            alarms.append(circuit.record(WRONG_PASSWORD, now))
    assert logins == 7
    assert [alarm for alarm in alarms if alarm] == [circuit.alarm]


def test_a_message_that_goes_through_opens_it_and_ends_the_alarm(circuit: RelayCircuit) -> None:
    assert circuit.record(WRONG_PASSWORD, NOW)
    assert circuit.may_connect(NOW + seconds(30))
    circuit.record(ACCEPTED, NOW + seconds(31))
    assert circuit.alarm is None
    assert [circuit.may_connect(NOW + seconds(31)) for _ in range(4)] == [True] * 4
    circuit.record(UNREACHABLE, NOW + seconds(40))
    assert circuit.closed_until == NOW + seconds(70)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (WRONG_PASSWORD, "SMTP_PASSWORD. It said 535 5.7.8."),
        (WRONG_SENDER, "permissions. It said 550 5.7.1."),
        (NO_STARTTLS, "certificate."),
        (classify(Phase.CONNECT, Break.TLS), "certificate."),
        (classify(Phase.RCPT, Reply(550, "5.1.8 sender unknown")), "SENDER_ADDRESS"),
    ],
)
def test_an_alarm_says_what_to_mend_and_never_the_servers_words(
    circuit: RelayCircuit, verdict: Verdict, words: str
) -> None:
    alarm = circuit.record(verdict, NOW)
    assert alarm is not None
    assert words in alarm
    assert "amina" not in alarm
    assert alarm == circuit.alarm


def test_a_long_outage_becomes_an_alarm(circuit: RelayCircuit) -> None:
    now, alarms = NOW, []
    for _ in range(ALARM_AFTER + 2):
        alarms.append(circuit.record(UNREACHABLE, now))
        assert circuit.closed_until is not None
        now = circuit.closed_until
        assert circuit.may_connect(now)
    assert [alarm is not None for alarm in alarms] == [False] * (ALARM_AFTER - 1) + [True, False, False]
    assert now - NOW > timedelta(minutes=15)


def test_a_connection_lost_by_chance_closes_nothing_but_a_row_of_them_does(circuit: RelayCircuit) -> None:
    for _ in range(BREAKS_IN_A_ROW - 1):
        circuit.record(CUT_OFF, NOW)
    assert circuit.may_connect(NOW)
    circuit.record(ACCEPTED, NOW)
    for _ in range(BREAKS_IN_A_ROW):
        assert circuit.may_connect(NOW)
        circuit.record(CUT_OFF, NOW)
    assert not circuit.may_connect(NOW)


def test_chance_stretches_a_wait_by_no_more_than_a_quarter() -> None:
    circuit = RelayCircuit(draw=lambda: 1.0)
    circuit.record(UNREACHABLE, NOW)
    assert circuit.closed_until == NOW + seconds(37.5)
