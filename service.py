"""The program: the command line, and the one place where the parts are put together.

Commands are in `commands/`, what they call in `scheduler/`.
"""

import asyncio
import gc
import os
import signal
import socket
import sys

if __name__ == "__main__":
    gc.disable()  # until all is imported: looking for garbage in that is a tenth of a start, and there is none

from collections.abc import Callable
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import OperationalError

from commands.context import Door, print_error, print_line
from db.advisory import Presence
from db.engine import Store, UnsafeDatabase, check_engine, make_engine
from db.migrations import SchemaTooNew, StillAtWork, current, head
from db.migrations import migrate as migrate_schema
from db.staff import AuditHead
from db.vault import KeyRing, Vault, VaultError, read_key_file, watch_key_file, write_key_file
from scheduler import approvals, kill_points
from scheduler.clinic import Clinic
from scheduler.clock import Clock, SystemClock
from scheduler.errors import AftercareError, InvalidInput, NeedsConfirmation, Refused
from scheduler.library import Library
from scheduler.logs import log, own_frames, setup_logs
from scheduler.mime import MailWriter
from scheduler.mime import Sender as MailSender
from scheduler.sending_lock import SendingLock
from scheduler.settings import Settings, load_settings
from scheduler.stop_log import StopLog
from scheduler.stop_log import path_of as stop_log_path

if TYPE_CHECKING:
    from scheduler.sender import Sender

CHECK_SECONDS = 1.0  # how often `run` looks whether one of its tasks has ended
PRESENCE_EVERY = 10  # of these looks: far below the silence after which the database takes it for gone

# The first word of a command line, and what of `commands/` answers it; `migrate`, `run` and `send-due` are below.
COMMANDS = {
    "plan": ("treatment", "plan"),
    "reminders": ("reminder", "reminders"),
    "preview": ("reminder", "preview"),
    "import": ("record_import", "import_"),
    "lot": ("lot", "lot"),
    "bounce": ("bounce", "bounce"),
    "check": ("operate", "check"),
    "status": ("operate", "status"),
    "hold": ("gate", "hold"),
    "release": ("gate", "release"),
    "backup": ("backup", "backup"),
    "restore": ("backup", "restore"),
    "move-record": ("record_move", "move_record"),
    "demo": ("demo", "demo"),
    "patient": ("patient", "app"),
    "treatment": ("treatment", "app"),
    "event": ("treatment", "event_app"),
    "reminder": ("reminder", "app"),
    "protocol": ("library", "protocol_app"),
    "template": ("library", "template_app"),
    "audit": ("operate", "audit_app"),
    "keys": ("keys", "app"),
    "staff": ("staff", "app"),
}


def make_app(word: str | None = None) -> typer.Typer:
    """All commands; with a word that is one of them, that one alone: the others' imports are half of a start."""
    app = typer.Typer(
        name="aftercare",
        help="Aftercare: a clinic's record of treatments and the follow-up that comes from it.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # a traceback with locals would show patients' data
    )
    app.callback()(prepare)
    own = {"migrate": migrate, "run": run, "send-due": send_due}
    asked = COMMANDS if word not in (*COMMANDS, *own) else [word] if word in COMMANDS else []
    for name in asked:
        module, part = COMMANDS[name]
        found = getattr(import_module(f"commands.{module}"), part)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    for name, command in own.items():
        app.command(name)(command)
    return app


def prepare(context: typer.Context) -> None:
    """Read the settings only when a command needs them."""
    context.obj = Door(
        open=lambda: open_clinic(_settings()),
        open_with=open_clinic,
        settings=_settings,
        clock=lambda: SystemClock(),
        serve=serve,
    )


def open_clinic(settings: Settings, clock: Clock | None = None) -> Clinic:
    """Put the parts together over the settings' database: a new one is made, an outdated one is refused.

    Raises `Refused`, `UnsafeDatabase` or `VaultError` saying what is wrong and what would be right.
    """
    clock = clock or SystemClock()
    engine = make_engine(settings.database_url)
    found = current(engine)
    if found is None:
        migrate_schema(engine)
    elif found != head():
        raise Refused(f"the database has schema {found}, this program needs {head()}: run migrate")
    check_engine(engine)
    vault = Vault(_keys(settings, engine), watch_key_file(settings.keys_file))
    store = Store(engine, vault, StopLog(stop_log_path(settings), vault).note)
    store.on_damage = lambda places: log().error("sealed_unreadable", places=places)  # tables, columns and ids
    found_library = Library(settings.protocol_folders, settings.template_folders, settings.clinic_language)
    writer = MailWriter(
        MailSender(settings.sender_address, settings.sender_name, settings.reply_to, settings.message_domain)
    )
    return Clinic(
        settings=settings,
        store=store,
        clock=clock,
        library=found_library,
        writer=writer,
    )


def _keys(settings: Settings, engine: Engine) -> KeyRing:
    """The key file's ring; made for an empty record, never for one that has been written with another."""
    if not settings.keys_file.exists():
        with engine.connect() as connection:
            written = connection.execute(select(AuditHead.number)).scalar_one()
        if written:
            raise VaultError(
                f"there is no key file at {settings.keys_file}, and the record was written with one: "
                "put back the copy that belongs to it"
            )
        write_key_file(settings.keys_file, KeyRing.make())
    return read_key_file(settings.keys_file)


def migrate() -> None:
    """Bring the database schema to this program's; nothing is lost, and a second run changes nothing."""
    settings = _settings()
    lock = SendingLock(settings.lock_file)
    if settings.database_url.startswith("sqlite"):
        lock.take(_holder("migrate"))
    changed = _migrate(settings)
    lock.release()
    print_line(f"The schema is {head()} now." if changed else f"The schema is {head()} already.")


def run(
    no_web: Annotated[bool, typer.Option("--no-web", help="no pages, no /health")] = False,
    no_sending: Annotated[bool, typer.Option("--no-sending", help="pages only; nothing leaves")] = False,
) -> None:
    """Run the service until SIGTERM: what is on the wire finishes, nothing is lost."""
    settings = _settings()
    setup_logs(settings.log_level)
    lock = SendingLock(settings.lock_file)
    if not no_sending and settings.database_url.startswith("sqlite"):
        lock.take(_holder("run"))
    _migrate(settings)
    clinic = open_clinic(settings)
    for problem in approvals.read_files(clinic, "service"):
        print_error(problem)
    asyncio.run(serve(clinic, web=not no_web, sending=not no_sending))
    lock.release()


async def serve(clinic: Clinic, web: bool, sending: bool, asks_second_factor: bool = True) -> None:
    """Send and answer until SIGTERM or SIGINT; a second signal ends at once. Raises when a part of it has died."""
    from scheduler.accounts.front_door import FrontDoor
    from scheduler.accounts.staff import first_link
    from scheduler.sender import Sender
    from web.app import ROUTES, make_app  # a fifth of the start of every command, and only this one needs it
    from web.server import WebServer

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)  # the second signal: nothing is lost either way
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    servers: list[WebServer] = []
    sender: Sender | None = None
    presence = Presence(clinic.store.engine)
    try:
        _be_present(presence, clinic)
        if web:
            host, port = clinic.settings.listen_address
            door = FrontDoor(clinic, asks_second_factor=asks_second_factor)
            staff = make_app(clinic, ROUTES, door)
            server = WebServer(staff, host, port)
            if clinic.settings.public_url is not None:
                from web.private.app import ByName, make_private_app

                patients = make_private_app(clinic)
                server = WebServer(ByName(staff, patients, clinic.settings.public_url), host, port)
                if clinic.settings.patient_address is not None:
                    servers.append(WebServer(patients, *clinic.settings.patient_address))
                    await servers[0].start()
            servers.append(server)
            bound = await server.start()
            first = first_link(clinic, door.now())
        if sending:
            sender = Sender(clinic)
            await sender.start()
            if web:
                staff.state.signs = sender.signs
        _look_for_garbage()
        if not web:
            log().info("ready")
        else:
            print_line(f"Aftercare is here: http://{host}:{bound}/ (this machine only). Ctrl-C stops it.")
            if first is not None:
                print_line(f"Make the first account: http://{host}:{bound}/join/{first} (works once, for three days)")
            log().info("ready", host=host, port=bound)
        await _until(stop, sender, lambda: _be_present(presence, clinic))
    finally:
        if sender is not None:
            await sender.stop()
        for each in servers:
            await each.stop()
        presence.release()
        log().info("stopped")


async def _until(stop: asyncio.Event, sender: "Sender | None", be_present: Callable[[], None]) -> None:
    """Wait for a stop; a task of the sender that died, or a schema that changed, ends the service.

    Whoever watches it notices.
    """
    for second in count(1):
        try:
            await asyncio.wait_for(stop.wait(), CHECK_SECONDS)
        except TimeoutError:
            broken = sender.broken() if sender else None
            if broken is not None:
                raise broken from None
        if stop.is_set():
            return
        if second % PRESENCE_EVERY == 0:
            try:
                await asyncio.to_thread(be_present)
            except OperationalError as away:  # the next one tries again
                log().warning("database_away", error=type(away).__name__)


def _be_present(presence: Presence, clinic: Clinic) -> None:
    """Say on PostgreSQL that we work with this schema, so that nobody changes it. Raises `Refused` when it was."""
    if presence.keep():
        found = current(clinic.store.engine)
        if found != head():
            raise Refused(f"the database has schema {found} now, this program works with {head()}: start the newer one")


def send_due(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be sent")] = False,
) -> None:
    """Send what is due now, once, then exit."""
    from commands.sending import print_due, print_sent
    from scheduler.sender import Sender

    settings = _settings()
    if dry_run:
        print_due(open_clinic(settings))
        return
    setup_logs(settings.log_level)
    lock = SendingLock(settings.lock_file)
    if settings.database_url.startswith("sqlite"):
        lock.take(_holder("send-due"))
    clinic = open_clinic(settings)
    before = clinic.clock.now()
    asyncio.run(Sender(clinic).send_once())
    print_sent(clinic, before)
    lock.release()


def _migrate(settings: Settings) -> bool:
    """Bring the schema to head. Every statement on the way is a point where the crash tests end the process."""
    engine = make_engine(settings.database_url)
    event.listen(engine, "after_cursor_execute", lambda *_: kill_points.reach("in_migration"))
    return migrate_schema(engine)


def _settings() -> Settings:
    """The settings; a crash test's point is armed by them."""
    settings = load_settings()
    if settings.kill_point:
        kill_points.arm(settings.kill_point.name, settings.kill_point.marker, settings.kill_point.nth)
    return settings


def _look_for_garbage() -> None:
    """From here on; what the start has made stays, and is not looked at again."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _holder(command: str) -> str:
    return f"{command}, process {os.getpid()} on {socket.gethostname()}"


def main() -> None:
    """Run a command. Exit 0 done, 1 it failed or found something, 2 the input or a setting is invalid."""
    word = sys.argv[1] if len(sys.argv) > 1 else None
    os.umask(0o077)  # what is written here names patients or proves what was done: it is for this user alone
    try:
        app = make_app(word)
        if word != "run":
            _look_for_garbage()
        app()
    except (InvalidInput, NeedsConfirmation) as wrong:
        print_error(str(wrong))
        sys.exit(2)
    except (AftercareError, VaultError, UnsafeDatabase, SchemaTooNew, StillAtWork) as failed:
        print_error(str(failed))
        sys.exit(1)
    except OperationalError as failed:
        # The driver's words name files and hosts, never values: parameters are hidden.
        print_error(f"the database cannot be used: {str(failed.orig).strip()}")
        sys.exit(1)
    except OSError as failed:
        place = f": {failed.filename}" if failed.filename else ""
        print_error(f"{failed.strerror or type(failed).__name__}{place}")
        sys.exit(1)
    except Exception as failed:  # noqa: BLE001 (one command: a traceback would print what the record holds)
        where = ", ".join(own_frames(failed.__traceback__)[-2:])
        print_error(
            f"Aftercare broke down here ({type(failed).__name__} at {where}). What was being written was not written. "
            "Please report this line; it holds nothing about a patient."
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
