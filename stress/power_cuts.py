"""
The power fails while a registry in a file is written: is anything acknowledged lost, or half done?

    python stress/power_cuts.py --journal delete --cuts 400

`strace` records what one process does to the disk: it creates the default database with its
directories, commits units, each acknowledged, and makes a backup. Then the power is cut at random
moments: of what was not synchronised until then, of data and of names, nothing survives, or all, or
some. Every disk is opened with the library, which must find what was acknowledged, whole, or that
and the one unit that was on its way. `--without extra` is the control, for the rollback journal:
commits are undone by a journal that is back. Exits with 1 if anything was lost or broken.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from capsule_registry import CapsuleManifest, CapsuleRegistry, CapsuleRegistryError, RegistryAdmin
from capsule_registry.database.dialects import sqlite_library
from support import controls
from support.disk import CALLS, Call, Disk, calls
from support.servers import found

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRITER: Final = "--as-writer"
#: So many capsules are registered at a time: each unit adds one, and removes the oldest.
_AT_ONCE: Final = 3
_DATABASE: Final = "data/capsule-registry/registry.db"
_BACKUP: Final = "backup.db"
#: Which parts survive of the names and the data that were not synchronised; `None`: any.
_SURVIVORS: Final = ((0, 0), (0, 1), (1, 0), (1, 1), (None, 0.5))


def write(root: Path, units: int) -> None:
    """Commit *units* units in the default database, and say so after each."""
    with CapsuleRegistry.open() as registry:
        for number in range(1, units + 1):
            with registry.transaction() as transaction:
                uplink = {"name": "u", "platform": "cli", "profile": "chat"}
                package = {"name": f"c{number}", "version": "0.1.0"}
                manifest = CapsuleManifest.model_validate({"package": package, "uplink": [uplink]})
                transaction.register(manifest, uuids=[uuid4()])
                if number > _AT_ONCE:
                    transaction.unregister(f"c{number - _AT_ONCE}")
            _acknowledge(f"unit {number}")
    with RegistryAdmin.open(read_only=True) as admin:
        admin.backup(root / _BACKUP)
    _acknowledge("backup")


def _acknowledge(what: str) -> None:
    os.write(1, f"acknowledged {what}\n".encode())


def registered_after(units: int) -> set[str]:
    """Return what is registered after so many units."""
    return {f"c{number}" for number in range(max(1, units - _AT_ONCE + 1), units + 1)}


def record(root: Path, options: argparse.Namespace) -> list[Call]:
    """Return what a process that writes does to the disk at *root*, and its acknowledgements."""
    trace = root.with_name("trace")
    tracing = ["-f", "-y", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(trace)]
    arguments = ["--journal", options.journal, "--units", str(options.units), _WRITER, str(root)]
    if options.without:
        arguments += ["--without", options.without]
    environment = {**os.environ, "XDG_DATA_HOME": f"{root}/data"}
    for name in ("DATABASE", "NAMESPACE"):
        environment.pop(f"CAPSULE_REGISTRY_{name}", None)
    subprocess.run(
        [found("strace"), *tracing, sys.executable, __file__, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    return [*calls(trace.read_text())]


def disks(
    root: Path, recorded: list[Call], options: argparse.Namespace
) -> Iterator[tuple[list[str], dict[str, bytes]]]:
    """Yield what was acknowledged before each power cut, and the files after it."""
    chance = random.Random(options.seed)  # noqa: S311 - nothing secret
    disk, said = Disk(root), list[str]()
    moments = [number for number, call in enumerate(recorded) if disk.has(call) or _said(call)]
    # The last moments come after the backup, and so decide for it.
    at_the_end = [moments[-1]] * (options.cuts // 10)
    cuts = sorted([*chance.choices(moments, k=options.cuts - len(at_the_end)), *at_the_end])
    for number, call in enumerate(recorded):
        if disk.has(call):
            disk.run(call)
        elif what := _said(call):
            said.append(what)
        while cuts and cuts[0] == number:
            cuts.pop(0)
            names, data = chance.choice(_SURVIVORS)
            part = chance.random() if names is None else names
            yield [*said], disk.after_power_cut(chance, names=part, data=data)


def _said(call: Call) -> str | None:
    text = call.data.decode(errors="replace") if call.name == "write" else ""
    return text.removeprefix("acknowledged ").strip() if "acknowledged" in text else None


def wrong(said: list[str], files: dict[str, bytes], units: int) -> str | None:
    """Return what of that *said* is not in *files*, or is broken, when they are opened."""
    with TemporaryDirectory(prefix="capsule-registry-power-") as place:
        for name, content in files.items():
            path = Path(place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        done = sum(what.startswith("unit") for what in said)
        try:
            reason = _wrong_in(Path(place, _DATABASE), {done, min(done + 1, units)})
            if reason is None and "backup" in said:
                reason = _wrong_in(Path(place, _BACKUP), {units})
        except CapsuleRegistryError as error:
            return str(error)
    return reason


def _wrong_in(file: Path, possible: set[int]) -> str | None:
    if not file.exists():
        return None if 0 in possible else f"{file.name} is gone"
    with CapsuleRegistry.open(f"sqlite:///{file}") as registry:
        listed = set(registry.list())
        if listed not in [registered_after(units) for units in possible]:
            return f"after unit {min(possible)} of {file.name}: {sorted(listed)}"
        if not len(listed) == len(registry.uuids()) == len(registry.find_uplinks()):
            return "a unit is half done"
        if not registry.history.verify().ok:
            return "the history does not verify"
    with RegistryAdmin.open(f"sqlite:///{file}", read_only=True) as admin:
        checks = [one for one in admin.findings() if one.name in ("foreign keys", "integrity")]
        return next((f"{one.name}: {one.value}" for one in checks if one.problem), None)


def main() -> int:
    """Record, cut the power, and look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--journal", choices=("delete", "wal"), default="delete")
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--cuts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    controls.add_option(parser)
    parser.add_argument(_WRITER, metavar="ROOT", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # The library decides by this between the log and the rollback journal.
    sqlite_library.has_wal_reset_race = lambda version: options.journal == "delete"  # noqa: ARG005 - as there
    if options.as_writer:
        controls.take_out(options.without)
        write(options.as_writer, options.units)
        return 0

    with TemporaryDirectory(prefix="capsule-registry-power-") as place:
        root = Path(place).resolve() / "disk"
        root.mkdir()
        recorded = record(root, options)
        reasons = [
            reason
            for said, files in disks(root, recorded, options)
            if (reason := wrong(said, files, options.units)) is not None
        ]
    for reason in reasons[:10]:
        print(reason)
    print(f"{options.cuts} power cuts, {len(reasons)} of them lost or broke something acknowledged")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
