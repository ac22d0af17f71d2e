"""`register_many`: speed and memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleRegistry
from support.capsules import manifest
from support.comparison import Finding, Target, each, in_turn, timed
from support.raw import connect
from support.rows import Rows, head_revision, without_triggers, write_many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.comparison import Pairs
    from support.databases import Databases
    from support.setting import Setting

_CAPSULES: Final = 10_000
_ON_SERVERS: Final = 2_000
#: As many as fit in one revision.
_FEW: Final = 1_000


#: How many times as fast as the driver alone, by database.
_TARGETS: Final = {"SQLite": 0.35, "PostgreSQL": 0.6, "MariaDB": 0.55}


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of bulk verbs."""
    size = _CAPSULES // 10 if setting.is_quick else _CAPSULES
    for databases in (setting.files, *setting.servers):
        of = min(size, _ON_SERVERS) if databases.is_server else size
        pairs, name = _register_many(databases, of, setting.rounds(3))
        yield pairs.times_as_fast(
            f"register_many, {of:,} capsules, {databases.title} / {name}", _TARGETS[databases.title]
        )
    yield _memory(setting, 2_000 if setting.is_quick else 5_000)


def _register_many(databases: Databases, size: int, rounds: int) -> tuple[Pairs, str]:
    """Compare with `executemany` of the same rows, each time into a new database."""
    made: list[Rows] = []

    def ours() -> float:
        url = databases.new()
        given = [manifest(number) for number in range(size)]
        with CapsuleRegistry.open(url, actor="benchmark") as registry:
            seconds = timed(registry.register_many, given)
        raw = connect(url)
        made[:] = [Rows.of_revision(raw, revision) for revision in range(2, head_revision(raw) + 1)]
        raw.close()
        return seconds

    def baseline() -> float:
        raw = connect(databases.new())
        if raw.name == "sqlite3":
            without_triggers(raw)
        seconds = timed(each(partial(write_many, raw)), made)
        raw.close()
        return seconds * len(made) / size

    pairs = in_turn(ours, baseline, rounds, unmeasured=0)
    return pairs, f"{connect(databases.new()).name} executemany"


def _memory(setting: Setting, size: int) -> Finding:
    """
    Compare the peak memory, less what is returned, for many capsules and for few.

    Runs in processes of their own, since tracing allocations takes time.
    """
    found = []
    for number in (size, _FEW):
        url = setting.files.new()
        command = [sys.executable, __file__, url, str(number)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - this file
        found.append(float(done.stdout))
    name = f"register_many, memory for {size:,} / for {_FEW:,}"
    target = Target(1.2, is_least=False)
    ratio = found[0] / found[1]
    return Finding(name, found[:1], found[1:], [ratio], target, "MB", "beyond what is returned")


def main() -> None:
    """Print the peak megabytes of `register_many`, less what it returns."""
    url, size = sys.argv[1:]
    with CapsuleRegistry.open(url) as registry:
        registry.register(manifest(int(size)))
        tracemalloc.start()
        returned = registry.register_many(manifest(number) for number in range(int(size)))
        left, highest = tracemalloc.get_traced_memory()
        print((highest - left) / 1e6)
        del returned


if __name__ == "__main__":
    main()
