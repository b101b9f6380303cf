"""What `make test` takes of the long sweeps: a part, chosen by the seed of the run; `make whole` takes everything.

- `@pytest.mark.sweep(share)`: of a test's cases that share, at least one.
- `@pytest.mark.long`: of all tests so marked a third. Each is one long look at something that rarely breaks.
- A use case that runs on both kinds of database (the fixture `desk`) always runs on SQLite; on PostgreSQL a third do in
  each run. What is about the database itself runs on both: the fixture `store`, and what is marked `both`.

A run prints its seed (`Using --randomly-seed`); with it and `--sample` the same tests are chosen again.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from zlib import crc32

import pytest

PART = 1 / 3
MARKS = (
    "sweep(share): of many like cases, `make test` takes that share",
    "long: one of a few long tests, of which `make test` takes a third",
    "both: it is about the database: it always runs on both kinds",
)


def choose(items: Iterable[pytest.Item], seed: object) -> set[pytest.Item]:
    """The tests that are left out."""
    groups: dict[tuple[str, float], list[pytest.Item]] = defaultdict(list)
    for item in items:
        group = _group(item)
        if group is not None:
            groups[group].append(item)
    left_out: set[pytest.Item] = set()
    for (_, share), group_items in groups.items():
        group_items.sort(key=lambda item: crc32(f"{seed} {item.nodeid}".encode()))
        left_out.update(group_items[math.ceil(len(group_items) * share) :])
    return left_out


def _group(item: pytest.Item) -> tuple[str, float] | None:
    """What an item is chosen among, and how much of that is taken; None: it always runs."""
    sweep = item.get_closest_marker("sweep")
    if sweep is not None:
        return item.nodeid.partition("[")[0], float(sweep.args[0])
    if item.get_closest_marker("long") is not None:
        return "long", PART
    spec = getattr(item, "callspec", None)
    twin = spec is not None and spec.params.get("draft_desk") == "postgresql"
    if twin and item.get_closest_marker("both") is None:
        return item.nodeid.partition("::")[0], PART
    return None
