"""
The header of SQLite's WAL index, which changes with every commit of any process.

SQLite keeps it in the first 48 bytes of the `-shm` file beside the database, which all processes
map (https://sqlite.org/walformat.html §2.1). Comparing them takes a tenth of a microsecond, and
shows whether anything has been committed; a number in it counts the commits.

The descriptor of that file is never closed while SQLite may have the file open in this process:
closing any descriptor drops all locks of the process on the file, and another process would then
overwrite what is being read. SQLite removes the file when the last connection of all processes is
closed; only then, or when the process ends, is the descriptor closed.
"""

from __future__ import annotations

import mmap
import os
import platform
import struct
import sys
from collections import deque
from operator import itemgetter
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

#: The size in bytes of what is mapped: two copies of the header, and the state of checkpoints.
_SIZE: Final = 136
#: Slices the first copy of the header out of the mapped memory.
HEADER: Final = slice(48)
#: In the header: how many commits there were since the index was made, and the log's salts.
_COMMITS: Final = slice(8, 12)
_SALTS: Final = slice(32, 40)
#: How many frames of the log have been copied to the database, and how many are about to be.
_COPIED: Final = slice(96, 100)
_ATTEMPTED: Final = slice(128, 132)
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
#: The format number in the header; there has been no other.
_FORMAT: Final = 3_007_000
#: The platforms whose memory ordering this was tested with.
_PLATFORMS: Final = {("linux", "x86_64")}

#: The device and inode number of a file.
Inode = tuple[int, int]

_kept: dict[Inode | None, tuple[int, mmap.mmap]] = {}
#: Descriptors whose file could not be mapped, or not yet: an exception may come in between.
_unmapped: list[int] = []
_lock = Lock()


class UntrustedIndexError(Exception):
    """The header is not available or cannot be trusted; the message says why."""


def map_index(file: Path) -> mmap.mmap:
    """
    Map the WAL index of the database at *file*, which a connection has read from and keeps open.

    Raises:
        UntrustedIndexError: It cannot be mapped, or cannot be trusted.
    """
    if (sys.platform, platform.machine()) not in _PLATFORMS:
        reason = f"it is not tested on {sys.platform} with {platform.machine()}"
        raise UntrustedIndexError(reason)
    try:
        memory = _map(file, inode(f"{file}-shm"))
    except (OSError, ValueError) as error:
        raise UntrustedIndexError(str(error)) from error
    [found] = struct.unpack("=I", memory[:4])
    if found != _FORMAT:
        raise UntrustedIndexError(f"its format is {found}, and {_FORMAT} is known")
    return memory


def commits_between(before: bytes, after: bytes) -> int:
    """Return how many commits took place between two headers; the number wraps around."""
    [first], [last] = (struct.unpack("=I", header[_COMMITS]) for header in (before, after))
    return int(last - first) % 2**32


def checkpoints(memory: mmap.mmap) -> bytes:
    """Return bytes that change before and after each checkpoint that writes to the database."""
    return memory[_SALTS] + memory[_COPIED] + memory[_ATTEMPTED]


def is_checkpointing(found: bytes) -> bool:
    """Return whether *found*, from `checkpoints`, is of a checkpoint under way."""
    copied, attempted = struct.unpack("=II", found[-8:])
    return bool(attempted > copied)


def let_go() -> None:
    """Close the descriptors of files that SQLite has removed: nobody uses those any more."""
    with _lock:
        gone = [key for key, (one, _) in _kept.items() if not os.fstat(one).st_nlink]
        # Each in one step, so that no descriptor is left open, or closed twice.
        deque(map(os.close, map(itemgetter(0), map(_kept.pop, gone))), maxlen=0)


def inode(path: str | Path | int) -> Inode | None:
    """Return the inode of the file at *path* or of a descriptor, or `None` if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as fast
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _map(file: Path, key: Inode | None) -> mmap.mmap:
    with _lock:
        if key not in _kept and key not in map(_keep, [*_unmapped]):
            _unmapped.extend(map(os.open, (f"{file}-shm",), (_FLAGS,)))
            if _keep(_unmapped[-1]) != key:
                raise ValueError("its WAL index was replaced while it was opened")
        return _kept[key][1]


def _keep(descriptor: int) -> Inode | None:
    """
    Map the file of *descriptor*, which is unmapped, and keep both; return its inode.

    In one step: a map that is dropped closes its own descriptor of the file.
    """
    found = inode(descriptor)
    sizes, flags, access = (_SIZE,), (mmap.MAP_SHARED,), (mmap.PROT_READ,)
    maps = map(mmap.mmap, (descriptor,), sizes, flags, access)
    _kept.update(zip((found,), zip((descriptor,), maps, strict=True), strict=True))
    _unmapped.remove(descriptor)
    return found
