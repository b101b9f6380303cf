"""What a form sent: read once, within limits, checked against the names a page expects, and shown again when wrong.

What the values mean is for the use cases; here they are texts.
"""

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self, TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from db.sealed import UNREADABLE
from db.vault import VaultError
from scheduler.errors import InvalidInput

PROOF: Final = "form_token"  # proves that our own page sent it
PIN: Final = "unlock_pin"  # a locked page sends what was typed again, with the PIN
SECRETS: Final = frozenset({"password", "old_password", "pin", "code"})  # never shown again in a page
BODY_SECONDS: Final = 20.0  # for a form to come whole, and
SLOWEST: Final = 20_000  # bytes in each second more: a large file over a slow line
MOST_FIELDS: Final = 1_200  # a board of 500 lines with its choices
M = TypeVar("M", bound="FormModel")


class FormModel(BaseModel):
    """The fields one page takes, all of them texts. A name that is not in it is refused: nobody adds fields of her own.

    `groups` names fields that collect all names with a prefix: `{"record": "field."}`; `files` those that are files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    groups: ClassVar[Mapping[str, str]] = {}
    files: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def read(cls, request: Request) -> Self:
        """The form as sent. Raises 400 for a name that is not expected, or one given twice that is single."""
        sent: FormData = request.state.form
        values: dict[str, Any] = {name: {} for name in cls.groups}
        for name, value in sent.multi_items():
            if name == PROOF:
                continue
            if isinstance(value, UploadFile):
                if name in cls.files:
                    continue
                raise HTTPException(400)
            value = value.replace("\r\n", "\n")  # browsers send line ends of long texts so, whatever was typed
            group = next((group for group, prefix in cls.groups.items() if name.startswith(prefix)), None)
            if group is not None:
                values[group][name.removeprefix(cls.groups[group])] = value
            elif name in cls._repeated():
                values.setdefault(name, []).append(value)
            elif name in values:
                raise HTTPException(400)
            else:
                values[name] = value
        try:
            return cls.model_validate(values)
        except ValidationError:
            raise HTTPException(400) from None

    @classmethod
    def _repeated(cls) -> frozenset[str]:
        return frozenset(name for name, info in cls.model_fields.items() if "tuple" in str(info.annotation))


class EmptyForm(FormModel):
    """A button."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a form: the field it is about, or None for the whole form, and a sentence."""

    field: str | None
    label: str
    words: str

    @property
    def sentence(self) -> str:
        """With the field's label: for the summary above the form."""
        return f"{self.label}: {self.words}" if self.label else self.words


@dataclass(frozen=True, slots=True)
class Filled:
    """A form as a page shows it: what is in its fields, and what is wrong with them."""

    values: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[Problem] = ()

    def value(self, name: str) -> Any:
        """What is in a field; empty when nothing is."""
        return self.values.get(name, "")

    def problem(self, name: str) -> str | None:
        """What is wrong with a field, or None."""
        words = next((found.words for found in self.problems if found.field == name), None)
        return words and words[:1].upper() + words[1:]


class Unlikely(InvalidInput):
    """A time that looks like a slip and may be right: the page asks about `at` once."""

    def __init__(self, at: str, words: str) -> None:
        super().__init__(words)
        self.at = at


def filled(form: BaseModel, error: Exception | None = None, labels: Mapping[str, str] | None = None) -> Filled:
    """A form shown again as it was typed, with what a use case found wrong."""
    values: dict[str, Any] = {}
    for name, value in form.model_dump().items():
        prefix = form.groups.get(name) if isinstance(form, FormModel) else None
        if prefix is None:
            values[name] = value
        else:
            values |= {f"{prefix}{key}": text for key, text in value.items()}
    if any(value == UNREADABLE for value in values.values()):  # sent back, it would be stored as what she is called
        raise VaultError("a form is filled with nothing that does not open")
    return Filled(values, problems_of(error, labels or {}) if error else ())


def problems_of(error: Exception, labels: Mapping[str, str]) -> list[Problem]:
    """What a use case found wrong, by the field it is about: its messages begin with the field's name.

    `labels` are the fields of the page by their names in messages (`field lot` is `field.lot` on a page); a message
    about a field that the page does not have is about the whole form.
    """
    lines = list(error.problems) if isinstance(error, InvalidInput) else [str(error)]
    found = []
    for line in lines:
        name, colon, rest = line.partition(": ")
        key = name.replace("field ", "field.", 1) if name.startswith("field ") else name
        if colon and key in labels:
            found.append(Problem(key, labels[key], rest))
        else:
            found.append(Problem(None, "", line[:1].upper() + line[1:]))
    return found


async def read_body(request: Request, most_bytes: int) -> None:
    """Read a form once, within its limits, for whoever looks at it later. Raises 400, 408, 411, 413 or 415."""
    request.state.form = FormData()
    request.state.pin = None
    if request.method != "POST":
        return
    length = request.headers.get("content-length")
    if length is None or not (length.isascii() and length.isdigit()):
        raise HTTPException(411)
    if int(length) > most_bytes:
        raise HTTPException(413)
    if int(length) == 0:
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise HTTPException(415)
    try:
        async with asyncio.timeout(BODY_SECONDS + int(length) / SLOWEST):
            sent = await _parse(request, kind, most_bytes)
    except TimeoutError:
        raise HTTPException(408) from None
    except ClientDisconnect:  # whoever sent it has gone: nothing broke, and nobody reads the answer
        raise HTTPException(400) from None
    pin = sent.get(PIN)
    request.state.pin = pin if isinstance(pin, str) else None
    request.state.form = FormData([item for item in sent.multi_items() if item[0] != PIN])


class _InMemory(MultiPartParser):
    """Keeps a file in memory however large: what is sent may name patients, and a temporary file is a file."""

    spool_max_size = sys.maxsize  # a request is no larger than its page allows


async def _parse(request: Request, kind: str, most_bytes: int) -> FormData:
    if kind != "multipart/form-data":
        return await request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=most_bytes)
    try:
        async with aclosing(request.stream()) as stream:
            parser = _InMemory(request.headers, stream, max_files=1, max_fields=MOST_FIELDS, max_part_size=most_bytes)
            form = await parser.parse()
    except MultiPartException:
        raise HTTPException(400) from None
    request._form = form  # what `Request.close` closes at the end of the answer
    return form


def sent_items(request: Request) -> Iterable[tuple[str, str]]:
    """All text fields of a form as sent but secrets, for a page that has to send them again."""
    sent = request.state.form.multi_items()
    return [(name, value) for name, value in sent if isinstance(value, str) and name not in SECRETS]


def upload_of(request: Request, name: str) -> UploadFile | None:
    """The file of that name, or None when none was chosen."""
    found = request.state.form.get(name)
    return found if isinstance(found, UploadFile) and found.filename else None
