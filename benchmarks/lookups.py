"""Lookups: `find_by_uuid`."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleRegistry
from support.capsules import fresh, session
from support.comparison import Finding, Target, each, for_a_while, in_turn
from support.neighbour import COMMITS_A_SECOND, neighbour
from support.orm import find_by_session
from support.raw import Raw, RawServer, RawSqlite, connect
from support.setting import LARGE, MIDDLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from support.comparison import Pairs, Round
    from support.databases import Databases
    from support.neighbour import Neighbour
    from support.setting import Setting

_WARM: Final = 12
_A_SECOND: Final = 2_000_000
_HOT: Final = 1_000
_SECONDS: Final = 0.05
_SELECT: Final = "SELECT capsule_id FROM uuid_mappings WHERE namespace = ? AND uuid = ?"
#: All that a strict lookup on a server reads, in one statement.
_STRICT: Final = (
    "SELECT m.capsule_id, m.lease_id, l.expires_at, n.last_commit_at, {now}"
    " FROM uuid_mappings m JOIN namespaces n ON n.name = m.namespace"
    " LEFT JOIN leases l ON l.namespace = m.namespace AND l.id = m.lease_id"
    " WHERE m.namespace = %s AND m.uuid = %s"
)


def selecting(raw: Raw) -> Callable[[UUID], str]:
    """Return a function that selects the id of a UUID, as lean as SQLite's library allows."""
    if not isinstance(raw, RawSqlite):
        raise TypeError(raw.name)
    execute = raw.connection.execute

    def find(uuid: UUID) -> str:
        found: str = execute(_SELECT, ("default", str(uuid))).fetchone()[0]
        return found

    return find


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of lookups."""
    for size in sorted({MIDDLE, setting.large}):
        yield from _quiet(setting, size)
    yield from _beside_a_writer(setting)
    yield _first_time(setting)
    yield _orm(setting)
    for server in setting.servers:
        yield _on_server(setting, server)
    if not setting.servers:
        why = "no --database"
        yield Finding.not_run("find_by_uuid, PostgreSQL, MariaDB", why, Target(0.85))


def _against_select(
    registry: CapsuleRegistry, raw: Raw, known: Sequence[UUID], rounds: int
) -> Pairs:
    return in_turn(
        for_a_while(each(registry.find_by_uuid), fresh(known), _SECONDS),
        for_a_while(each(selecting(raw)), fresh(known), _SECONDS),
        rounds,
    )


def _quiet(setting: Setting, size: int) -> Iterator[Finding]:
    url = setting.sessions(size)
    known = [session(number * (size // MIDDLE)) for number in range(MIDDLE)]
    with CapsuleRegistry.open(url) as registry:
        raw = connect(url)
        each(registry.find_by_uuid)(known)
        pairs = _against_select(registry, raw, known, setting.rounds(21))
        raw.close()
    of = f"{size:,} UUIDs" + (", 10,000 hot" if size == LARGE else "")
    yield pairs.times_as_fast(f"find_by_uuid, warm, {of} / SELECT", _WARM)
    yield _a_second(f"find_by_uuid, warm, {of}, calls a second", pairs)


def _a_second(name: str, pairs: Pairs) -> Finding:
    return Finding.figure(name, [1 / one for one in pairs.ours], "/s", Target(_A_SECOND))


def _beside_a_writer(setting: Setting) -> Iterator[Finding]:
    url = setting.sessions(MIDDLE)
    known = [session(number) for number in range(_HOT)]
    with CapsuleRegistry.open(url) as registry, neighbour(url) as other:
        raw = connect(url)
        pairs = in_turn(
            _watched(for_a_while(each(registry.find_by_uuid), fresh(known), 0.01), registry, other),
            for_a_while(each(selecting(raw)), fresh(known), 10 * _SECONDS),
            setting.rounds(15),
        )
        raw.close()
        rate = other.rate
    beside = f"beside {COMMITS_A_SECOND:.0f} commits/s"
    note = f"{rate:.0f} commits/s by another process, 1,000 hot UUIDs"
    yield pairs.times_as_fast(f"find_by_uuid, warm, {beside} / SELECT", _WARM, note)
    yield _a_second(f"find_by_uuid, warm, {beside}, calls a second", pairs)
    none = Target(0, is_least=False)
    yield Finding.figure(f"stale answers of {other.looks}, {beside}", [other.stale], "", none)


def _watched(part: Round, registry: CapsuleRegistry, other: Neighbour) -> Round:
    """Return a round of fifty parts, after each of which an answer is checked for staleness."""

    def once() -> float:
        took = []
        for _ in range(50):
            took.append(part())
            other.look(registry)
        # All parts last equally long, so the rates are averaged, not the times.
        return len(took) / sum(1 / seconds for seconds in took)

    return once


def _first_time(setting: Setting) -> Finding:
    """Look each UUID up once, so that none is cached."""
    url = setting.sessions(10 * MIDDLE)

    def unseen() -> Callable[[int], Sequence[UUID]]:
        numbers = count()
        return lambda size: [session(next(numbers) % (10 * MIDDLE)) for _ in range(size)]

    with CapsuleRegistry.open(url) as registry:
        raw = connect(url)
        pairs = in_turn(
            for_a_while(each(registry.find_by_uuid), unseen(), _SECONDS / 3),
            for_a_while(each(selecting(raw)), unseen(), _SECONDS / 3),
            setting.rounds(21),
        )
        raw.close()
    return pairs.times_as_fast("find_by_uuid, not cached / SELECT", 0.85)


def _orm(setting: Setting) -> Finding:
    url = setting.sessions(MIDDLE)
    known = [session(number) for number in range(_HOT)]
    with CapsuleRegistry.open(url) as registry:
        pairs = in_turn(
            for_a_while(each(registry.find_by_uuid), fresh(known), _SECONDS),
            for_a_while(each(find_by_session(url)), fresh(known), _SECONDS),
            setting.rounds(9),
        )
    return pairs.times_as_fast("find_by_uuid, warm / SQLAlchemy ORM, a session a call")


def _on_server(setting: Setting, server: Databases) -> Finding:
    url = server.new()
    known = [session(number) for number in range(_HOT)]
    with CapsuleRegistry.open(url) as registry:
        with registry.transaction() as transaction:
            for number, uuid in enumerate(known):
                transaction.register_uuid(uuid, f"capsule-{number // 10}")
        raw = connect(url)
        pairs = in_turn(
            for_a_while(each(registry.find_by_uuid), fresh(known), 4 * _SECONDS),
            for_a_while(each(_strictly(raw)), fresh(known), 4 * _SECONDS),
            setting.rounds(21),
        )
        raw.close()
    return pairs.times_as_fast(f"find_by_uuid, {server.title} / same by {raw.name}", 0.85)


def _strictly(raw: Raw) -> Callable[[UUID], str]:
    if not isinstance(raw, RawServer):
        raise TypeError(raw.name)
    statement, cursor = _STRICT.format(now=raw.now), raw.cursor
    options = {"prepare": True} if raw.name == "psycopg" else {}

    def find(uuid: UUID) -> str:
        cursor.execute(statement, ("default", uuid), **options)
        found: str = cursor.fetchone()[0]
        return found

    return find
