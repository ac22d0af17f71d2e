"""
Which file a connection has open, compared with what is at its path now.

A file that was deleted or replaced while it is open still takes writes, but under no name: what is
acknowledged would be lost. The same holds for the log and its index beside it, which SQLite keeps
while any connection is open. So the identity of all three is kept with each connection.

A copy written over the file keeps its identity. In WAL mode only checkpoints write to the file, and
they say so in the WAL index first, so any other change of its size or time gives the copy away.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from capsule_registry.database.dialects.sqlite_wal_index import (
    Inode,
    UntrustedIndexError,
    checkpoints,
    inode,
    is_checkpointing,
    map_index,
)
from capsule_registry.errors import DatabaseReplacedError

if TYPE_CHECKING:
    import mmap
    from pathlib import Path

#: What SQLite keeps beside the database while it is open.
_SIDECARS: Final = ("-wal", "-shm")


class FileIdentity:
    """
    The database file that a connection has open, with its log and the index of that.

    Args:
        path: The path of the database. A connection must have read from it, and stay open.
        opened: The file's `inode` before that connection was opened.
        has_log: Whether the connection uses a write-ahead log.

    Raises:
        DatabaseReplacedError: The file was replaced meanwhile.
    """

    def __init__(self, path: Path, opened: Inode | None, *, has_log: bool) -> None:
        self._path = path
        self._names = [str(path), *(f"{path}{end}" for end in _SIDECARS if has_log)]
        self._inodes = [opened, *map(inode, self._names[1:])]
        #: The mapped WAL index, and why there is none.
        self.index: mmap.mmap | None = None
        self.distrust: str | None = None
        try:
            self.index = map_index(path) if has_log else None
        except UntrustedIndexError as error:
            self.distrust = str(error)
        self._checkpoints = b"" if self.index is None else checkpoints(self.index)
        #: The size of the database file, and when it was last written to.
        self._written: tuple[int, int] | None = None
        self.require_current()

    @property
    def inode(self) -> Inode | None:
        """The inode of the database file."""
        return self._inodes[0]

    def require_current(self) -> None:
        """
        Require that the file, its log and its index are still those at their paths.

        Raises:
            DatabaseReplacedError: One is gone or another, or something else than SQLite has written
                to the file.
        """
        before = b"" if self.index is None else checkpoints(self.index)
        try:
            for name, opened in zip(self._names, self._inodes, strict=True):
                if (found := inode(name)) != opened:
                    raise replaced(self._path, name, found)
            if self.index is not None:
                self._require_unwritten(self.index, before)
        except OSError as error:
            raise _replaced(self._path, str(error)) from error

    def _require_unwritten(self, index: mmap.mmap, before: bytes) -> None:
        file = os.stat(self._path)  # noqa: PTH116 - twice as fast
        written = file.st_size, file.st_mtime_ns
        if written != self._written:
            is_same = before == self._checkpoints == checkpoints(index)
            if self._written is not None and is_same and not is_checkpointing(before):
                raise _replaced(self._path, "another program than SQLite has written to it")
            self._written = written
        # The state from before the file was looked at: a checkpoint since then will differ.
        self._checkpoints = before


def replaced(path: Path, name: str | Path, found: Inode | None) -> DatabaseReplacedError:
    """Return the error for the database at *path* whose part *name* is now *found*."""
    return _replaced(path, f"{name} is {'gone' if found is None else 'another file'}")


def _replaced(path: Path, what: str) -> DatabaseReplacedError:
    reason = (
        f"it was replaced while it was open ({what}), so nothing was acknowledged: close the "
        "registry, and see which file is the right one before you open it again"
    )
    return DatabaseReplacedError(f"sqlite:///{path}", reason)
