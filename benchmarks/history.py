"""
What the history costs.

A register with it against the same rows without; and verifying against reading the same rows and
hashing them.

    python benchmarks/history.py

SQLite, in a temporary directory, `synchronous=FULL`; the two are measured in turn (A B A B), and
the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from unittest.mock import patch
from uuid import uuid4

from sqlalchemy import update

from capsule_registry import CapsuleManifest, CapsuleRegistry, unit, units
from capsule_registry.tables import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

_TOOL: Final = {"name": "t", "description": "d", "input_schema": {}}
_UPLINKS: Final = [{"name": f"u{n}", "platform": "cli", "profile": "chat"} for n in range(2)]


def manifest(number: int) -> CapsuleManifest:
    """Return a manifest with two uplinks and two tools."""
    package = {"name": f"capsule-{number}", "version": "0.1.0"}
    tools = [{**_TOOL, "name": f"t{n}"} for n in range(2)]
    return CapsuleManifest.model_validate({"package": package, "uplink": _UPLINKS, "tool": tools})


def move_head(held: unit.Unit, *, actor: str, reason: str | None) -> None:  # noqa: ARG001 - as `close_unit`
    """Stand in for `close_unit`: move the head, and write no history."""
    statement = update(namespaces).where(namespaces.c.name == held.namespace)
    held.conn.execute(statement.values(revision=held.revision))


def file_nothing(*arguments: object, **options: object) -> None:
    """Stand in for what files an event."""


def seconds_to(work: Callable[[], object]) -> float:
    """Return how long *work* takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def price_of_a_register(directory: Path, rounds: int) -> float:
    """Return the time of a register with its history, by that of one without."""
    took: dict[bool, list[float]] = {True: [], False: []}
    registries = {
        kept: CapsuleRegistry.open(f"sqlite:///{directory}/{kept}.db") for kept in (True, False)
    }
    for number in range(rounds):
        candidate = manifest(number)
        took[True].append(seconds_to(lambda: registries[True].register(candidate)))  # noqa: B023 - called at once
        with (
            patch.object(units, "close_unit", move_head),
            patch.object(unit.Unit, "_file", file_nothing),
        ):
            took[False].append(seconds_to(lambda: registries[False].register(candidate)))  # noqa: B023
    for registry in registries.values():
        registry.close()
    medians = {kept: statistics.median(found) for kept, found in took.items()}
    print(f"register: {medians[True] * 1e6:.0f} us, without history {medians[False] * 1e6:.0f} us")
    return medians[True] / medians[False]


def read_and_hash(registry: CapsuleRegistry) -> None:
    """Read the rows of the history, and hash them."""
    digest = hashlib.sha256()
    with registry._database.engine.connect() as conn:  # noqa: SLF001 - the same connection
        for table in ("revisions", "events"):
            rows = conn.execution_options(yield_per=500).exec_driver_sql(f"SELECT * FROM {table}")  # noqa: S608 - of two names
            for row in rows:
                digest.update(repr(tuple(row)).encode())


def speed_of_verifying(directory: Path, revisions: int, rounds: int) -> float:
    """Return the speed of verifying, by that of reading the same rows and hashing them."""
    with CapsuleRegistry.open(f"sqlite:///{directory}/verify.db") as registry:
        uuids = [uuid4() for _ in range(100)]
        for number in range(revisions):
            with registry.transaction() as transaction:
                for uuid in uuids:
                    transaction.register_uuid(uuid, f"c{number % 7}")
        took: dict[str, list[float]] = {"verifying": [], "reading": []}
        for _ in range(rounds):
            took["verifying"].append(seconds_to(registry.history.verify))
            took["reading"].append(seconds_to(lambda: read_and_hash(registry)))
        count = registry.history.verify().event_count
    medians = {name: statistics.median(found) for name, found in took.items()}
    print(f"{count} events: " + ", ".join(f"{k} {v:.2f} s" for k, v in medians.items()))
    return medians["reading"] / medians["verifying"]


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registers", type=int, default=500)
    parser.add_argument("--revisions", type=int, default=200, help="of about 200 events each")
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        price = price_of_a_register(Path(directory), options.registers)
        print(f"history: {price:.2f} times as long")
        speed = speed_of_verifying(Path(directory), options.revisions, rounds=5)
        print(f"verify: {speed:.2f} of the speed of reading and hashing")


if __name__ == "__main__":
    main()
