"""Whether a database is well: what is read back of it, and what is wrong with it if anything is."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy
from sqlalchemy import ForeignKeyConstraint, and_, exists, func, select

from capsule_registry._version import __version__
from capsule_registry.database.dialects.sqlite_file import log_size
from capsule_registry.database.dialects.sqlite_library import (
    has_wal_reset_race,
    journal_mode,
    sqlite_module,
)
from capsule_registry.schema import version as schema
from capsule_registry.schema.tables import metadata
from capsule_registry.unit_of_work import namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from capsule_registry.database.database import Database

#: A log beyond this says that some reader has kept it from being used again.
_LARGEST_LOG: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was read back, and what is wrong with it if anything is."""

    name: str
    value: str
    problem: str | None = None


def diagnose(database: Database, conn: Connection) -> Iterator[Finding]:
    """Yield what *conn*, a connection that could write, reads back of *database*."""
    yield Finding("database", str(database.address))
    yield from _libraries(database)
    for probe in database.dialect.probes:
        value = str(conn.exec_driver_sql(probe.statement).scalar())
        yield Finding(probe.name, value, probe.problem(value))
    yield from _isolation(database, conn)
    if database.address.file is not None:
        yield from _file(database.address.file, conn)
    yield Finding("pool", database.engine.pool.status())
    yield from _schema(database, conn)


def _libraries(database: Database) -> Iterator[Finding]:
    python = f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}"
    yield Finding("library", f"capsule-registry {__version__} ({python})")
    driver: Any = database.engine.dialect.dbapi
    version = getattr(driver, "sqlite_version", None) or driver.__version__
    yield Finding("driver", f"{driver.__name__} {version}")
    if database.dialect.upgrades_itself:
        race = has_wal_reset_race(sqlite_module.sqlite_version_info)
        yield Finding("WAL-reset race", "yes, so no write-ahead log is used" if race else "no")


def _isolation(database: Database, conn: Connection) -> Iterator[Finding]:
    found = conn.get_isolation_level()
    wanted = database.dialect.isolation
    yield Finding("isolation", found, None if found == wanted else f"{wanted} is needed")


def _file(file: Path, conn: Connection) -> Iterator[Finding]:
    found = str(conn.exec_driver_sql("PRAGMA journal_mode").scalar())
    wanted = journal_mode()
    yield Finding("journal_mode", found, None if found == wanted else f"{wanted} is needed")
    pages = conn.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar()
    yield Finding("checkpoint every", f"{pages} pages")
    size = log_size(file)
    held = "a reader that never ends keeps the log from being used again"
    yield Finding("log size", f"{size} bytes", held if size > _LARGEST_LOG else None)
    mode = file.stat().st_mode & 0o777
    open_to_others = "others can open the file" if mode & 0o077 else None
    yield Finding("file mode", f"{mode:04o}", open_to_others)
    mode = file.parent.stat().st_mode & 0o7777
    replaceable = "others can replace the file" if mode & 0o022 and not mode & 0o1000 else None
    yield Finding("directory mode", f"{mode:04o}", replaceable)


def _schema(database: Database, conn: Connection) -> Iterator[Finding]:
    found = schema.find(conn)
    remedy = f"needs {schema.SCHEMA_VERSION}: {schema.upgrade_command(database)}"
    yield Finding("schema version", found.version or "none", None if found.is_usable else remedy)
    if not found.is_usable:
        return
    orphans = count_orphans(conn)
    yield Finding("foreign keys", f"{orphans} broken", "rows lack parents" if orphans else None)
    for name, _, revision, _, capsule_count in namespaces.list_all(conn):
        yield Finding(f"namespace {name}", f"revision {revision}, {capsule_count} capsules")


def count_orphans(conn: Connection) -> int:
    """Return how many rows lack a row that a foreign key of theirs names."""
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
