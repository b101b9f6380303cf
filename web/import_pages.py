"""Importing a file on the screen: sending it, a dry run to look at, entering it held; the list of batches; a template.

One batch is in `web.batch_pages`, the file between its check and its import in `web.uploads`.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response

from db.batches import count_waiting_by_batch
from db.states import Past
from scheduler import imports
from scheduler.clinic import Clinic
from scheduler.csv_cells import csv_bytes
from scheduler.errors import InvalidInput, Refused
from scheduler.import_file import FIELD, MAX_BYTES, MAX_ROWS, PATIENT_COLUMNS, TREATMENT_COLUMNS, parse
from scheduler.import_sheet import Brings, SheetLine, sheet_of
from web.doors import me_of
from web.forms import EmptyForm, Filled, FormModel, filled, upload_of
from web.long_work import Progress, Told, start
from web.pages import clinic_of, download, go_to, page, refusal
from web.seen import note_view
from web.times import Say
from web.uploads import Upload, uploads_of

MOST_BYTES: Final = 33 * 2**20  # the largest file and the form around it
SHOWN_ROWS: Final = 50
SHOWN_BATCHES: Final = 50
THE_FILE: Final = "the file"  # how problems call it: its own name may name a patient
GONE: Final = (
    "this file is not here any more: it was entered, another took its place, or half an hour has passed\n"
    "choose the file again; entering one twice changes nothing"
)
LABELS: Final = {"file": "File", "past": "What has passed already"}
PAST_OPTIONS: Final = (
    ("", "As each protocol says"),
    (Past.SKIP.value, "Leave it out"),
    (Past.ASK.value, "Hold it, and let staff decide about each"),
    (Past.SEND.value, "Send it after all"),
)
_PROBLEM: Final = re.compile(r"line (?P<line>\d+)(?:, (?P<column>[^:]+))?: (?P<words>.*)", re.DOTALL)
_PATIENT_SET: Final = re.compile(r"use patient set (?P<id>[0-9a-f-]{36})")


class FileForm(FormModel):
    """A file, and what becomes of steps that are past."""

    files: ClassVar[frozenset[str]] = frozenset({"file"})

    past: str = ""


class DigestForm(FormModel):
    """The file that was looked at."""

    digest: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Finding:
    """One thing about a file: where, and what. `patient_id`: whose page mends it."""

    line: str
    column: str
    words: str
    patient_id: UUID | None = None


def import_page(request: Request) -> Response:
    """Where a file is sent, and what was imported before."""
    return _page(request, filled(FileForm()))


def check(request: Request) -> Response:
    """Take a file and check it: nothing is entered."""
    form, clinic, me = FileForm.read(request), clinic_of(request), me_of(request)
    sent = upload_of(request, "file")
    content = sent.file.read() if sent is not None else b""
    try:
        past = _read_past(form.past)
        if sent is None:
            raise InvalidInput("file: choose a CSV file")
        if len(content) > MAX_BYTES:
            raise InvalidInput(f"file: is larger than {MAX_BYTES // 2**20} MB; import it in parts")
    except InvalidInput as wrong:
        return _page(request, filled(form, wrong, LABELS), 422)
    name, uploads = (sent.filename or "")[:100], uploads_of(request)
    note_view(request, "import.checked", "import")

    def run(progress: Progress) -> str:
        uploads.keep(_look(clinic, me.actor, me.session_id, name, content, past, progress))
        return "/import/check"

    return start(request, "Checking the file", run, "/import")


def check_page(request: Request) -> Response:
    """The dry run: what the file would bring, or all that is wrong with it."""
    upload = uploads_of(request).find(me_of(request).session_id)
    if upload is None:
        return go_to("/import")
    clinic = clinic_of(request)
    say = Say(clinic, clinic.clock.now())
    note_view(request, "import.viewed", "import")
    return page(
        request,
        "import/check.html",
        upload=upload,
        report=upload.report,
        problems=[finding_of(problem) for problem in upload.problems],
        warnings=[finding_of(warning) for warning in upload.report.warnings] if upload.report else [],
        lines=[_shown(line, say) for line in upload.sheet],
        past=dict(PAST_OPTIONS)[upload.past.value if upload.past else ""],
    )


def enter(request: Request) -> Response:
    """Enter the file that was looked at; its plans are held until somebody releases them."""
    form, clinic, me = DigestForm.read(request), clinic_of(request), me_of(request)
    upload = uploads_of(request).take(me.session_id, form.digest)
    if upload is None or upload.report is None:
        return refusal(request, Refused(GONE), "/import")

    def run(progress: Progress) -> str | Told:
        report = imports.run_import(
            clinic,
            me.actor,
            parse(upload.content, THE_FILE),
            past=upload.past,
            hold=True,
            progress=progress,
            shown=upload.report,
        )
        if report.batch_id is None:
            return Told("Nothing was entered", ["All of the file is in the record already."], "/import")
        return f"/import/{report.batch_id}?done={'imported' if report.treatments else 'imported-people'}"

    return start(request, "Entering the file", run, "/import")


def drop(request: Request) -> Response:
    """Forget the file that was looked at."""
    EmptyForm.read(request)
    uploads_of(request).drop(me_of(request).session_id)
    return go_to("/import", "file-forgotten")


def columns(request: Request) -> Response:
    """An empty file with the right columns: a patient's, and those of one protocol's treatments."""
    clinic, key = clinic_of(request), request.query_params.get("protocol", "")
    heads: list[str] = list(PATIENT_COLUMNS)
    if key:
        with clinic.store.show() as session:
            protocol = clinic.library.shelf(session).for_new_treatment(key).protocol
        heads += [*TREATMENT_COLUMNS, *(f"{FIELD}{field.key}" for field in protocol.fields)]
    return download(csv_bytes(heads, []), "text/csv; charset=utf-8", f"import-{key or 'patients'}.csv")


def finding_of(text: str) -> Finding:
    """A problem or a note by line and column, its advice for this screen instead of the command line."""
    found = _PROBLEM.fullmatch(text)
    if found is None:
        return Finding("", "", text[:1].upper() + text[1:])
    words, patient_id = found["words"], None
    mend = _PATIENT_SET.search(words)
    if mend is not None:
        patient_id = UUID(mend["id"])
        words = words.replace(mend[0], "change it on the patient’s page")
    return Finding(found["line"], found["column"] or "", words[:1].upper() + words[1:], patient_id)


def _look(
    clinic: Clinic, actor: str, session_id: UUID, name: str, content: bytes, past: Past | None, progress: Progress
) -> Upload:
    """Check a file; with problems its content is of no further use and is not kept."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        file = parse(content, THE_FILE)
        checked, report = imports.look_at(clinic, actor, file, past, hold=True, progress=progress)
    except InvalidInput as wrong:
        return Upload(session_id, name, digest, b"", past, None, (), 0, tuple(wrong.problems))
    sheet = sheet_of(checked, SHOWN_ROWS)
    return Upload(session_id, name, digest, content, past, report, sheet, len(file.rows), ())


def _page(request: Request, form: Filled, status: int = 200) -> Response:
    clinic = clinic_of(request)
    with clinic.store.show() as session:
        waiting = count_waiting_by_batch(session)
        shelf = clinic.library.shelf(session)
    batches = imports.list_batches(clinic)
    protocols = {shelved.protocol.key: shelved.protocol.title for shelved in shelf.protocols.values()}
    return page(
        request,
        "import/import.html",
        status,
        form=form,
        past_options=PAST_OPTIONS,
        batches=[(batch, waiting.get(batch.id, 0)) for batch in batches[:SHOWN_BATCHES]],
        more=len(batches) > SHOWN_BATCHES,
        protocols=sorted((title, key) for key, title in protocols.items() if key not in shelf.retired),
        kept=uploads_of(request).find(me_of(request).session_id),
        most_rows=MAX_ROWS,
        most_mb=MAX_BYTES // 2**20,
    )


def _shown(line: SheetLine, say: Say) -> dict[str, Any]:
    """One row of the dry run in words."""
    facts: Sequence[str] = [
        f"born {_born(line.born)}" if line.born else "",
        f"no. {line.record_number}" if line.record_number else "",
    ]
    return {
        "line": line.line,
        "name": line.name or "the patient of that number",
        "facts": " · ".join(fact for fact in facts if fact),
        "email": line.email,
        "address": "read back and right" if line.confirmed else "not confirmed: nothing is sent until it is",
        "consent": {"all": "everything", "none": "nothing", "": "not recorded"}.get(line.consent, line.consent),
        "treatment": line.treatment,
        "treated": _local(line.treated_local) + (f" ({line.zone})" if line.zone and line.zone != say.zone else ""),
        "booked": _local(line.booked_local),
        "clinician": line.clinician,
        "brings": _brings(line),
    }


def _brings(line: SheetLine) -> tuple[str, str]:
    if line.brings is Brings.PATIENT:
        return "green", "a new patient" + (" and a treatment" if line.treatment else "")
    if line.brings is Brings.TREATMENT:
        whose = "a patient of the record" if line.of_the_record else "a patient of an earlier row"
        return "green", f"one more treatment of {whose}"
    return "quiet", "nothing: it is known already"


def _born(born: date) -> str:
    return f"{born.day} {born:%B %Y}"


def _local(text: str) -> str:
    """A wall time of a file with its year: a wrong one is what people look for here."""
    if not text:
        return ""
    wall = datetime.fromisoformat(text)
    return f"{wall:%A} {wall.day} {wall:%B %Y %H:%M}"


def _read_past(word: str) -> Past | None:
    if not word:
        return None
    try:
        return Past(word)
    except ValueError:
        raise InvalidInput("past: choose one of the list") from None
