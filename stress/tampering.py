"""
Random edits behind the registry's back: does `history.verify` find every one of them?

    python stress/tampering.py --database sqlite:////tmp/stress.db

Builds a registry with a varied history. For each case it copies the file, edits the copy (see
`edits.py`) and verifies it: with an earlier anchor, which must find every edit, and without one,
which may overlook a restored earlier state and a history rewritten with all its hashes. Prints
counts by kind of edit, and each edit that passed but should not have, or that made the verification
raise an error that is not the registry's; then it exits with 1. That must happen with `--without`,
which takes out a check.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from unittest.mock import ANY
from uuid import UUID

from capsule_registry import (
    Anchor,
    CapsuleManifest,
    CapsuleRegistry,
    CapsuleRegistryError,
    UplinkDescriptor,
    sqlite_module,
)
from capsule_registry.history import replay, verification
from support import edits

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIX: Final = "sqlite:///"
#: The checks that `--without` can take out.
_CHECKS: Final = {
    "hash": (replay, "sha256_of_lines"),
    "anchor": (verification, "_verify_anchor"),
    "head": (verification, "_verify_head"),
    "live": (verification, "_compare_live_rows"),
}
_EDITS: Final[dict[str, edits.Edit]] = {
    "value changed": edits.change_value,
    "row deleted": edits.delete_row,
    "rows swapped": edits.swap_rows,
    "row inserted": edits.insert_row,
    "event replayed": edits.replay_event,
    "value spelled otherwise": edits.spell_otherwise,
    "value of another type": edits.retype,
    "tail cut": edits.cut_tail,
    "history rewritten": edits.rewrite,
}
_PUT_BACK, _WRITTEN_ANEW = "end put back", "end written anew"
#: What cannot be found without an anchor.
_MAY_PASS: Final = [("passed", kind) for kind in ("history rewritten", _PUT_BACK, _WRITTEN_ANEW)]


class Loaded:
    """A capsule that has every member, `source_dir` and a state included."""

    source_dir, state, state_reason = "/opt/capsules", "failed", "no reason"

    def __init__(self, name: str, chance: random.Random) -> None:
        tool = {"name": "t", "description": "d", "input_schema": {"strict": True}}
        self.tools = chance.choice([[], [tool, {**tool, "name": "reported"}]])
        self.manifest = CapsuleManifest.model_validate(
            {
                "package": {"name": name, "version": f"0.{chance.randrange(3)}.0"},
                "uplink": [{"name": "u", "platform": "cli", "profile": "chat"}],
                "capabilities": {"net": ["a", "b"], "kv": ["c"], "uplink": True},
                "tool": [tool],
            }
        )


def change_something(registry: CapsuleRegistry, chance: random.Random) -> None:
    """Make one random change, which a later one may undo."""
    name, uuid = f"capsule-{chance.randrange(5)}", UUID(int=chance.randrange(10))
    match chance.randrange(6):
        case 0:
            uplink = UplinkDescriptor(name="by hand", platform="discord", metadata={"a": "b"})
            registry.register_uplink(name, uplink)
        case 1:
            registry.unregister_uuid(uuid)
        case 2 | 3:
            registry.register_uuid(uuid, name)
        case _ if name in registry:
            registry.unregister(name)
        case _:
            registry.register(Loaded(name, chance), uuids=[uuid])


@dataclass
class Built:
    """Copies of the file after each change, with the anchor taken then."""

    directory: Path
    copies: dict[int, tuple[Path, Anchor]] = field(default_factory=dict)
    #: The revisions to tamper with: one before the pruning, and one after it.
    victims: list[int] = field(default_factory=list)

    def do(self, file: Path, change: Callable[[CapsuleRegistry], object]) -> None:
        """Make one change, and keep a copy."""
        with CapsuleRegistry.open(f"{_PREFIX}{file}") as registry:
            change(registry)
            anchor = registry.history.anchor()
        copy = shutil.copy(file, self.directory / f"{anchor.revision}.db")
        self.copies[anchor.revision] = (Path(copy), anchor)


def build(file: Path, directory: Path, chance: random.Random) -> Built:
    """Make the history; half-way, prune its first third."""
    built = Built(directory)
    built.do(file, CapsuleRegistry.drain)
    fill(built, file, "first", chance)
    _, anchor = built.copies[sorted(built.copies)[len(built.copies) // 3]]
    built.do(file, lambda registry: registry.history.prune(anchor))
    fill(built, file, "second", chance)
    return built


def fill(built: Built, file: Path, name: str, chance: random.Random) -> None:
    """Make random changes, then some that are never undone."""
    for _ in range(20):
        built.do(file, partial(change_something, chance=chance))
    for number in range(edits.TAIL):
        capsule = Loaded(f"{name}-{number}", chance)
        built.do(file, partial(CapsuleRegistry.register, capsule=capsule))
    built.victims.append(max(built.copies))


def tamper(built: Built, kind: str, file: Path, chance: random.Random) -> tuple[str, Anchor]:
    """Make *file* a copy with an edit of *kind*; return where, and the anchor taken before."""
    victim = chance.choice(built.victims)
    original, anchor = built.copies[victim]
    if kind not in _EDITS:
        earlier = chance.choice([number for number in built.copies if number < victim])
        shutil.copy(built.copies[earlier][0], file)
        if kind == _WRITTEN_ANEW:
            write_on(file, chance, victim - earlier + chance.randint(-1, 1))
        return f"revision {earlier}", anchor
    before = edits.load(original)
    while True:
        after = deepcopy(before)
        try:
            where = _EDITS[kind](after, chance)
            shutil.copy(original, file)
            edits.store(file, before, after)
        except (sqlite_module.Error, TypeError, ValueError):
            continue  # The database refuses it, or it cannot be hashed.
        if edits.load(file) != before:
            return where, anchor


def write_on(file: Path, chance: random.Random, count: int) -> None:
    """Continue the history in another way."""
    with CapsuleRegistry.open(f"{_PREFIX}{file}") as registry:
        for number in range(max(1, count)):
            registry.register(Loaded(f"other-{number}", chance))


def verdict(file: Path, anchor: Anchor | None) -> str:
    """Return `found` or `passed` for *file*, or the name of an error not the registry's."""
    try:
        with CapsuleRegistry.open(f"{_PREFIX}{file}", read_only=True) as registry:
            return "passed" if registry.history.verify(anchor).ok else "found"
    except CapsuleRegistryError:
        return "found"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
        return type(error).__name__


@dataclass
class Tally:
    """Counts of cases by kind: all, those found, and those that went wrong."""

    cases: Counter[str] = field(default_factory=Counter)
    with_anchor: Counter[str] = field(default_factory=Counter)
    without: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, where: str, seen: str, blind: str) -> None:
        """Count a case, with its verdicts with and without an anchor."""
        self.cases[kind] += 1
        self.with_anchor[kind] += seen == "found"
        self.without[kind] += blind == "found"
        if seen != "found":
            self.wrong[f"{seen}: {kind}: {where}"] += 1
        elif blind != "found" and (blind, kind) not in _MAY_PASS:
            self.wrong[f"{blind} without an anchor: {kind}: {where}"] += 1

    def report(self) -> None:
        """Print the counts, and each place where something went wrong."""
        print(f"{'':24} cases  found with an anchor  without")
        for kind, count in self.cases.items():
            print(f"{kind:24} {count:5} {self.with_anchor[kind]:21} {self.without[kind]:8}")
        for what, count in sorted(self.wrong.items()):
            print(f"{count} {what}")


def main() -> int:
    """Build the registry, tamper with it, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="sqlite:///FILE, for this alone")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--without", choices=_CHECKS, help="a check to take out, as a control")
    options = parser.parse_args()

    if options.without:
        module, name = _CHECKS[options.without]
        setattr(module, name, lambda *_: ANY)
    chance, tally = random.Random(options.seed), Tally()  # noqa: S311 - nothing secret
    with TemporaryDirectory() as directory:
        built = build(Path(options.database.removeprefix(_PREFIX)), Path(directory), chance)
        print(
            "histories of {} revisions, and of {}, a part of which was pruned".format(
                *built.victims
            )
        )
        file = Path(directory) / "case.db"
        for kind in islice(cycle([*_EDITS, _PUT_BACK, _WRITTEN_ANEW]), options.cases):
            where, anchor = tamper(built, kind, file, chance)
            tally.add(kind, where, verdict(file, anchor), verdict(file, None))
    tally.report()
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
