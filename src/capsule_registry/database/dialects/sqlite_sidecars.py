"""
The files beside a SQLite file: their names, whose they are, and who may not open them.

One command that root runs must not lock out the user that owns the database. SQLite gives its own
files the owner, group and mode of the database; here the others get them.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from capsule_registry.database.dialects.sqlite_library import journal_mode
from capsule_registry.errors import PermissionDeniedError

if TYPE_CHECKING:
    from pathlib import Path

#: The files of SQLite.
LOG: Final = "-wal"
INDEX: Final = "-shm"
JOURNAL: Final = "-journal"

_READ_WRITE: Final = 0o666
_GROUP: Final = 0o070


@lru_cache(maxsize=64)
def beside(file: Path, ending: str) -> Path:
    """Return the path of the file of that *ending* beside *file*."""
    return file.with_name(f"{file.name}{ending}")


def create_private(path: Path) -> int:
    """Create the file at *path* for this user alone, and return its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def create_like(path: Path, like: Path) -> int:
    """
    Create the file at *path* with owner, group and mode of *like*, and return its descriptor.

    What this user may not give stays the user's own, and then gives nobody more access.

    Raises:
        FileExistsError: It exists.
    """
    wanted = like.stat()
    descriptor = create_private(path)
    mode = stat.S_IMODE(wanted.st_mode) & _READ_WRITE
    try:
        if not _given(descriptor, wanted):
            mode &= ~_GROUP
        os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def create_for_owner_of(path: Path, directory: Path) -> int:
    """Create a private file at *path*, and as root give it to the owner of *directory*."""
    descriptor = create_private(path)
    give_to_owner_of(descriptor, directory)
    return descriptor


def give_to_owner_of(descriptor: int, directory: Path) -> None:
    """As root, give the open file to the owner of *directory*."""
    if os.geteuid() == 0:
        _given(descriptor, directory.stat())


def _given(descriptor: int, wanted: os.stat_result) -> bool:
    """Give the open file its group and, as root, its owner; return whether that was permitted."""
    try:
        os.fchown(descriptor, wanted.st_uid if os.geteuid() == 0 else -1, wanted.st_gid)
    except PermissionError:  # Not a member of the group, or a file system without owners.
        return False
    return True


def open_beside(file: Path, ending: str) -> int:
    """
    Return a descriptor of the file of that *ending* beside *file*, made like it if missing.

    Raises:
        PermissionDeniedError: It may not be opened or created; says what to do.
        OSError: Any other reason.
    """
    path = beside(file, ending)
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with suppress(FileNotFoundError):
            return os.open(path, flags)
        with suppress(FileExistsError):
            return create_like(path, file)
        return os.open(path, flags)  # Another process was faster.
    except PermissionError:
        raise _denied(file, path) from None


def require_readable(file: Path) -> None:
    """Raise `PermissionDeniedError` unless this user may read *file*."""
    if not os.access(file, os.R_OK):
        raise PermissionDeniedError(f"sqlite:///{file}", _shown(file, "reading"))


def require_writable(file: Path) -> None:
    """Raise `PermissionDeniedError` unless this user may write *file* and what is beside it."""
    if not os.access(file, os.R_OK | os.W_OK):
        reason = f"{_shown(file)}: open it read-only, or let a user who may write it do this"
        raise PermissionDeniedError(f"sqlite:///{file}", reason)
    for ending in (LOG, INDEX) if journal_mode() == "wal" else (JOURNAL,):
        path = beside(file, ending)
        needed = path if path.exists() else file.parent
        if not os.access(needed, os.R_OK | os.W_OK if needed is path else os.W_OK | os.X_OK):
            raise _denied(file, path)


def may_write(file: Path) -> bool:
    """Return whether this user may write *file*, and create files beside it."""
    return os.access(file, os.R_OK | os.W_OK) and os.access(file.parent, os.W_OK | os.X_OK)


def _denied(file: Path, path: Path) -> PermissionDeniedError:
    if path.exists():
        remedy = "give it the owner, group and mode of the database"
        return PermissionDeniedError(f"sqlite:///{file}", f"{_shown(path)}: {remedy}")
    remedy = "let this user write there, or open the database read-only"
    reason = f"{path.name} cannot be created: {_shown(file.parent)}: {remedy}"
    return PermissionDeniedError(f"sqlite:///{file}", reason)


def _shown(path: Path, purpose: str = "writing") -> str:
    found = path.stat()
    whose = f"user {found.st_uid}, group {found.st_gid}, mode {stat.S_IMODE(found.st_mode):04o}"
    return f"user {os.geteuid()} may not open {path} for {purpose} ({whose})"
