"""What stops a message whose envelope already travelled with the one before it: RSET, and not a byte of content."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from db.states import StopReason
from scheduler import gate_keeper, patients
from tests.smtp_script import Act
from tests.smtp_server import SmtpServer
from tests.test_sender import NOW, clinic_for, rows_of, send, stands

pytestmark = pytest.mark.both


async def test_a_stop_takes_back_the_envelope_that_went_ahead(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server, count=2)
        server.always("content", Act(delay=1.0))
        sending = asyncio.create_task(send(clinic, NOW + timedelta(seconds=1)))
        await server.until(lambda: "DATA" in server.verbs())
        first = next(line.partition("<")[2].rstrip(">") for _, line in server.commands if line.startswith("RCPT"))
        with clinic.store.read() as session:
            other = next(
                patient.id
                for patient in (patients.get(session, row.patient_id) for row in rows_of(clinic))
                if patient.email != first
            )
        await asyncio.to_thread(patients.stop, clinic, "test", other, StopReason.UNSAFE, "Her partner reads along")
        await sending
        assert [accepted.recipient for accepted in server.accepted] == [first]
        assert sorted(stands(row)[0] for row in rows_of(clinic)) == ["cancelled", "sent"]
        ahead = server.verbs()
        assert ahead.count("RCPT") == 2
        assert ahead[-2:] == ["RSET", "QUIT"]
        assert ahead.count("DATA") == 1
        clinic.store.engine.dispose()


async def test_a_closed_gate_takes_back_the_envelope_that_went_ahead(database_url: str, tmp_path: Path) -> None:
    async with SmtpServer() as server:
        clinic = clinic_for(tmp_path, database_url, server, count=3)
        server.always("content", Act(delay=1.0))
        sending = asyncio.create_task(send(clinic, NOW + timedelta(seconds=1)))
        await server.until(lambda: "DATA" in server.verbs())
        await asyncio.to_thread(gate_keeper.close, clinic, "test", "something is wrong")
        await sending
        assert len(server.accepted) == 1
        assert sorted(stands(row)[0] for row in rows_of(clinic)) == ["scheduled", "scheduled", "sent"]
        assert server.verbs().count("DATA") == 1
        clinic.store.engine.dispose()
