"""Diagnosis of a database: settings and state as read back from it, and any problems."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy
from sqlalchemy import ForeignKeyConstraint, and_, exists, func, select

from capsule_registry._version import __version__
from capsule_registry.clocks import Clock
from capsule_registry.database.dialects.dialect import Finding
from capsule_registry.entities import rederivation
from capsule_registry.errors import HistoryCorruptError
from capsule_registry.schema.tables import metadata
from capsule_registry.schema.version import find_schema
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.queries import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from capsule_registry.database.database import Database

#: So many of a namespace's capsules are read anew at most.
_MOST_LOOKED_AT: Final = 1_000


def diagnose(database: Database, conn: Connection) -> Iterator[Finding]:
    """Yield the findings on *database*, read over *conn*, a connection of the pool for writes."""
    yield Finding("database", str(database.address))
    yield from _libraries(database)
    yield from (probe.find(conn) for probe in database.dialect.probes)
    yield from _isolation(database, conn)
    yield from database.dialect.details(conn, database.address.file)
    yield Finding("pool", database.engine.pool.status())
    yield from _schema(database, conn)


def _libraries(database: Database) -> Iterator[Finding]:
    python = f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}"
    yield Finding("library", f"capsule-registry {__version__} ({python})")
    driver: Any = database.engine.dialect.dbapi
    yield Finding("driver", f"{driver.__name__} {database.dialect.driver_version(driver)}")


def _isolation(database: Database, conn: Connection) -> Iterator[Finding]:
    found = conn.get_isolation_level()
    wanted = database.dialect.isolation
    yield Finding("isolation", found, None if found == wanted else f"{wanted} is needed")


def _schema(database: Database, conn: Connection) -> Iterator[Finding]:
    found = find_schema(conn)
    refusal = found.refusal(database)
    yield Finding("schema version", found.version or "none", str(refusal) if refusal else None)
    if found.is_older:
        yield from database.dialect.upgrade_needs(conn)
    if refusal:
        return
    orphans = count_orphans(conn)
    yield Finding("foreign keys", f"{orphans} broken", "rows lack parents" if orphans else None)
    lost = database.dialect.lost_triggers(conn, metadata.tables)
    remedy = "whoever made them is gone, and they fail: run `db upgrade` as the owner of the tables"
    yield Finding("triggers", f"{len(lost)} lost", remedy if lost else None)
    for found_namespace in namespaces.list_all(conn):
        state = (
            f"revision {found_namespace['revision']}, {found_namespace['capsule_count']} capsules"
        )
        yield Finding(f"namespace {found_namespace['name']}", state)
        yield from _readings(database, conn, found_namespace)


def _readings(database: Database, conn: Connection, namespace: dict[str, Any]) -> Iterator[Finding]:
    """Yield by which rules the capsules of a namespace are judged, and what would change that."""
    name = namespace["name"]
    scope = Scope(conn, name, Clock(is_hosts=database.dialect.has_hosts_clock))
    named = namespace["runtime_version"]
    judged = f"as runtime {named}" if named else "each in its own form"
    try:
        runtime = namespaces.head(scope).runtime_version
        unread = rederivation.unread(scope, _MOST_LOOKED_AT)
        changes = rederivation.plan(scope, runtime, unread)
    except HistoryCorruptError as error:
        yield Finding(f"rules of {name}", judged, str(error))
        return
    gaining = sum(bool(one.gained) for one in changes)
    more = " or more" if len(unread) == _MOST_LOOKED_AT else ""
    remedy = f"run {database.address.command(f'--namespace {name} namespaces rederive --dry-run')}"
    said = f"; {gaining}{more} capsules would gain rights if read anew: {remedy}" if gaining else ""
    yield Finding(f"rules of {name}", judged + said)


def count_orphans(conn: Connection) -> int:
    """Return how many rows violate a foreign key."""
    return sum(
        conn.scalar(_orphans(constraint)) or 0
        for table in metadata.sorted_tables
        for constraint in table.foreign_key_constraints
    )


def _orphans(constraint: ForeignKeyConstraint) -> Any:  # noqa: ANN401 - a SELECT of a number
    parent = constraint.referred_table.alias("parent")
    pairs = [(key.parent, parent.c[key.column.name]) for key in constraint.elements]
    is_named = and_(*(child.is_not(None) for child, _ in pairs))
    is_there = exists().where(*(child == named for child, named in pairs))
    return (
        select(func.count())
        .select_from(constraint.table)
        .where(is_named, ~is_there.select_from(parent).correlate(constraint.table))
    )
