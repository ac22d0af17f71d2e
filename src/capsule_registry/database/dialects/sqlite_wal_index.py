"""
The header of SQLite's WAL index, which changes with every commit of any process.

SQLite keeps it in the first 48 bytes of the `-shm` file beside the database, which all processes
map (https://sqlite.org/walformat.html §2.1). Reading them there takes a tenth of a microsecond,
and tells whether anything has been committed.

The descriptor on that file is never closed while SQLite may have the file open in this process:
closing any descriptor drops all locks that the process holds on the file, and another process
would then write over what is being read here. SQLite removes the file when the last connection of
all processes is closed; only then, or when the process ends, the descriptor goes.
"""

from __future__ import annotations

import mmap
import os
import platform
import struct
import sys
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

#: The part of the file that changes with every commit, its first of two copies.
_SIZE: Final = 48
#: Cuts it out of the memory that it is in.
HEADER: Final = slice(_SIZE)
#: The format that the header says; the only one there has been.
_FORMAT: Final = 3_007_000
#: Where the order in which stores become visible is that under which this was tested.
_PLATFORMS: Final = {("linux", "x86_64")}

#: Device and number of a file.
Inode = tuple[int, int]

_kept: dict[Inode | None, tuple[int, mmap.mmap]] = {}
_lock = Lock()


class UntrustedIndexError(Exception):
    """The header cannot be had or not be trusted; says why."""


@dataclass(frozen=True, slots=True)
class WalIndex:
    """The header of one database's WAL index, mapped."""

    file: Path
    #: Its first 48 bytes are the header; they are read by slicing.
    memory: mmap.mmap
    _files: tuple[Inode | None, Inode | None]

    @classmethod
    def of(cls, file: Path, opened: Inode | None) -> WalIndex:
        """
        Map the header of the database at *file*, from which a connection has read and stays open.

        Args:
            file: The database.
            opened: What it was, by `inode`, before that connection was opened.

        Raises:
            UntrustedIndexError: It cannot be, or cannot be trusted.
        """
        if (sys.platform, platform.machine()) not in _PLATFORMS:
            reason = f"it is not tested on {sys.platform} with {platform.machine()}"
            raise UntrustedIndexError(reason)
        try:
            files = (opened, inode(_shm(file)))
            index = cls(file, _map(file, files[1]), files)
        except (OSError, ValueError) as error:
            raise UntrustedIndexError(str(error)) from error
        [found] = struct.unpack("=I", index.memory[:4])
        if found != _FORMAT:
            raise UntrustedIndexError(f"its format is {found}, and {_FORMAT} is known")
        index.require_current()
        return index

    def require_current(self) -> None:
        """
        Require that the files at the path are those that were opened.

        Raises:
            UntrustedIndexError: They are others.
        """
        if (inode(self.file), inode(_shm(self.file))) != self._files:
            raise UntrustedIndexError("the database was replaced while it was open")


def let_go() -> None:
    """Close the descriptors on files that SQLite has removed, because nobody uses them."""
    with _lock:
        for key, (descriptor, _) in [*_kept.items()]:
            if not os.fstat(descriptor).st_nlink:
                os.close(descriptor)
                del _kept[key]


def _shm(file: Path) -> str:
    return f"{file}-shm"


def inode(path: str | Path | int) -> Inode | None:
    """Return what names the file that is at *path* now, or that a descriptor is of, if any."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the time
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _map(file: Path, key: Inode | None) -> mmap.mmap:
    with _lock:
        if key not in _kept:
            descriptor = os.open(_shm(file), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            opened = inode(descriptor)
            memory = mmap.mmap(descriptor, _SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
            _kept[opened] = (descriptor, memory)
            if opened != key:
                raise ValueError("its WAL index was replaced while it was opened")
        return _kept[key][1]
