"""
A fair queue of the processes that write to one SQLite file.

SQLite's own busy handler backs off, so that of sixteen writers one may wait for seconds while
another writes a hundred times. Here they take turns, roughly in order of arrival, by locks on two
small files beside the database (never on the database itself: closing a descriptor of it would
drop SQLite's locks). The locks are released when their process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

from capsule_registry.database.dialects.sqlite_file import raise_named
from capsule_registry.database.dialects.sqlite_sidecars import beside, open_beside
from capsule_registry.errors import RegistryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How often the next writer polls for the turn, and the others poll to become next.
_NEXT_PAUSE_SECONDS: Final = 0.0001
_QUEUE_PAUSE_SECONDS: Final = 0.005


class WriteQueue:
    """
    The queue of one file.

    A writer first becomes next, and stays so until the turn is free. So a process that has just had
    the turn cannot take it again before one that was already next.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptors: set[int] = set()

    def take(self, timeout: float, shown: str) -> int:
        """
        Wait for the turn, and return the descriptor to give back.

        Raises:
            RegistryUnavailableError: The turn did not come within *timeout* seconds, or a file
                cannot be created; the message names the database as *shown*.
            PermissionDeniedError: The files of the queue may not be opened or created.
        """
        deadline = time.monotonic() + timeout
        turn = self._open("-turn")
        try:
            first = self._open("-next")
            try:
                _wait(first, deadline, _QUEUE_PAUSE_SECONDS)
                _wait(turn, deadline, _NEXT_PAUSE_SECONDS)
            finally:
                self.give_back(first)
        except BaseException as error:
            self.give_back(turn)
            if isinstance(error, TimeoutError):
                raise RegistryUnavailableError(shown, str(error)) from error
            raise
        return turn

    def give_back(self, descriptor: int) -> None:
        """Release the lock of *descriptor* by closing it; a no-op in a forked child."""
        if descriptor in self._descriptors:
            self._descriptors.remove(descriptor)
            os.close(descriptor)

    def _open(self, ending: str) -> int:
        try:
            descriptor = open_beside(self._file, ending)
        except OSError as error:
            raise_named(error, beside(self._file, ending))
        self._descriptors.add(descriptor)
        return descriptor

    def forget(self) -> None:
        """Close the inherited descriptors in a forked child; the locks remain the parent's."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def _wait(descriptor: int, deadline: float, pause: float) -> None:
    """Lock the file of *descriptor*, or raise `TimeoutError` past the *deadline*."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("another process keeps it locked") from None
            time.sleep(random.uniform(0.5, 1.5) * pause)  # noqa: S311 - nothing secret
        else:
            return


class Turns:
    """
    The turn to write, among the threads of this process and then among processes.

    Threads wait here, not for a connection, so that waiting writers keep none from readers.

    Args:
        file: The SQLite file, or `None` for other databases.
        shown: The database, as errors name it.
    """

    def __init__(self, file: Path | None, shown: str) -> None:
        self._lock = Lock()
        self._shown = shown
        self._queue = WriteQueue(file) if file else None

    @contextmanager
    def turn(self, timeout: float) -> Iterator[None]:
        """
        Wait for the turn, and hold it.

        Raises:
            RegistryUnavailableError: It did not come within *timeout* seconds; says who holds it.
        """
        lock = self._lock
        if not lock.acquire(timeout=timeout):
            reason = "another thread of this process keeps it locked"
            raise RegistryUnavailableError(self._shown, reason)
        try:
            if self._queue is None:
                yield
                return
            taken = self._queue.take(timeout, self._shown)
            try:
                yield
            finally:
                self._queue.give_back(taken)
        finally:
            lock.release()

    def forget(self) -> None:
        """Reset in a forked child, where nobody waits."""
        self._lock = Lock()
        if self._queue:
            self._queue.forget()
