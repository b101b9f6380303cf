"""The real PostgreSQL of the tests, for the bench: `tests/postgres.py`, taken by its file.

Outside pytest the name `tests` belongs to a package that one of the development packages brings along.
"""

import importlib.util
from typing import TYPE_CHECKING

from bench.sink import ROOT

if TYPE_CHECKING:
    from tests.postgres import SUPERUSER, PostgresServer
else:
    _spec = importlib.util.spec_from_file_location("bench_postgres", ROOT / "tests" / "postgres.py")
    _module = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_module)
    SUPERUSER, PostgresServer = _module.SUPERUSER, _module.PostgresServer

__all__ = ["SUPERUSER", "PostgresServer"]
