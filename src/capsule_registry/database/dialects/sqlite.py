"""SQLite, in a file or in memory; `sqlite_connections` makes the connections to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from sqlalchemy import Integer, column, select, table, text
from sqlalchemy.exc import OperationalError

from capsule_registry.database.dialects.dialect import Dialect, Fault, Finding, Probe, Shell
from capsule_registry.database.dialects.sqlite_file import (
    log_size,
)
from capsule_registry.database.dialects.sqlite_library import (
    has_wal_reset_race,
    journal_mode,
    sqlite_module,
    synchronous,
)
from capsule_registry.database.dialects.sqlite_query import query
from capsule_registry.database.dialects.sqlite_still import (
    StillConnection,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Insert, Table
    from sqlalchemy.exc import DBAPIError

#: A larger log means that some reader keeps it from being reset.
_LARGEST_LOG: Final = 256 * 2**20

#: Primary result codes; those that are missing are bugs. Source: https://sqlite.org/rescode.html.
_FAULTS: Final[dict[int, Fault]] = {
    1: "corrupt",  # SQLITE_ERROR: a table or a column is missing
    3: "permission",  # SQLITE_PERM
    5: "busy",  # SQLITE_BUSY
    6: "busy",  # SQLITE_LOCKED
    7: "unavailable",  # SQLITE_NOMEM
    8: "permission",  # SQLITE_READONLY
    9: "unavailable",  # SQLITE_INTERRUPT
    10: "unavailable",  # SQLITE_IOERR
    11: "corrupt",  # SQLITE_CORRUPT
    13: "unavailable",  # SQLITE_FULL
    14: "unavailable",  # SQLITE_CANTOPEN
    15: "unavailable",  # SQLITE_PROTOCOL: too many are opening the log at once
    17: "unavailable",  # SQLITE_SCHEMA: it kept changing while the statement was prepared
    19: "corrupt",  # SQLITE_CONSTRAINT: conflicts are checked beforehand, under the lock
    20: "corrupt",  # SQLITE_MISMATCH
    22: "unavailable",  # SQLITE_NOLFS
    23: "permission",  # SQLITE_AUTH
    26: "invalid",  # SQLITE_NOTADB
}


_ONE: Final = frozenset({"1"})
_PROBES: Final = (
    Probe("foreign_keys", "PRAGMA foreign_keys", _ONE),
    Probe("busy_timeout in ms", "PRAGMA busy_timeout"),
    Probe("integrity", "PRAGMA quick_check(1)", frozenset({"ok"}), "restore from a backup"),
)


_own_commits = table("own_commits", column("count", Integer))
#: How many of the file's commits the library made.
OWN_COMMITS: Final = select(_own_commits.c.count).scalar_subquery()
_objects: Final = text("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")


def fault(error: DBAPIError) -> Fault:
    """Return the kind of *error* by its primary result code."""
    code = _result_code(error)
    if code is None:  # Raised by the module itself, which can fail to read only invalid UTF-8.
        return "corrupt" if isinstance(error, OperationalError) else "unexpected"
    return _FAULTS.get(code & 0xFF, "unexpected")


def _result_code(error: DBAPIError) -> int | None:
    return getattr(error.orig, "sqlite_errorcode", None)


def _code(error: DBAPIError) -> str | None:
    return None if (code := _result_code(error)) is None else str(code)


def _kept_statements(conn: Connection) -> Iterator[tuple[str, str, str, str]]:
    return ((kind, name, table, sql) for kind, name, table, sql in conn.execute(_objects))


def _insert_if_missing(table: Table) -> Insert:
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - only what is in use is loaded

    return sqlite.insert(table).on_conflict_do_nothing()


def _shell(conn: Connection, directory: Path) -> Shell:  # noqa: ARG001 - it needs no file
    """Return sqlite3 in its safe mode, without the user's own start-up file."""
    file = conn.engine.url.database or ":memory:"
    place = file if file == ":memory:" else os.path.abspath(file)  # noqa: PTH100 - it may be a link
    start = ("-init", os.devnull, "-safe", "-readonly")
    return Shell(("sqlite3", *start, place), question=(".databases",), answer="r/o")


def _details(conn: Connection, file: Path | None) -> Iterator[Finding]:
    race = has_wal_reset_race(sqlite_module.sqlite_version_info)
    yield Finding("WAL-reset race", "yes, so no write-ahead log is used" if race else "no")
    if file is not None:
        yield from _details_of_file(conn, file)


def _log_bytes(file: Path | None) -> int | None:
    return None if file is None else log_size(file)


def _details_of_file(conn: Connection, file: Path) -> Iterator[Finding]:
    yield _journal(conn)
    level, needed = conn.exec_driver_sql("PRAGMA synchronous").scalar(), synchronous()
    yield Finding("synchronous", f"{level}", None if level == needed else f"{needed} is needed")
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


def _journal(conn: Connection) -> Finding:
    if isinstance(conn.connection.driver_connection, StillConnection):
        return Finding("journal_mode", "unknown: the file is read as a copy, since it is idle")
    found, wanted = str(conn.exec_driver_sql("PRAGMA journal_mode").scalar()), journal_mode()
    return Finding("journal_mode", found, None if found == wanted else f"{wanted} is needed")


SQLITE: Final = Dialect(
    name="sqlite",
    driver="pysqlite",
    driver_version=lambda module: str(module.sqlite_version),
    fault=fault,
    code=_code,
    isolation="SERIALIZABLE",
    is_file=True,
    upgrades_itself=True,
    has_hosts_clock=True,
    begin_write="BEGIN IMMEDIATE",
    begin_snapshot="BEGIN",
    changes=lambda connection: int(connection.total_changes),
    mark_commit="UPDATE own_commits SET count = count + 1 WHERE id = 1",
    insert_if_missing=_insert_if_missing,
    query=query,
    stop_foreign_keys="PRAGMA foreign_keys = 0",
    start_foreign_keys="PRAGMA foreign_keys = 1",
    find_orphans="PRAGMA foreign_key_check",
    kept_statements=_kept_statements,
    shell=_shell,
    probes=_PROBES,
    details=_details,
    log_bytes=_log_bytes,
)
