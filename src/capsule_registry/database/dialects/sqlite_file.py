"""SQLite files: created safely, refused where locks cannot be trusted, their errors translated."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final, NoReturn

from capsule_registry.database.dialects.sqlite_sidecars import (
    LOG,
    beside,
    create_for_owner_of,
    give_to_owner_of,
)
from capsule_registry.errors import (
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

#: File systems that other machines, or the host of a virtual one, can write at the same time.
#: Sources: https://sqlite.org/howtocorrupt.html §2; those that GNU coreutils (`src/stat.c`) calls
#: remote, systemd (`fstype_is_network`) and util-linux (`mnt_fstype_is_netfs`) network; and from
#: their own manuals virtiofs, Docker Desktop (fakeowner, osxfs), WSL (drvfs), WEKA, StorNext
#: (cvfs), BeeGFS, CXFS, Cray DVS.
_SHARED: Final = frozenset(
    {
        "acfs",
        "afs",
        "auristorfs",
        "beegfs",
        "beegfs_nodev",
        "ceph",
        "coda",
        "cvfs",
        "cxfs",
        "davfs",
        "drvfs",
        "dvs",
        "fakeowner",
        "fhgfs",
        "gfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "grpcfuse",
        "ibrix",
        "kafs",
        "lustre",
        "ncp",
        "ncpfs",
        "ocfs2",
        "orangefs",
        "osxfs",
        "panfs",
        "prl_fs",
        "prl_fs_freeze",
        "pvfs2",
        "snfs",
        "sshfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
        "vxfs",
        "wekafs",
    }
)
#: Each version of these protocols has a name of its own (`nfs4`, `smb3`, `9p2000.L`).
_SHARED_FAMILIES: Final = ("9p", "cifs", "nfs", "smb")
#: A program serves the files, and how it locks and syncs them is its own affair.
_FUSE: Final = "fuse"
#: FUSE on a block device, such as NTFS and exFAT on a disk. Source: Linux,
#: Documentation/filesystems/fuse.rst.
_LOCAL_FUSE: Final = "fuseblk"
_MOUNTS: Final = Path("/proc/self/mounts")


def refuse_network_file_system(path: Path) -> None:
    """Raise `InvalidDatabaseError` if *path* is on a file system with unreliable locks."""
    if kind := network_file_system(path):
        reason = (
            f"locks cannot be trusted on its file system ({kind}), which is a network's or served "
            "by a program: use a local disk or a database server. allow_network_file_system opens "
            "it, and gives up this: if two machines, or a host and its guest, use it at once, "
            "acknowledged changes can be lost and the file can be corrupted; and that file system "
            "alone decides what is left of them after a power cut"
        )
        raise InvalidDatabaseError(f"sqlite:///{path}", reason)


def create_file(path: Path, *, with_directory: bool = False) -> None:
    """
    Create a missing file, and its directory if asked, with access for its owner only.

    What root creates belongs to whom the directory above it belongs to.
    """
    with named_errors(path):
        if with_directory:
            _create_directory(path.parent)
        with suppress(FileExistsError):
            os.close(create_for_owner_of(path, path.parent))


def _create_directory(directory: Path) -> None:
    """Create *directory* and those above it; each outlasts a power cut."""
    if directory.is_dir():
        return
    _create_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    with _opened(directory) as descriptor:
        give_to_owner_of(descriptor, directory.parent)
    keep_names(directory.parent)


def keep_names(directory: Path) -> None:
    """Synchronise *directory*, so that what was created in it outlasts a power cut."""
    # It may be writable and not readable, as SQLite accepts too.
    with suppress(PermissionError), _opened(directory) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


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
        InvalidDatabaseError: It is not a file, or another path leads to it too: it has several hard
            links, or is mounted alone.
    """
    with named_errors(path):
        if not path.exists():
            raise RegistryUnavailableError(f"sqlite:///{path}", "the database does not exist")
        if not path.is_file():
            raise InvalidDatabaseError(f"sqlite:///{path}", "it is no file")
        if path.stat().st_nlink > 1:
            reason = "it has a second name (a hard link), under which SQLite would keep another log"
            raise InvalidDatabaseError(f"sqlite:///{path}", reason)
        if path in mount_points(_mounts()):
            reason = (
                "it was mounted alone, as containers do, so its log here is not the one at its "
                "origin: mount its directory"
            )
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
        return beside(path, LOG).stat().st_size
    except FileNotFoundError:
        return 0


def network_file_system(path: Path) -> str | None:
    """Return the type of the file system of *path* if its locks cannot be trusted, else `None`."""
    kind = file_system_of(path, _mounts())
    return kind if kind is not None and not _has_reliable_locks(kind) else None


def _has_reliable_locks(kind: str) -> bool:
    family, _, _ = kind.partition(".")
    if family.startswith(_FUSE):
        return family == _LOCAL_FUSE
    return family not in _SHARED and not family.startswith(_SHARED_FAMILIES)


def file_system_of(path: Path, mounts: str) -> str | None:
    """Return the file system type of *path* according to *mounts*, a table in fstab format."""
    best, kind = -1, None
    for mounted, found in _points(mounts):
        if path.is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), found
    return kind


def mount_points(mounts: str) -> set[PurePath]:
    """Return the paths of *mounts*, a table in fstab format."""
    return {mounted for mounted, _ in _points(mounts)}


def _points(mounts: str) -> Iterator[tuple[PurePath, str]]:
    """Yield the path and the file system type of each mount."""
    for line in filter(None, mounts.split("\n")):
        _, point, kind, *_ = line.split(" ")
        yield PurePath(_unescaped(point)), kind


def _unescaped(text: str) -> str:
    """Decode the octal escapes of the mount table."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _mounts() -> str:
    try:
        return os.fsdecode(_MOUNTS.read_bytes())
    except OSError:  # This system has no mount table.
        return ""
