"""
The turn to write, among the threads of this process and then among processes.

A signal handler may raise between any two steps, also while something is being released. So the
turn is not a lock, which would stay locked, but a permit that exists once: it waits in a queue, or
its holder has it. If neither is so, its holder's frame is gone, and there is a new permit; and a
thread that asks for the turn while it has it was interrupted in giving it back.
"""

from __future__ import annotations

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

    from sqlalchemy import Connection

#: How often a waiting thread looks whether the permit is lost.
_LOOK_SECONDS: Final = 0.05


class _Permit:
    """The right to write."""

    __slots__ = ("__weakref__", "holder")

    def __init__(self) -> None:
        self.holder: ref[Turn] | None = None


class Turn:
    """A turn to write, and all that its holder must release."""

    def __init__(self, permits: SimpleQueue[_Permit]) -> None:
        self._permits = permits
        self._thread = get_ident()
        #: The permit, which only one can take out.
        self._held: list[_Permit] = []
        self.file: FileIO | None = None
        #: The connection in a transaction, if there is one yet.
        self.connection: Connection | None = None

    @property
    def is_left_behind(self) -> bool:
        """Whether this thread has it, though it asks for another."""
        return bool(self._held) and self._thread == get_ident()

    def hold(self, permit: _Permit) -> None:
        """Take over *permit*."""
        permit.holder = ref(self)
        self._held.append(permit)

    def end(self) -> None:
        """Release everything. Idempotent, and safe to repeat if it was interrupted."""
        if self.file is not None:
            self.file.close()
        if self._held:
            self._permits.put(self._held.pop())

    def take_back(self) -> None:
        """End the turn of a holder that was interrupted, and its transaction."""
        conn = self.connection
        if conn is not None and not (conn.closed or conn.invalidated):
            conn.invalidate()
        self.end()


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
        self._renewing = Lock()
        self._permits: SimpleQueue[_Permit] = SimpleQueue()
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
        try:
            turn.hold(self._next_permit(timeout))
            if self._queue is not None:
                turn.file = self._queue.take(timeout, self._shown)
        except BaseException:
            turn.end()
            raise
        return turn

    def _next_permit(self, timeout: float) -> _Permit:
        deadline = time.monotonic() + timeout
        while True:
            self._recover()
            try:
                return self._permits.get(timeout=min(_LOOK_SECONDS, timeout))
            except Empty:
                if time.monotonic() > deadline:
                    reason = "another thread of this process keeps it locked"
                    raise RegistryUnavailableError(self._shown, reason) from None

    def _recover(self) -> None:
        """Bring the permit back if it is lost, or if this thread has left its turn behind."""
        permit = self._permit()
        if permit is None:
            with self._renewing:
                if self._permit() is None:
                    self._renew()
            return
        known = permit.holder
        del permit
        if known is not None and (holder := known()) is not None and holder.is_left_behind:
            holder.take_back()

    def forget(self) -> None:
        """Reset in a forked child, where nobody waits."""
        self._renewing, self._permits = Lock(), SimpleQueue()
        self._renew()
        if self._queue:
            self._queue.forget()
