"""SQLite, in a file or in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, column, literal_column, select, table
from sqlalchemy.exc import OperationalError

from capsule_registry.database.dialects.dialect import Detail, Dialect, Fault, Probe, Shell
from capsule_registry.database.dialects.sqlite_file import log_size
from capsule_registry.database.dialects.sqlite_library import (
    has_wal_reset_race,
    journal_mode,
    sqlite_module,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Insert, Table
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DBAPIError

#: A larger log means that some reader keeps it from being reset.
_LARGEST_LOG: Final = 256 * 2**20

#: Primary result codes. Source: https://sqlite.org/rescode.html.
_FAULTS: Final[dict[int, Fault]] = {
    1: "corrupt",  # SQLITE_ERROR: a table or a column is missing
    3: "permission",  # SQLITE_PERM
    5: "busy",  # SQLITE_BUSY
    6: "busy",  # SQLITE_LOCKED
    8: "permission",  # SQLITE_READONLY
    10: "unavailable",  # SQLITE_IOERR
    11: "corrupt",  # SQLITE_CORRUPT
    13: "unavailable",  # SQLITE_FULL
    14: "unavailable",  # SQLITE_CANTOPEN
    19: "corrupt",  # SQLITE_CONSTRAINT: conflicts are checked beforehand, under the lock
    23: "permission",  # SQLITE_AUTH
    26: "not_a_database",  # SQLITE_NOTADB
}


_ONE: Final = frozenset({"1"})
_PROBES: Final = (
    Probe("foreign_keys", "PRAGMA foreign_keys", _ONE),
    Probe("synchronous", "PRAGMA synchronous", frozenset({"2"})),
    Probe("busy_timeout in ms", "PRAGMA busy_timeout"),
    Probe("integrity", "PRAGMA quick_check(1)", frozenset({"ok"}), "restore from a backup"),
)


_sequence = table("sqlite_sequence", column("name"), column("seq", Integer))
#: The last sequence number of the change log.
LAST_LOGGED: Final = (
    select(_sequence.c.seq)
    .where(_sequence.c.name == literal_column("'cache_log'"))
    .scalar_subquery()
)
_schema = table("pragma_schema_version", column("schema_version", Integer))
#: Changes with every change to the schema.
SCHEMA_COOKIE: Final = select(_schema.c.schema_version).scalar_subquery()
#: How many triggers write the change log.
LOG_TRIGGERS: Final = 14
_COUNT_LOG_TRIGGERS: Final = (
    "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name GLOB '*_logged'"
)


def fault(error: DBAPIError) -> Fault | None:
    """Return the kind of *error* by its primary result code."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is None:  # Raised by the module itself, which can fail to read only invalid UTF-8.
        return "corrupt" if isinstance(error, OperationalError) else None
    return _FAULTS.get(code & 0xFF)


def count_log_triggers(cursor: Any) -> int:  # noqa: ANN401 - the driver's own
    """Return how many triggers that write the change log exist."""
    [[found]] = cursor.execute(_COUNT_LOG_TRIGGERS).fetchall()
    return int(found)


def journal_mode_of(cursor: Any) -> str:  # noqa: ANN401 - the driver's own
    """Return the journal mode of the file that *cursor* reads."""
    [[mode]] = cursor.execute("PRAGMA journal_mode").fetchall()
    return str(mode)


def _insert_if_missing(table: Table) -> Insert:
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - only what is in use is loaded

    return sqlite.insert(table).on_conflict_do_nothing()


def _shell(url: URL) -> Shell:
    return Shell(("sqlite3", "-readonly", url.database or ":memory:"))


def _details(conn: Connection, file: Path | None) -> Iterator[Detail]:
    race = has_wal_reset_race(sqlite_module.sqlite_version_info)
    yield Detail("WAL-reset race", "yes, so no write-ahead log is used" if race else "no")
    if file is not None:
        yield from _details_of_file(conn, file)


def _details_of_file(conn: Connection, file: Path) -> Iterator[Detail]:
    found = str(conn.exec_driver_sql("PRAGMA journal_mode").scalar())
    wanted = journal_mode()
    yield Detail("journal_mode", found, None if found == wanted else f"{wanted} is needed")
    pages = conn.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar()
    yield Detail("checkpoint every", f"{pages} pages")
    size = log_size(file)
    held = "a reader that never ends keeps the log from being used again"
    yield Detail("log size", f"{size} bytes", held if size > _LARGEST_LOG else None)
    mode = file.stat().st_mode & 0o777
    open_to_others = "others can open the file" if mode & 0o077 else None
    yield Detail("file mode", f"{mode:04o}", open_to_others)
    mode = file.parent.stat().st_mode & 0o7777
    replaceable = "others can replace the file" if mode & 0o022 and not mode & 0o1000 else None
    yield Detail("directory mode", f"{mode:04o}", replaceable)


SQLITE: Final = Dialect(
    name="sqlite",
    driver="pysqlite",
    driver_version=lambda module: str(module.sqlite_version),
    fault=fault,
    isolation="SERIALIZABLE",
    is_file=True,
    upgrades_itself=True,
    has_hosts_clock=True,
    begin_write="BEGIN IMMEDIATE",
    begin_snapshot="BEGIN",
    insert_if_missing=_insert_if_missing,
    stop_foreign_keys="PRAGMA foreign_keys = 0",
    start_foreign_keys="PRAGMA foreign_keys = 1",
    find_orphans="PRAGMA foreign_key_check",
    shell=_shell,
    probes=_PROBES,
    details=_details,
)
