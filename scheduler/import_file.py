"""Reading a CSV file for `import`: its encoding, its separator, its columns, and each row with its line in the file.

What the cells mean is checked in `scheduler.import_rows`.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from scheduler.errors import InvalidInput

PATIENT_COLUMNS: Final = (
    "record_number",
    "given_name",
    "family_name",
    "preferred_name",
    "email",
    "birth_date",
    "time_zone",
    "language",
    "level",
    "consent",
    "confirmed",
    "phone",
    "call_safe",
    "contact_note",
)
TREATMENT_COLUMNS: Final = ("protocol", "treated_at", "treated_zone", "review_booked_at", "clinician")
COLUMNS: Final = (*PATIENT_COLUMNS, *TREATMENT_COLUMNS)
FIELD: Final = "field."

MAX_BYTES: Final = 32 * 1024 * 1024  # read whole into memory; 20,000 rows with long notes are about half of it
MAX_ROWS: Final = 20_000  # written in one transaction, which has to stay well under SQLITE_BUSY_SECONDS
SHOWN_PROBLEMS: Final = 200  # more than anyone mends in one go; the rest is counted

_UTF16_OR_32: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_SAVE_AS: Final = 'save it again as "CSV UTF-8"'


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row: the line of the file on which it begins, and its cells by column name; empty cells are left out."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file as read; `digest` is the SHA-256 of its bytes in hex."""

    columns: Sequence[str]
    rows: Sequence[FileRow]
    digest: str


def told(problems: Sequence[str]) -> InvalidInput:
    """All problems as one error; of a great many the first ones and their count."""
    more = len(problems) - SHOWN_PROBLEMS
    if more <= 0:
        return InvalidInput(*problems)
    return InvalidInput(*problems[:SHOWN_PROBLEMS], f"… and {more} more problems; nothing was imported")


def read_file(path: Path) -> ImportFile:
    """Read a file. Raises `InvalidInput` with every problem of its form, each row's with its line."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InvalidInput(f"{path.name} is larger than {MAX_BYTES // 2**20} MB; import it in parts")
        raw = path.read_bytes()
    except OSError as wrong:
        raise InvalidInput(f"{path.name} cannot be read: {wrong.strerror}") from None
    return parse(raw, path.name)


def parse(raw: bytes, name: str) -> ImportFile:
    """Read a file's bytes; `name` is how problems call it."""
    text = _decode(raw, name)
    separator = _separator(text)
    problems: list[str] = []
    records = _records(text, separator, problems)
    head = next(records, None)
    if head is None:
        raise InvalidInput(*problems or [f"{name} is empty: the first line has to name the columns"])
    columns, wrong = _columns(*head)
    if wrong:
        raise told(wrong)
    rows: list[FileRow] = []
    for line, cells in records:
        if len(rows) == MAX_ROWS:
            raise InvalidInput(f"{name} has more than {MAX_ROWS} rows; import it in parts")
        row, problem = _row(line, cells, columns)
        problems += [problem] if problem else []
        rows += [row] if row else []
    if problems:
        raise told(problems)
    if not rows:
        raise InvalidInput(f"{name} has no row below the line that names the columns")
    return ImportFile([column for column in columns if column], rows, hashlib.sha256(raw).hexdigest())


def _decode(raw: bytes, name: str) -> str:
    if raw.startswith(b"PK\x03\x04"):
        raise InvalidInput(f"{name} is a workbook, not a CSV file: open it and {_SAVE_AS}")
    if raw.startswith(_UTF16_OR_32):
        raise InvalidInput(f"{name} is written in UTF-16 or UTF-32: {_SAVE_AS}")
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise InvalidInput(f"{name}, line {line}: holds a NUL byte, so it is no UTF-8 text: {_SAVE_AS}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        # Counted in what was decoded: the position is one in the bytes after the mark.
        found = wrong.object
        line = bytes(found[: wrong.start]).count(b"\n") + 1
        raise InvalidInput(
            f"{name}, line {line}: byte 0x{found[wrong.start]:02X} is no UTF-8; "
            f"the file is perhaps written in Windows-1252: {_SAVE_AS}"
        ) from None


def _separator(text: str) -> str:
    """Comma or semicolon: whichever gives the first line more columns that we know."""
    first = next((line for line in text.splitlines() if line.strip()), "")

    def known(separator: str) -> tuple[int, int]:
        cells = [cell.strip().strip('"').strip() for cell in first.split(separator)]
        return sum(cell in COLUMNS or cell.startswith(FIELD) for cell in cells), len(cells)

    return max(",;", key=known)


def _records(text: str, separator: str, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the line on which it begins; a quoted cell may span lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            trimmed = [cell.strip() for cell in cells]
            if any(trimmed):
                yield line, trimmed
            line = reader.line_num + 1
    except csv.Error as wrong:
        problems.append(f"line {line}: {_quoting_problem(str(wrong))}")


def _quoting_problem(said: str) -> str:
    if "unexpected end" in said:
        return 'a quotation mark is opened in this row and never closed; a " inside a cell is written twice'
    if "field limit" in said:
        return f"a cell is longer than {csv.field_size_limit()} characters; is a closing quotation mark missing?"
    return 'something follows a closing quotation mark; a " inside a cell is written twice'


def _columns(line: int, head: Sequence[str]) -> tuple[list[str], list[str]]:
    """Column names in their order (an unnamed one is empty) and all that is wrong with them."""
    problems = []
    first: dict[str, int] = {}
    for place, column in enumerate(head, start=1):
        if column in first:
            problems.append(f"line {line}, {column}: this column is there twice, as column {first[column]} and {place}")
        elif column and column not in COLUMNS and not (column.startswith(FIELD) and column != FIELD):
            problems.append(f"line {line}, {_short(column)}: there is no such column; {_meant(column)}")
        if column:
            first.setdefault(column, place)
    if len(head) == 1 and "\t" in head[0]:
        return list(head), [f"line {line}: the columns are separated by tabs; write commas or semicolons"]
    named = set(first)
    if "record_number" not in named:
        missing = [column for column in ("given_name", "family_name") if column not in named]
        problems += [f"line {line}, {column}: this column is missing" for column in missing]
    if "protocol" in named and "treated_at" not in named:
        problems.append(f"line {line}, treated_at: this column is missing; a treatment needs its date and time")
    if "protocol" not in named:
        stray = [name for name in first if name in TREATMENT_COLUMNS or name.startswith(FIELD)]
        if stray:
            problems.append(
                f"line {line}, protocol: this column is missing; {', '.join(stray)} would belong to no treatment"
            )
    return list(head), problems


def _meant(column: str) -> str:
    plain = column.casefold().replace(" ", "_").replace("-", "_")
    near = get_close_matches(plain, COLUMNS, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"the columns are {', '.join(COLUMNS)} and field.<key>"


def _row(line: int, cells: Sequence[str], columns: Sequence[str]) -> tuple[FileRow | None, str | None]:
    if len(cells) < len(columns):
        return None, f"line {line}: has {len(cells)} cells, the first line names {len(columns)} columns"
    over = [(place, cell) for place, cell in enumerate(cells) if cell and not "".join(columns[place : place + 1])]
    if over:
        place, cell = over[0]
        return None, f"line {line}, column {place + 1}: the cell {_short(cell)} stands under no column name"
    named = zip(columns, cells, strict=False)
    return FileRow(line, {column: cell for column, cell in named if column and cell}), None


def _short(text: str) -> str:
    return f'"{text[:40]}…"' if len(text) > 40 else f'"{text}"'
