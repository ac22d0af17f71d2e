"""
A fair queue of the processes that write to one SQLite file.

SQLite's own busy handler backs off, so that of sixteen writers one may wait for seconds while
another writes a hundred times. Here they take turns, roughly in order of arrival, by locks on two
small files beside the database (never on the database itself: closing a descriptor of it would
drop SQLite's locks). The locks are released when their process ends, however it ends, and when the
object that holds the descriptor is gone, whatever exception came when.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from typing import TYPE_CHECKING, Final
from weakref import ref

from capsule_registry.database.dialects.sqlite_file import named_errors, opened
from capsule_registry.database.dialects.sqlite_sidecars import beside, open_beside
from capsule_registry.errors import RegistryUnavailableError

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

#: How often the next writer polls for the turn, and the others poll to become next.
_NEXT_PAUSE_SECONDS: Final = 0.0001
_QUEUE_PAUSE_SECONDS: Final = 0.005


#: The files that the next writer, and the one whose turn it is, keep locked.
_NEXT: Final = "-next"
_TURN: Final = "-turn"
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class WriteQueue:
    """
    The queue of one file.

    A writer first becomes next, and stays so until the turn is free. So a process that has just had
    the turn cannot take it again before one that was already next.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: set[ref[FileIO]] = set()

    def take(self, timeout: float, shown: str) -> FileIO:
        """
        Wait for the turn, and return the file to close at its end.

        Raises:
            RegistryUnavailableError: The turn did not come within *timeout* seconds, or a file
                cannot be opened or locked; the message names the database as *shown*.
            PermissionDeniedError: The directory cannot be written.
        """
        deadline = time.monotonic() + timeout
        turn = self._opened(_TURN)
        try:
            with self._opened(_NEXT) as first:
                _wait(first, beside(self._file, _NEXT), deadline, _QUEUE_PAUSE_SECONDS)
                _wait(turn, beside(self._file, _TURN), deadline, _NEXT_PAUSE_SECONDS)
        except TimeoutError as error:
            turn.close()
            raise RegistryUnavailableError(shown, str(error)) from error
        except BaseException:
            turn.close()
            raise
        return turn

    def _opened(self, ending: str) -> FileIO:
        path = beside(self._file, ending)
        with named_errors(path):
            try:
                file = opened(path, _FLAGS)
            except (FileNotFoundError, PermissionError):
                os.close(open_beside(self._file, ending))  # Created, or refused with what to do.
                file = opened(path, _FLAGS)
        self._open.add(ref(file, self._open.discard))
        return file

    def forget(self) -> None:
        """Close the inherited descriptors in a forked child; the locks remain the parent's."""
        for known in [*self._open]:
            if file := known():
                file.close()


def _wait(file: FileIO, path: Path, deadline: float, pause: float) -> None:
    """Lock the *file* at *path*, or raise `TimeoutError` past the *deadline*."""
    while not _is_locked(file, path):
        if time.monotonic() > deadline:
            raise TimeoutError("another process keeps it locked")
        time.sleep(random.uniform(0.5, 1.5) * pause)  # noqa: S311 - nothing secret


def _is_locked(file: FileIO, path: Path) -> bool:
    """Lock the *file*, unless somebody else has."""
    with named_errors(path):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
