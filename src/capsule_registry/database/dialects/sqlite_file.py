"""SQLite files: created safely, refused where locks cannot be trusted, their errors translated."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NoReturn

from capsule_registry.errors import (
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW).close()


def opened(path: Path, flags: int) -> FileIO:
    """
    Open the file at *path*, for its owner only if it is created.

    In one step: an exception between opening and wrapping would leave a descriptor behind.
    """
    (file,) = map(FileIO, map(os.open, (path,), (flags,), (0o600,)), ("r+",))
    return file


def require_file(path: Path) -> None:
    """
    Raise unless *path* is a file that a connection can be made to.

    Raises:
        RegistryUnavailableError: It does not exist.
        InvalidDatabaseError: It is not a file, or has several hard links.
    """
    with named_errors(path):
        if not path.exists():
            raise RegistryUnavailableError(f"sqlite:///{path}", "the database does not exist")
        if not path.is_file():
            raise InvalidDatabaseError(f"sqlite:///{path}", "it is no file")
        if path.stat().st_nlink > 1:
            reason = "it has a second name (a hard link), under which SQLite would keep another log"
            raise InvalidDatabaseError(f"sqlite:///{path}", reason)


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


def log_size(path: Path) -> int:
    """Return the size in bytes of the write-ahead log beside the database at *path*."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


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
