"""`Sealed("email")`: a text attribute whose column holds only ciphertext.

A column type cannot know its row, so this is a descriptor: it binds table, column and row id into the seal
and finds the patient's data key through the row's session.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, overload
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, object_session

from db.vault import Erased, Vault, VaultError

UNREADABLE: Final = "(cannot be opened)"  # stands where a value was, in sessions of `Store.show` only


class Sealed:
    """A sealed text over the bytes column `<name>_sealed` of a row that belongs to one patient.

    Reading or writing needs the row to be in a session of `db.engine.Store` and to have its ids.
    Raises `VaultError` when it has not or the value was damaged, `Erased` when the patient's key was destroyed; in a
    session that only shows, a value that does not open is `UNREADABLE`, so that one damaged row hides no other.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.column = f"{name}_sealed"

    @overload
    def __get__(self, row: None, owner: type) -> "Sealed": ...
    @overload
    def __get__(self, row: Any, owner: type) -> str | None: ...
    def __get__(self, row: Any, owner: type) -> "Sealed | str | None":
        if row is None:
            return self
        stored = getattr(row, self.column)
        if stored is None:
            return None
        session = _session(row)
        try:
            return open_bytes(session, row.patient_id, self._place(row), stored).decode()
        except VaultError:
            if "damaged" not in session.info:
                raise
            session.info["damaged"].add(self._place(row))
            return UNREADABLE

    def __set__(self, row: Any, value: str | None) -> None:
        sealed = None
        if value is not None:
            sealed = seal_bytes(_session(row), row.patient_id, self._place(row), value.encode())
        setattr(row, self.column, sealed)

    def _place(self, row: Any) -> str:
        return place(row.__tablename__, self.name, row.id)


class SealedFields(Sealed):
    """A sealed JSON object: record fields as staff entered them, text to text."""

    def __get__(self, row: Any, owner: type) -> Any:
        text = super().__get__(row, owner)
        if isinstance(text, Sealed):
            return self
        if text is UNREADABLE:
            return {"record": UNREADABLE}
        return {} if text is None else json.loads(text)

    def __set__(self, row: Any, value: Any) -> None:
        super().__set__(row, fields_text(value))


def fields_text(fields: Mapping[str, Any]) -> str | None:
    """Record fields as the text that is sealed; without any, nothing is stored."""
    return json.dumps(dict(fields), ensure_ascii=False, sort_keys=True) if fields else None


def place(table: str, column: str, row_id: UUID) -> str:
    """The identity bound into a seal."""
    return f"{table}|{column}|{row_id.hex}"


def vault_of(session: Session) -> Vault:
    """The vault a session was opened with."""
    found = session.info.get("vault")
    if not isinstance(found, Vault):
        raise VaultError("this session was opened without keys; use db.engine.Store")
    return found


def seal_bytes(session: Session, patient_id: UUID, at: str, plain: bytes) -> bytes:
    """Seal bytes with a patient's data key, loading it when it is not at hand."""
    vault = vault_of(session)
    if not vault.knows(patient_id):
        learn_keys(session, [patient_id])
    return vault.seal(patient_id, at, plain)


def open_bytes(session: Session, patient_id: UUID, at: str, sealed: bytes) -> bytes:
    """Open bytes with a patient's data key, loading it when it is not at hand."""
    vault = vault_of(session)
    if not vault.knows(patient_id):
        learn_keys(session, [patient_id])
    return vault.open(patient_id, at, sealed)


def learn_keys(session: Session, patient_ids: Iterable[UUID]) -> None:
    """Bring the data keys of these patients to hand with one query. Raises `Erased` for a destroyed one.

    A session that only shows goes on: what such a key sealed is then `UNREADABLE`.
    """
    from db.records import PatientKey  # the model uses this module for its own columns

    vault = vault_of(session)
    wanted = {patient_id for patient_id in patient_ids if not vault.knows(patient_id)}
    if not wanted:
        return
    rows = session.execute(select(PatientKey.patient_id, PatientKey.wrapped).where(PatientKey.patient_id.in_(wanted)))
    shows = "damaged" in session.info
    for patient_id, wrapped in rows:
        try:
            vault.learn(patient_id, wrapped)
        except VaultError:
            if not shows:
                raise
        wanted.discard(patient_id)
    if wanted and not shows:
        raise Erased(f"the data key of patient {min(wanted)} does not exist: the patient was erased")


def _session(row: Any) -> Session:
    session = object_session(row)
    if session is None:
        raise VaultError(f"{type(row).__name__}: add the row to a session before touching a sealed value")
    return session
