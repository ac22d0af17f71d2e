"""
The turn to write, among the threads of this process and then among processes.

A signal handler may raise between any two steps, also while something is being released. So the
turn is not a lock, which would stay locked, but a permit that exists once: it waits in a queue, or
its holder has it. If neither is so, its holder's frame is gone, and there is a new permit; and a
thread that asks for the turn while it has it was interrupted in giving it back.
"""

from __future__ import annotations

import os
import time
from queue import Empty, SimpleQueue
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Final
from weakref import ref

from capsule_registry.database.dialects.sqlite_write_queue import WriteQueue
from capsule_registry.errors import RegistryUnavailableError

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from sqlalchemy import PoolProxiedConnection

#: How often a waiting thread looks whether the permit is lost.
_LOOK_SECONDS: Final = 0.05


class _Permit:
    """The right to write."""

    __slots__ = ("__weakref__",)


class Turn:
    """A turn to write, or the wait for it, and all that must be released at its end."""

    def __init__(self, permits: SimpleQueue[_Permit]) -> None:
        self._permits = permits
        self._thread, self._process = get_ident(), os.getpid()
        #: The permit, once it has come; only one can take it out again.
        self.held: list[_Permit] = []
        self.file: FileIO | None = None
        #: The connection in a transaction, once there is one.
        self.connection: PoolProxiedConnection | None = None

    def is_left_behind(self) -> bool:
        """Return whether it has the permit, though its thread asks for another turn."""
        return bool(self.held) and self._thread == get_ident()

    def end(self) -> None:
        """
        Release everything. Idempotent, and safe to repeat if it was interrupted.

        A connection that is still open then was not given back, and is thrown away; but not in a
        forked child, since it is the parent's.
        """
        conn = self.connection
        if conn is not None and conn.is_valid and os.getpid() == self._process:
            conn.invalidate()
        if self.file is not None:
            self.file.close()
        if self.held:
            self._permits.put(self.held.pop())


class Turns:
    """
    The turns to write to one database.

    Threads wait here, not for a connection, so that waiting writers keep none from readers.

    Args:
        file: The SQLite file, or `None` for other databases.
        shown: The database, as errors name it.
    """

    def __init__(self, file: Path | None, shown: str) -> None:
        self._shown = shown
        self._queue = WriteQueue(file) if file else None
        self._start()

    def _start(self) -> None:
        self._renewing = Lock()
        self._permits: SimpleQueue[_Permit] = SimpleQueue()
        self._known: set[ref[Turn]] = set()
        self._renew()

    def _renew(self) -> None:
        permit = _Permit()
        self._permit = ref(permit)
        self._permits.put(permit)

    def take(self, timeout: float) -> Turn:
        """
        Wait for the turn; end it by `Turn.end`.

        Raises:
            RegistryUnavailableError: It did not come within *timeout* seconds; says who holds it.
        """
        turn = Turn(self._permits)
        self._known.add(ref(turn, self._known.discard))
        try:
            self._wait_for_permit(turn, timeout)
            if self._queue is not None:
                turn.file = self._queue.take(timeout, self._shown)
        except BaseException:
            turn.end()
            raise
        return turn

    def _wait_for_permit(self, turn: Turn, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            self._recover()
            try:
                # Not in a variable, which a traceback would keep.
                turn.held.append(self._permits.get(timeout=min(_LOOK_SECONDS, timeout)))
            except Empty:
                if time.monotonic() > deadline:
                    reason = "another thread of this process keeps it locked"
                    raise RegistryUnavailableError(self._shown, reason) from None
            else:
                return

    def _recover(self) -> None:
        """Bring the permit back if it is lost, or if this thread has left its turn behind."""
        for known in [*self._known]:
            if (turn := known()) is not None and turn.is_left_behind():
                turn.end()
        with self._renewing:
            if self._permit() is None:
                self._renew()

    def forget(self) -> None:
        """Reset in a forked child, where nobody waits."""
        self._start()
        if self._queue:
            self._queue.forget()
