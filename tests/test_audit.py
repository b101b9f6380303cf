"""The audit chain: whoever changes it by hand is found, and writers at the same time keep one chain."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db import audit
from db.audit import ChainFinding
from db.engine import Store
from db.staff import AuditEvent
from db.types import new_id
from scheduler.clock import FastClock

pytestmark = pytest.mark.both

PATIENT = UUID(int=5)


def write_events(store: Store, clock: FastClock, count: int = 6) -> None:
    """Events 1 to `count`, two in each transaction."""
    for number in range(0, count, 2):
        with store.write(f"cli:desk{number}", clock.now() + timedelta(microseconds=number)) as session:
            audit.record(session, "patient.change", "patient", PATIENT, PATIENT, fields=["phone", "email"])
            audit.record(session, "patient.view", "patient", PATIENT, PATIENT)


def tamper(store: Store, statement: str, **values: object) -> None:
    """Change the table as somebody with the database's password could."""
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text(statement), values)


def findings(store: Store, anchors: Path | None = None) -> list[ChainFinding]:
    with store.read() as session:
        return audit.verify(session, anchors)[1]


def test_an_untouched_chain_holds(store: Store, clock: FastClock) -> None:
    write_events(store, clock)
    with store.read() as session:
        assert audit.verify(session) == (6, [])
        newest = audit.list_events(session)[0]
        assert (newest.number, newest.actor, newest.action) == (6, "cli:desk4", "patient.view")
        assert audit.list_events(session, patient_id=new_id()) == []


def test_an_empty_chain_holds(store: Store) -> None:
    assert findings(store) == []


def test_events_hold_names_of_fields_and_never_values(store: Store, clock: FastClock) -> None:
    write_events(store, clock, 2)
    with store.read() as session:
        assert [event.fields for event in audit.list_events(session)] == [[], ["email", "phone"]]


def test_a_transaction_that_fails_leaves_no_event(store: Store, clock: FastClock) -> None:
    def fail(session: Session) -> None:
        audit.record(session, "patient.view", "patient", PATIENT)
        session.flush()
        raise RuntimeError("broke")

    with pytest.raises(RuntimeError, match="broke"), store.write("test", clock.now()) as session:
        fail(session)
    with store.read() as session:
        assert audit.verify(session) == (0, [])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", 1),
        ("actor", "cli:nobody"),
        ("action", "patient.view "),
        ("subject", "treatment"),
        ("subject", None),
        ("subject_id", "5"),
        ("patient_id", None),
        ("fields", '["email"]'),
        ("previous_mac", b"\0" * 32),
        ("mac", b"\0" * 32),
    ],
)
def test_a_change_of_any_column_is_found(store: Store, clock: FastClock, column: str, value: object) -> None:
    write_events(store, clock)
    cast = "CAST(:value AS json)" if column == "fields" and not store.is_sqlite else ":value"
    tamper(store, f"UPDATE audit_events SET {column} = {cast} WHERE number = 3", value=value)
    assert 3 in {finding.number for finding in findings(store)}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "x"),
        ("at", 1e30),
        ("patient_id", "zz"),
        ("actor", b"\xff"),
        ("fields", "{"),
        ("fields", "5"),
        ("mac", "x"),
        ("previous_mac", ""),
    ],
)
def test_what_is_no_value_of_its_column_is_found_and_the_rest_is_still_looked_at(
    sqlite_store: Store, clock: FastClock, column: str, value: object
) -> None:
    write_events(sqlite_store, clock)
    tamper(sqlite_store, f"UPDATE audit_events SET {column} = :value WHERE number = 3", value=value)
    tamper(sqlite_store, "UPDATE audit_events SET actor = 'cli:nobody' WHERE number = 6")
    assert {3, 6} <= {finding.number for finding in findings(sqlite_store)}
    assert ChainFinding(3, "was changed after it was written") in findings(sqlite_store)


@pytest.mark.parametrize(
    "line",
    [
        b'{"number": 1e999}',
        b'{"number": 4, "seal": "\xc3\xa9"}',
        b'{"number": 4, "seal": "\\ud800"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_line_of_the_anchors_that_is_none_is_found_and_stops_neither_verifying_nor_anchoring(
    sqlite_store: Store, clock: FastClock, tmp_path: Path, line: bytes
) -> None:
    anchors = tmp_path / "anchors.jsonl"
    write_events(sqlite_store, clock)
    anchors.write_bytes(line + b"\n")
    with sqlite_store.read() as session:
        assert audit.write_anchor(session, anchors, clock.now()) is True
    found = findings(sqlite_store, anchors)
    assert [finding.problem for finding in found] == ["has an anchor that was changed"]


def test_a_deleted_event_is_found(store: Store, clock: FastClock) -> None:
    write_events(store, clock)
    tamper(store, "DELETE FROM audit_events WHERE number = 3")
    assert findings(store) == [ChainFinding(3, "is missing")]


def test_a_deleted_event_is_found_when_the_others_are_numbered_again(store: Store, clock: FastClock) -> None:
    write_events(store, clock)
    tamper(store, "DELETE FROM audit_events WHERE number = 3")
    for number in (4, 5, 6):
        tamper(store, "UPDATE audit_events SET number = :new WHERE number = :old", new=number - 1, old=number)
    tamper(store, "UPDATE audit_head SET number = 5")
    assert {finding.number for finding in findings(store)} >= {3, 4, 5}


def test_an_inserted_event_is_found(store: Store, clock: FastClock) -> None:
    write_events(store, clock)
    tamper(
        store,
        "INSERT INTO audit_events SELECT 7, at, actor, action, subject, subject_id, patient_id, fields, mac, mac"
        " FROM audit_events WHERE number = 6",
    )
    found = {(finding.number, finding.problem) for finding in findings(store)}
    assert (7, "was changed after it was written") in found
    assert (7, "is not what the chain's head says") in found


def test_events_in_another_order_are_found(store: Store, clock: FastClock) -> None:
    write_events(store, clock)
    for new, old in ((99, 2), (2, 3), (3, 99)):
        tamper(store, "UPDATE audit_events SET number = :new WHERE number = :old", new=new, old=old)
    assert {finding.number for finding in findings(store)} >= {2, 3}


def test_a_tail_that_was_cut_off_is_found(store: Store, clock: FastClock) -> None:
    write_events(store, clock)
    tamper(store, "DELETE FROM audit_events WHERE number > 4")
    assert findings(store) == [ChainFinding(6, "is missing: the end of the chain was cut off")]


def test_a_cut_tail_with_a_mended_head_is_found_against_the_anchor(
    store: Store, clock: FastClock, tmp_path: Path
) -> None:
    anchors = tmp_path / "anchors.jsonl"
    write_events(store, clock)
    with store.read() as session:
        assert audit.write_anchor(session, anchors, clock.now()) is True
        assert audit.write_anchor(session, anchors, clock.now()) is False
    tamper(store, "DELETE FROM audit_events WHERE number > 4")
    tamper(store, "UPDATE audit_head SET number = 4, mac = (SELECT mac FROM audit_events WHERE number = 4)")
    assert findings(store) == []
    assert findings(store, anchors) == [ChainFinding(6, "was anchored outside the database and is missing")]
    # Also when the chain has grown over the cut since.
    write_events(store, clock, 2)
    assert findings(store, anchors) == [ChainFinding(6, "differs from the anchor kept outside the database")]


def test_a_chain_without_head_is_found(store: Store, clock: FastClock) -> None:
    write_events(store, clock)
    tamper(store, "DELETE FROM audit_head")
    assert ChainFinding(7, "the chain has no head") in findings(store)


@pytest.mark.parametrize(
    "edit",
    [
        lambda line: line.replace('"number": 6', '"number": 5'),
        lambda line: json.dumps({**json.loads(line), "mac": "00" * 32}),
        lambda line: json.dumps({**json.loads(line), "seal": "00" * 32}),
        lambda line: line[:20],
        lambda line: "[]",
        lambda line: '{"number": 6}',
    ],
)
def test_a_changed_anchor_is_found(
    sqlite_store: Store, clock: FastClock, tmp_path: Path, edit: Callable[[str], str]
) -> None:
    anchors = tmp_path / "anchors.jsonl"
    write_events(sqlite_store, clock)
    with sqlite_store.read() as session:
        audit.write_anchor(session, anchors, clock.now())
    anchors.write_text(edit(anchors.read_text().strip()) + "\n")
    assert "has an anchor that was changed" in {finding.problem for finding in findings(sqlite_store, anchors)}


def test_an_empty_chain_is_not_anchored(store: Store, clock: FastClock, tmp_path: Path) -> None:
    with store.read() as session:
        assert audit.write_anchor(session, tmp_path / "anchors.jsonl", clock.now()) is False
    assert findings(store, tmp_path / "anchors.jsonl") == []


def test_writers_at_the_same_time_keep_one_chain(store: Store, clock: FastClock) -> None:
    errors: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for _ in range(10):
                with store.write(name, clock.now()) as session:
                    audit.record(session, "patient.view", "patient", PATIENT, PATIENT)
                    audit.record(session, "patient.change", "patient", PATIENT, PATIENT)
        except BaseException as error:  # noqa: BLE001 (told to the test below)
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"cli:{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with store.read() as session:
        assert audit.verify(session) == (120, [])
        assert {event.actor for event in session.query(AuditEvent)} == {f"cli:{number}" for number in range(6)}
