"""Single writes: `register` and `unregister`."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleRegistry
from support.capsules import capsule_id, manifest, session
from support.comparison import Finding, Pairs, Target, batches, each, in_turn, timed
from support.orm import registering
from support.raw import connect
from support.rows import Rows, head_revision, without_triggers, write
from support.setting import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from capsule_registry import CapsuleManifest
    from support.comparison import Round
    from support.databases import Databases
    from support.setting import Setting

_AT_ONCE: Final = 20
_RAW_WRITES: Final = "BEGIN, head lock, a statement a table, head update, COMMIT"


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of single writes."""
    pairs = _registers(setting, setting.files, _raw)
    yield pairs.times_as_fast("register, SQLite FULL / sqlite3, the same rows", 0.5)
    pairs = _registers(setting, setting.files, registering)
    yield pairs.times_as_fast("register, SQLite FULL / SQLAlchemy ORM without history", 2)
    for server in setting.servers:
        pairs = _registers(setting, server, _raw)
        name = f"register, {server.title} / {connect(server.new()).name}"
        target = 0.75 if server.title == "MariaDB" else 0.8
        yield pairs.times_as_fast(name, target, _RAW_WRITES)
    if not setting.servers:
        name = "register, PostgreSQL, MariaDB / the driver"
        yield Finding.not_run(name, "no --database", Target(0.8))
    yield from _unregisters(setting)


def _raw(url: str) -> Callable[[Rows], None]:
    """Return a function that writes rows by the driver alone; on SQLite without triggers."""
    raw = connect(url)
    if raw.name == "sqlite3":
        without_triggers(raw)
    return lambda rows: write(raw, rows)


def _registers(
    setting: Setting, databases: Databases, writing: Callable[[str], Callable[[Rows], None]]
) -> Pairs:
    """Compare registering with *writing* the resulting rows."""
    url = databases.new()
    made: list[Rows] = []
    reader = connect(url)

    def read_back(given: Sequence[CapsuleManifest]) -> None:
        head = head_revision(reader)
        made[:] = [
            Rows.of_revision(reader, revision)
            for revision in range(head - len(given) + 1, head + 1)
        ]

    with CapsuleRegistry.open(url, actor="benchmark") as registry:
        pairs = in_turn(
            batches(manifest, each(registry.register), _AT_ONCE, read_back),
            _writing(writing(databases.new()), made),
            setting.rounds(21),
        )
    reader.close()
    return pairs


def _writing(work: Callable[[Rows], None], made: list[Rows]) -> Round:
    return lambda: timed(each(work), made)


def _unregisters(setting: Setting) -> Iterator[Finding]:
    small, large = setting.sessions(SMALL), setting.sessions(setting.large)
    with CapsuleRegistry.open(small) as few, CapsuleRegistry.open(large) as many:
        pairs = in_turn(
            _unregistering(many, setting.large // 10),
            _unregistering(few, SMALL // 10),
            setting.rounds(21),
        )
    what = f"unregister at {setting.large:,} UUIDs"
    yield pairs.times_as_long(f"{what} / at 1,000", 2)
    yield _against_scan(what, pairs.ours, setting)


def _unregistering(registry: CapsuleRegistry, size: int) -> Round:
    """Return a round that unregisters scattered capsules and registers them again, untimed."""
    numbers = count()

    def once() -> float:
        chosen = [next(numbers) * 7919 % size for _ in range(_AT_ONCE)]
        seconds = timed(each(registry.unregister), [capsule_id(one) for one in chosen])
        for one in chosen:
            given = [session(one * 10 + place) for place in range(10)]
            registry.register(manifest(one), uuids=given)
        return seconds

    return once


def _against_scan(what: str, ours: Sequence[float], setting: Setting) -> Finding:
    """Compare with the original's way: filter all UUIDs and all uplinks by their owner."""
    capsules = [capsule_id(number) for number in range(setting.large // 10)]
    filed = {str(session(number)): capsules[number // 10] for number in range(setting.large)}
    uplinks = dict(enumerate(capsules * 2))

    def retain(wanted: str) -> None:
        for held in (filed, uplinks):
            {key: owner for key, owner in held.items() if owner != wanted}

    scans = [
        timed(each(retain), [capsule_id(number * 7919 % len(capsules))])
        for number in range(len(ours))
    ]
    target = None if setting.is_quick else 50
    return Pairs(ours, scans).times_as_fast(f"{what} / scanning a dict", target)
