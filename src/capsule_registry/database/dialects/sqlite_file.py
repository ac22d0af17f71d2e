"""
SQLite files: created safely, and opened with the settings that the guarantees rely on.

Every setting is read back, and a connection without it is refused.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NoReturn

from sqlalchemy.pool import QueuePool

from capsule_registry.database.dialects.sqlite_library import journal_mode, sqlite_module
from capsule_registry.errors import (
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

#: Network file systems. Source: https://sqlite.org/howtocorrupt.html §2.
_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    }
)
_MOUNTS: Final = Path("/proc/self/mounts")


def refuse_network_file_system(path: Path) -> None:
    """Raise `InvalidDatabaseError` if *path* is on a network file system, with unreliable locks."""
    if kind := network_file_system(path):
        reason = (
            f"it is on a network file system ({kind}), whose locks cannot be trusted: use a local "
            "disk or a server, or say allow_network_file_system if it is used from one host alone"
        )
        raise InvalidDatabaseError(f"sqlite:///{path}", reason)


def create_file(path: Path, *, with_directory: bool = False) -> None:
    """Create a missing file, and its directory if asked, with access for its owner only."""
    with named_errors(path):
        if with_directory:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Translate `OSError` into an error of ours that names *path*."""
    try:
        yield
    except OSError as error:
        raise_named(error, path)


def raise_named(error: OSError, path: Path) -> NoReturn:
    """
    Translate *error* into an error of ours that names *path*, and raise that.

    Raises:
        InvalidDatabaseError: *path* leads to a directory or through a file.
        PermissionDeniedError: The file may not be opened or created.
        RegistryUnavailableError: The directory does not exist; also any other error.
    """
    shown = f"sqlite:///{path}"
    match error:
        case FileNotFoundError():
            reason = f"the directory {path.parent} does not exist"
            raise RegistryUnavailableError(shown, reason) from None
        case NotADirectoryError() | IsADirectoryError():
            raise InvalidDatabaseError(shown, str(error.strerror)) from error
        case OSError(errno=errno.EACCES | errno.EPERM | errno.EROFS):
            raise PermissionDeniedError(shown, str(error.strerror)) from error
        case _:
            raise RegistryUnavailableError(shown, str(error.strerror)) from error


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


def log_size(path: Path) -> int:
    """Return the size in bytes of the write-ahead log beside the database at *path*."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _connect(path: Path, mode: str) -> Any:  # noqa: ANN401 - the module is chosen at run time
    with named_errors(path):
        if not path.exists():
            raise RegistryUnavailableError(f"sqlite:///{path}", "the database does not exist")
        if not path.is_file():
            raise InvalidDatabaseError(f"sqlite:///{path}", "it is no file")
        if path.stat().st_nlink > 1:
            reason = "it has a second name (a hard link), under which SQLite would keep another log"
            raise InvalidDatabaseError(f"sqlite:///{path}", reason)
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
    options = {"module": sqlite_module, "poolclass": QueuePool}
    if path is None:
        # The database lives as long as its one connection, which threads share in turn.
        return {**options, "creator": connect_memory, "pool_size": 1, "max_overflow": 0}
    return {**options, "creator": partial(connector(read_only=read_only), path)}


def network_file_system(path: Path) -> str | None:
    """Return the type of the network file system of *path*, or `None` if it is local."""
    kind = file_system_of(path, _mounts())
    return kind if kind in _NETWORK else None


def file_system_of(path: Path, mounts: str) -> str | None:
    """Return the file system type of *path* according to *mounts*, a table in fstab format."""
    best, kind = -1, None
    for line in mounts.splitlines():
        fields = line.split()
        point = PurePosixPath(_unescaped(fields[1]))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind


def _unescaped(text: str) -> str:
    """Decode the escapes of blanks and backslashes in the mount table."""
    for escaped, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escaped, character)
    return text


def _mounts() -> str:
    try:
        return _MOUNTS.read_text()
    except OSError:  # This system has no mount table.
        return ""
