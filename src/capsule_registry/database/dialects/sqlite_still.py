"""
A SQLite file read as it lies there: nothing is locked, created or changed.

SQLite reads a write-ahead log by an index beside the database, which somebody must be able to
create. Who may not, or does not want to touch the file, reads it here while nobody has it open:
from the disk, or as a copy in memory. Either is of one moment, and whether the file has changed
since is seen by its `Stamp`. Nothing here opens the file itself, only SQLite does: closing a
descriptor of it would drop the locks of this process.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy.exc import DisconnectionError

from capsule_registry.database.dialects.sqlite_library import sqlite_module
from capsule_registry.database.dialects.sqlite_sidecars import INDEX, JOURNAL, LOG, beside
from capsule_registry.errors import PermissionDeniedError, RegistryUnavailableError

#: A larger file is not copied into memory, once for each connection.
LARGEST_COPY: Final = 64 * 2**20
#: How often a copy is tried while somebody changes the file.
_ATTEMPTS: Final = 20
#: File systems count the time of changes in steps of at most this.
_STEP_NS: Final = 20_000_000

#: Inode, size and times of last change of the database, its log and its journal.
Stamp = tuple[tuple[int, ...] | None, ...]


_Connection: Any = sqlite_module.Connection


class StillConnection(_Connection):  # type: ignore[misc]
    """A connection to a database as it was at one moment."""

    file: Path
    stamp: Stamp


def is_current(connection: Any) -> bool:  # noqa: ANN401 - the driver's own
    """Return whether *connection* reads the database as it is now."""
    if not isinstance(connection, StillConnection):
        return True
    return stamp_of(connection.file) == connection.stamp


def stamp_of(file: Path) -> Stamp:
    """Return what changes with every change of the database."""
    return tuple(_stamp(path) for path in (file, beside(file, LOG), beside(file, JOURNAL)))


def has_index(file: Path) -> bool:
    """Return whether the index and the log are there, so that reading creates nothing."""
    return beside(file, INDEX).exists() and beside(file, LOG).exists()


def has_leftovers(file: Path) -> bool:
    """Return whether the log or the journal may say otherwise than the database file."""
    return any(map(_size, (beside(file, LOG), beside(file, JOURNAL))))


def is_copied(file: Path) -> bool:
    """Return whether the database is small enough for `copied_into_memory`."""
    return _size(file) + _size(beside(file, LOG)) <= LARGEST_COPY


def connect_still(file: Path) -> StillConnection:
    """Return a connection to what lies in *file*, of which its log and its journal are no part."""
    return _still(f"{file.as_uri()}?mode=ro&immutable=1", file, stamp_of(file))


def copied_into_memory(file: Path) -> StillConnection:
    """
    Return a connection to a copy of the database, with what is left in its log or journal.

    Raises:
        PermissionDeniedError: It is too large, or what is beside it may not be read.
        RegistryUnavailableError: Somebody keeps changing it.
    """
    shown = f"sqlite:///{file}"
    if not is_copied(file):
        reason = (
            f"user {os.geteuid()} may not write {file.parent}, where SQLite needs an index to read "
            f"it while nobody has it open, and it is larger than the {LARGEST_COPY // 2**20} MiB "
            "that are read as a copy: let a process that may write keep it open"
        )
        raise PermissionDeniedError(shown, reason)
    for _ in range(_ATTEMPTS):
        stamp = _settled_stamp(file)
        memory = _still(":memory:", file, stamp)
        try:
            with closing(connect_still(file)) as found:
                _copy(found, file, memory)
            if is_current(memory):
                return memory
        except sqlite_module.DatabaseError:
            if is_current(memory):
                raise
        memory.close()
    raise RegistryUnavailableError(shown, "it keeps changing while it is copied to be read")


def require_current(connection: Any, *_: object) -> None:  # noqa: ANN401 - the driver's own
    """Refuse a pooled *connection* to what has changed since; the pool makes another."""
    if not is_current(connection):
        raise DisconnectionError


def _still(name: str, file: Path, stamp: Stamp) -> StillConnection:
    connection: StillConnection = sqlite_module.connect(
        name, uri=True, check_same_thread=False, isolation_level=None, factory=StillConnection
    )
    connection.file, connection.stamp = file, stamp
    return connection


def _copy(found: StillConnection, file: Path, memory: StillConnection) -> None:
    if not has_leftovers(file):
        found.backup(memory)
        return
    with TemporaryDirectory(prefix="capsule-registry-") as place:
        copy = Path(place, "copy.db")
        # So that it may be copied though it is half-written, and its size is not as it says.
        found.execute("PRAGMA writable_schema = 1")
        with closing(sqlite_module.connect(copy)) as disk:
            found.backup(disk)
        for ending in (LOG, JOURNAL):
            if _size(beside(file, ending)):
                _copy_beside(file, copy, ending)
        with closing(sqlite_module.connect(copy)) as disk:
            disk.backup(memory)


def _copy_beside(file: Path, copy: Path, ending: str) -> None:
    try:
        shutil.copyfile(beside(file, ending), beside(copy, ending))
    except FileNotFoundError:
        pass  # The stamp will tell.
    except PermissionError as error:
        reason = f"user {os.geteuid()} may not read {beside(file, ending)}, a part of it"
        raise PermissionDeniedError(f"sqlite:///{file}", reason) from error


def _settled_stamp(file: Path) -> Stamp:
    """Return the stamp, once the last change is so old that another has another time."""
    while True:
        stamp = stamp_of(file)
        latest = max(times[-1] for times in stamp if times is not None)
        if not 0 <= time.time_ns() - latest < _STEP_NS:
            return stamp
        time.sleep(_STEP_NS / 1e9)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
