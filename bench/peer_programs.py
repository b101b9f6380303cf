"""The peers as contestants: which parts each needs, how its store is filled, and how it is started.

The peers themselves are in `bench/peers`; they run in `.bench-venv`, which `make bench` prepares.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contestant import CannotPrepare, Contestant, Kind, LeftOut
from bench.postgres import SUPERUSER, PostgresServer
from bench.sink import ROOT, free_port, wait_for_port

PYTHON = ROOT / ".bench-venv" / "bin" / "python"
NODE_PARTS = ROOT / ".bench-venv" / "node"  # package.json, its lock, node_modules and the program
Store = Callable[[Path], str]


class Redis:
    """A Redis of the bench's own, its log flushed every second; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        words = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder)]
        words += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)  # noqa: S603 (our own words)
        self.pid = self._process.pid

    def empty(self) -> None:
        """Forget what the turn before left."""
        words = ["redis-cli", "-p", str(self.port), "flushall"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 (our own words)

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def redis_here(folder: Path) -> Iterator[Redis | None]:
    """A Redis, or None where there is no program for one."""
    if not (shutil.which("redis-server") and shutil.which("redis-cli")):
        yield None
        return
    folder.mkdir()
    redis = Redis(folder)
    try:
        wait_for_port(redis.port)
        yield redis
    finally:
        redis.close()


def peer_words(module: str, *words: str) -> list[str]:
    """The words that run a program of `bench/peers`, from whatever folder."""
    return ["env", f"PYTHONPATH={ROOT}", str(PYTHON), "-m", f"bench.peers.{module}", *words]


def list_peers(messages: int, port: int, server: PostgresServer, redis: Redis | None) -> list[Contestant | LeftOut]:
    """Every peer that the issue names: one that can take part here, or why it cannot."""

    def on_postgres(turn: Path) -> str:
        server.drop("peer")
        server.create("peer")
        return f"host={server.folder} user={SUPERUSER} dbname=peer"

    def on_file(turn: Path) -> str:
        return str(turn / "store.db")

    def on_redis(turn: Path) -> str:
        if redis is None:
            raise CannotPrepare("there is no Redis")
        redis.empty()
        return str(redis.port)

    def python(name: str, module: str, store: Store, beside: int | None = None, ends_itself: bool = True) -> Contestant:
        return _contestant(name, peer_words(module), messages, port, store, beside, ends_itself)

    found: list[Contestant | LeftOut] = [
        python("django-post-office, SQLite", "post_office", on_file),
        python("django-post-office, PostgreSQL", "post_office", on_postgres, server.pid),
        python("procrastinate, PostgreSQL", "procrastinate_jobs", on_postgres, server.pid),
        python("huey, SQLite", "huey_queue", on_file, ends_itself=False),
    ]
    if not PYTHON.exists():
        found = [LeftOut(each.name, "there is no .bench-venv (make bench prepares it)") for each in found]
    celery, node = "Celery, Redis", "nodemailer+BullMQ, Redis"
    if redis is None:
        return [*found, LeftOut(celery, "there is no redis-server"), LeftOut(node, "there is no redis-server")]
    if PYTHON.exists():
        found.append(python(celery, "celery_queue", on_redis, redis.pid, ends_itself=False))
    else:
        found.append(LeftOut(celery, "there is no .bench-venv (make bench prepares it)"))
    if shutil.which("node") is None:
        found.append(LeftOut(node, "there is no node"))
    elif not (NODE_PARTS / "node_modules" / "bullmq").exists():
        found.append(LeftOut(node, "its packages are not in .bench-venv/node (make bench gets them with npm)"))
    else:
        words = ["node", str(NODE_PARTS / "bullmq_queue.mjs")]
        found.append(_contestant(node, words, messages, port, on_redis, redis.pid, ends_itself=False))
    return found


def _contestant(
    name: str,
    words: list[str],
    messages: int,
    port: int,
    store: Store,
    server: int | None,
    ends_itself: bool,
) -> Contestant:
    def prepare(turn: Path) -> list[str]:
        options = ["--messages", str(messages), "--port", str(port), "--store", store(turn)]
        done = subprocess.run([*words, "fill", *options], cwd=turn, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise CannotPrepare(f"{name} could not be filled: {done.stderr[-2_000:]}")
        return [*words, "send", *options]

    return Contestant(name, Kind.PEER, prepare, ends_itself=ends_itself, server=server)
