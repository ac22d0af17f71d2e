"""
SQLite, in a file or in memory, connected to with the settings that the guarantees rely on.

Every setting is read back, and a connection without it is refused.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, column, literal_column, select, table
from sqlalchemy.exc import OperationalError

from capsule_registry.database.dialects.dialect import Dialect, Fault, Finding, Probe, Shell
from capsule_registry.database.dialects.sqlite_file import (
    log_size,
    named_errors,
    opened,
    require_file,
)
from capsule_registry.database.dialects.sqlite_library import (
    has_wal_reset_race,
    journal_mode,
    sqlite_module,
)
from capsule_registry.errors import InvalidDatabaseError, RegistryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Insert, Table
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DBAPIError

#: A larger log means that some reader keeps it from being reset.
_LARGEST_LOG: Final = 256 * 2**20

#: How long a statement waits for another process's lock before it gives up.
BUSY_TIMEOUT_SECONDS: Final = 30.0
_FULL: Final = 2
#: The size to which a checkpoint truncates a larger log.
_LARGEST_IDLE_LOG: Final = 16 * 2**20

#: `trusted_schema`, `cell_size_check`: recommended for untrusted files by
#: https://sqlite.org/security.html. `recursive_triggers`: without it REPLACE skips delete triggers.
#: `fullfsync`: on macOS a plain fsync leaves data in the drive's cache; elsewhere a no-op.
_SETTINGS: Final = {
    "foreign_keys": 1,
    "synchronous": _FULL,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "recursive_triggers": 1,
    "fullfsync": 1,
    "checkpoint_fullfsync": 1,
    "journal_size_limit": _LARGEST_IDLE_LOG,
}

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


def count_log_triggers(cursor: Any) -> int:  # noqa: ANN401 - the driver's own
    """Return how many triggers that write the change log exist."""
    [[found]] = cursor.execute(_COUNT_LOG_TRIGGERS).fetchall()
    return int(found)


def journal_mode_of(cursor: Any) -> str:  # noqa: ANN401 - the driver's own
    """Return the journal mode of the file that *cursor* reads."""
    [[mode]] = cursor.execute("PRAGMA journal_mode").fetchall()
    return str(mode)


def connect_memory() -> Any:  # noqa: ANN401 - the module is chosen at run time
    """Return a connection to a new, private in-memory database."""
    connection = sqlite_module.connect(
        ":memory:", check_same_thread=False, isolation_level=None, timeout=BUSY_TIMEOUT_SECONDS
    )
    _apply_settings(connection, "sqlite://")
    return connection


def connect_file(path: Path) -> Any:  # noqa: ANN401 - the module is chosen at run time
    """
    Return a connection to the database file at *path*.

    Raises:
        RegistryUnavailableError: The file does not exist, or a setting did not take effect.
        InvalidDatabaseError: *path* is not a file, or has several hard links.
    """
    connection = _connect(path, "mode=rw")
    try:
        _apply_settings(connection, f"sqlite:///{path}")
        _set_journal_mode(connection, f"sqlite:///{path}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_file_read_only(path: Path) -> Any:  # noqa: ANN401 - the module is chosen at run time
    """
    Return a read-only connection to the database file at *path*.

    On a file system mounted read-only the file is opened as immutable; elsewhere other programs may
    write, and their commits must be seen.

    Raises:
        InvalidDatabaseError: As `connect_file`; or commits are left in the log beside the file on a
            read-only file system, where SQLite cannot read them.
        RegistryUnavailableError: As `connect_file`.
    """
    with named_errors(path):
        frozen = os.statvfs(path.parent).f_flag & os.ST_RDONLY
        writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    if frozen and log_size(path):
        reason = (
            "its log cannot be read on this file system: copy both elsewhere, and open the copy"
        )
        raise InvalidDatabaseError(f"sqlite:///{path}", reason)
    mode = "mode=ro&immutable=1" if frozen else "mode=rw" if writable else "mode=ro"
    connection = _connect(path, mode)
    try:
        _apply_settings(connection, f"sqlite:///{path}")
        connection.execute("PRAGMA query_only = 1")
    except BaseException:
        connection.close()
        raise
    return connection


def connector(*, read_only: bool) -> Callable[[Path], Any]:
    """Return the function that connects to a file."""
    return connect_file_read_only if read_only else connect_file


def copy_database(conn: Connection, target: Path) -> None:
    """
    Copy the database of *conn* to *target*, consistent despite concurrent writes, for its owner.

    Raises:
        FileExistsError: *target* exists.
    """
    opened(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW).close()
    copy = sqlite_module.connect(target)
    try:
        conn.connection.driver_connection.backup(copy)  # type: ignore[union-attr]
    except BaseException:
        target.unlink()
        raise
    finally:
        copy.close()


def _connect(path: Path, mode: str) -> Any:  # noqa: ANN401 - the module is chosen at run time
    require_file(path)
    return sqlite_module.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_SECONDS,
    )


def _apply_settings(connection: Any, shown: str) -> None:  # noqa: ANN401 - see above
    for name, value in _SETTINGS.items():
        connection.execute(f"PRAGMA {name} = {value}")
        [found] = connection.execute(f"PRAGMA {name}").fetchone()
        if found != value:
            reason = f"PRAGMA {name} is {found}, and {value} is needed"
            raise RegistryUnavailableError(shown, reason)


def _set_journal_mode(connection: Any, shown: str) -> None:  # noqa: ANN401 - see above
    wanted = journal_mode()
    [found] = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()
    if found != wanted:
        reason = f"journal mode is {found}, and {wanted} is needed with this SQLite library"
        raise RegistryUnavailableError(shown, reason)


def file_options(path: Path | None, *, read_only: bool) -> dict[str, Any]:
    """Return the engine options for the file at *path*, or for an in-memory database."""
    options = {"module": sqlite_module}
    if path is None:
        # The database lives as long as its one connection, which threads share in turn.
        memory = connect_memory()
        return {**options, "creator": lambda: memory, "pool_size": 1, "max_overflow": 0}
    return {**options, "creator": partial(connector(read_only=read_only), path)}


def _insert_if_missing(table: Table) -> Insert:
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - only what is in use is loaded

    return sqlite.insert(table).on_conflict_do_nothing()


def _shell(url: URL) -> Shell:
    return Shell(("sqlite3", "-readonly", url.database or ":memory:"))


def _details(conn: Connection, file: Path | None) -> Iterator[Finding]:
    race = has_wal_reset_race(sqlite_module.sqlite_version_info)
    yield Finding("WAL-reset race", "yes, so no write-ahead log is used" if race else "no")
    if file is not None:
        yield from _details_of_file(conn, file)


def _details_of_file(conn: Connection, file: Path) -> Iterator[Finding]:
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
    insert_if_missing=_insert_if_missing,
    stop_foreign_keys="PRAGMA foreign_keys = 0",
    start_foreign_keys="PRAGMA foreign_keys = 1",
    find_orphans="PRAGMA foreign_key_check",
    shell=_shell,
    probes=_PROBES,
    details=_details,
)
