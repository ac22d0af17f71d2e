"""Connections to SQLite files, with the settings that the guarantees rely on, each read back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from capsule_registry.database.dialects.sqlite_file import (
    keep_names,
    log_size,
    named_errors,
    require_file,
)
from capsule_registry.database.dialects.sqlite_identity import FileIdentity, replaced
from capsule_registry.database.dialects.sqlite_library import (
    EXTRA,
    journal_mode,
    sqlite_module,
    synchronous,
)
from capsule_registry.database.dialects.sqlite_sidecars import (
    create_like,
    create_private,
    may_write,
    require_readable,
    require_writable,
)
from capsule_registry.database.dialects.sqlite_still import (
    StillConnection,
    connect_still,
    copied_into_memory,
    has_index,
    has_leftovers,
    is_copied,
)
from capsule_registry.database.dialects.sqlite_wal_index import Inode, inode
from capsule_registry.errors import DatabaseReplacedError, RegistryUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.pool import ConnectionPoolEntry

#: How long a statement waits for another process's lock before it gives up.
BUSY_TIMEOUT_SECONDS: Final = 30.0
#: The size to which a checkpoint truncates a larger log.
_LARGEST_IDLE_LOG: Final = 16 * 2**20

#: `trusted_schema`, `cell_size_check`: recommended for untrusted files by
#: https://sqlite.org/security.html. `recursive_triggers`: without it REPLACE skips delete triggers.
#: `fullfsync`: on macOS a plain fsync leaves data in the drive's cache; elsewhere a no-op.
_SETTINGS: Final = {
    "foreign_keys": 1,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "recursive_triggers": 1,
    "fullfsync": 1,
    "checkpoint_fullfsync": 1,
    "journal_size_limit": _LARGEST_IDLE_LOG,
}

#: How many prepared statements a connection keeps. The packaged module keeps the first so many for
#: good, and by default a hundred, which those of the schema would fill.
_STATEMENTS: Final = 1000

#: Primary codes of what only a writer can begin to read: SQLITE_CANTOPEN, the index is missing;
#: SQLITE_READONLY, a journal must be played back.
_IDLE: Final = (8, 14)

#: The key in a pooled connection's `info` of its `FileIdentity`.
IDENTITY: Final = "capsule_registry.identity"


def connect_memory() -> Any:  # noqa: ANN401 - the module is chosen at run time
    """Return a connection to a new, private in-memory database."""
    connection = sqlite_module.connect(
        ":memory:",
        check_same_thread=False,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_SECONDS,
        cached_statements=_STATEMENTS,
    )
    _apply_settings(connection, "sqlite://")
    return connection


class OpenFile(NamedTuple):
    """A driver connection to a file, and which file that is."""

    connection: Any
    identity: FileIdentity


def connect_file(path: Path) -> Any:  # noqa: ANN401 - the module is chosen at run time
    """
    Return a connection to the database file at *path*.

    Raises:
        RegistryUnavailableError: The file does not exist, or a setting did not take effect.
        InvalidDatabaseError: *path* is not a file, or another path leads to it.
        PermissionDeniedError: This user may not write it, or what SQLite keeps beside it.
    """
    require_file(path)
    require_writable(path)
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

    Commits of other programs are seen. A user who may not write reads a copy while nobody has the
    file open, and a larger file on a file system mounted read-only as it lies there; the pool then
    replaces the connection once the file has changed (`require_current`).

    Raises:
        InvalidDatabaseError: As `connect_file`.
        PermissionDeniedError: This user may not read it, or not while nobody has it open.
        RegistryUnavailableError: As `connect_file`.
    """
    require_file(path)
    require_readable(path)
    if may_write(path):
        return _for_reading(_connect(path, "mode=ro" if has_index(path) else "mode=rw"))
    if has_index(path) or not os.access(path.parent, os.W_OK):  # So that nothing is created.
        try:
            return _for_reading(_connect(path, "mode=ro"))
        except sqlite_module.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _IDLE:
                raise
    with named_errors(path):
        frozen = os.statvfs(path.parent).f_flag & os.ST_RDONLY
        is_whole = not has_leftovers(path)
    return _for_reading(
        connect_still(path)
        if frozen and is_whole and not is_copied(path)
        else copied_into_memory(path)
    )


def connect_to_look(path: Path) -> Any:  # noqa: ANN401 - the module is chosen at run time
    """
    Return a read-only connection that leaves the file at *path* as it is, and what is beside it.

    Only after a crash the index is made or brought up to date, or the journal played back, unless
    the database can be copied.

    Raises:
        InvalidDatabaseError, PermissionDeniedError, RegistryUnavailableError: As above.
    """
    require_file(path)
    require_readable(path)
    with named_errors(path):
        if not has_leftovers(path):
            return _for_reading(connect_still(path))
        lacks_index = log_size(path) and not has_index(path)
        try:
            if not (lacks_index and is_copied(path)):
                return _for_reading(_connect(path, "mode=ro"))
        except sqlite_module.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _IDLE:
                raise
        try:
            return _for_reading(copied_into_memory(path))
        except sqlite_module.DatabaseError:
            # So little of it was written that only playing back the journal makes it a database.
            return _for_reading(_connect(path, "mode=rw"))


def _for_reading(connection: Any) -> Any:  # noqa: ANN401 - the module is chosen at run time
    try:
        _apply_settings(connection, "the database")
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA schema_version")  # Opens the log, or fails.
    except BaseException:
        connection.close()
        raise
    return connection


class FileConnector:
    """
    Makes connections to the database at *path*, all to the file that the first one opened.

    Once that file was replaced nothing is answered any more: whoever opened it must decide.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self._connect = connect_file_read_only if read_only else connect_file
        self._opened: Inode | None = None
        self._refusal: DatabaseReplacedError | None = None

    def connect(self) -> OpenFile:
        """
        Return a new connection; see `connect_file` and `connect_file_read_only`.

        Raises:
            DatabaseReplacedError: The file at the path is another than before.
        """
        self.require_same()
        with named_errors(self.path):
            opened = inode(self.path)
        connection = self._connect(self.path)
        try:
            found = OpenFile(connection, _identity_of(connection, self.path, opened))
        except BaseException:
            connection.close()
            raise
        self._opened = self._opened or opened
        return found

    def require_same(self) -> None:
        """Raise `DatabaseReplacedError` if another file is at the path than was opened first."""
        if self._refusal is not None:
            raise DatabaseReplacedError(self._refusal.database, self._refusal.reason)
        if self._opened is None:
            return
        with named_errors(self.path):
            if (found := inode(self.path)) != self._opened:
                self._refusal = replaced(self.path, self.path, found)
                raise self._refusal

    def require_current(self, identity: FileIdentity | None) -> None:
        """Raise `DatabaseReplacedError` if a connection with that *identity* may not go on."""
        self.require_same()
        try:
            if identity is not None:
                identity.require_current()
        except DatabaseReplacedError as error:
            self._refusal = error
            raise


def copy_database(conn: Connection, target: Path, like: Path | None = None) -> None:
    """
    Copy the database of *conn* to *target*, consistent despite concurrent writes.

    Args:
        conn: A connection to the database.
        target: Where the copy is created.
        like: The file whose owner, group and mode it gets; without one, it is this user's alone.

    Raises:
        FileExistsError: *target* exists.
    """
    os.close(create_private(target) if like is None else create_like(target, like))
    copy = sqlite_module.connect(target)
    try:
        copy.execute(f"PRAGMA synchronous = {EXTRA}")  # A copy has a rollback journal.
        conn.connection.driver_connection.backup(copy)  # type: ignore[union-attr]
    except BaseException:
        target.unlink()
        raise
    finally:
        copy.close()
    keep_names(target.parent)


def _connect(path: Path, mode: str) -> Any:  # noqa: ANN401 - the module is chosen at run time
    require_file(path)
    return sqlite_module.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_SECONDS,
        cached_statements=_STATEMENTS,
    )


def _apply_settings(connection: Any, shown: str) -> None:  # noqa: ANN401 - see above
    for name, value in {**_SETTINGS, "synchronous": synchronous()}.items():
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


def _identity_of(connection: Any, path: Path, opened: Inode | None) -> FileIdentity:  # noqa: ANN401 - see above
    # Reading makes SQLite open the log and its index.
    [mode] = connection.execute("PRAGMA journal_mode").fetchone()
    connection.execute("PRAGMA schema_version").fetchone()
    has_log = mode == "wal" and not isinstance(connection, StillConnection)
    return FileIdentity(path, opened, has_log=has_log)


def file_options(files: FileConnector | None) -> dict[str, Any]:
    """Return the engine options for the file of *files*, or for an in-memory database."""
    options = {"module": sqlite_module}
    if files is None:
        # The database lives as long as its one connection, which threads share in turn.
        memory = connect_memory()
        return {**options, "creator": lambda: memory, "pool_size": 1, "max_overflow": 0}

    def create(record: ConnectionPoolEntry) -> Any:  # noqa: ANN401 - see above
        connection, record.info[IDENTITY] = files.connect()
        return connection

    return {**options, "creator": create}
