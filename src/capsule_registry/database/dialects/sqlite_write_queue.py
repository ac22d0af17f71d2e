"""
A queue for processes that write to one SQLite file.

SQLite's own busy handler backs off, so that of sixteen writers one may wait for seconds while
another writes a hundred times. Here they take turns, in about the order of their coming, by locks
on two small files beside the database (never on the database itself: closing a descriptor of it
would drop SQLite's locks). The locks go with the process that holds them, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How often the one who is next looks whether the turn is free, and the others who is next.
_NEXT_PAUSE_SECONDS: Final = 0.0001
_QUEUE_PAUSE_SECONDS: Final = 0.005


class WriteQueue:
    """
    The queue of one file.

    Whoever wants the turn must first be the one who is next, and stays so until the turn is free.
    So a process that has just had the turn cannot take it again before one that was waiting.
    """

    def __init__(self, file: Path) -> None:
        self._next = file.with_name(f"{file.name}-next")
        self._turn = file.with_name(f"{file.name}-turn")
        self._descriptors: set[int] = set()

    @contextmanager
    def turn(self, timeout: float) -> Iterator[None]:
        """
        Wait for the turn, and have it.

        Raises:
            TimeoutError: It did not come within *timeout* seconds.
            OSError: The directory cannot be written.
        """
        deadline = time.monotonic() + timeout
        with self._opened(self._turn) as turn:
            with self._opened(self._next) as first:
                _wait(first, deadline, _QUEUE_PAUSE_SECONDS)
                _wait(turn, deadline, _NEXT_PAUSE_SECONDS)
            yield

    @contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        """Give a descriptor of the file at *path*; closing it gives up its lock."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        self._descriptors.add(descriptor)
        try:
            yield descriptor
        finally:
            if descriptor in self._descriptors:
                self._descriptors.remove(descriptor)
                os.close(descriptor)

    def forget(self) -> None:
        """Close, in a forked child, what the parent had open: its locks are the parent's alone."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def _wait(descriptor: int, deadline: float, pause: float) -> None:
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
    Whose turn it is to write: the threads of this process first, then the processes.

    Threads wait here, and not for a connection, so that waiting writers keep none from readers.
    """

    def __init__(self, file: Path | None) -> None:
        self._lock = Lock()
        self._queue = WriteQueue(file) if file else None

    @contextmanager
    def turn(self, timeout: float) -> Iterator[None]:
        """
        Wait for the turn, and have it.

        Raises:
            TimeoutError: It did not come within *timeout* seconds; says who kept it.
        """
        lock = self._lock
        if not lock.acquire(timeout=timeout):
            raise TimeoutError("another thread of this process keeps it locked")
        try:
            with self._queue.turn(timeout) if self._queue else nullcontext():
                yield
        finally:
            lock.release()

    def forget(self) -> None:
        """Start anew in a forked child, where nobody waits."""
        self._lock = Lock()
        if self._queue:
            self._queue.forget()
