"""A connection pool that loses nothing, whatever exception comes when."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool
from sqlalchemy.pool.base import _ConnectionRecord

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.pool import ConnectionPoolEntry

#: The key in a connection's `info` that says it is idle: nothing of a statement is on its way.
_IDLE: Final = "capsule_registry.idle"
#: How often a waiting thread looks whether a connection was lost, in whose place there may be one.
_LOOK_SECONDS: Final = 0.05


def mark_idle(conn: Connection) -> None:
    """Let *conn* go back to its pool; a connection that is not marked is thrown away."""
    if not conn.invalidated:
        conn.info[_IDLE] = True


class SteadyPool(QueuePool):
    """
    A pool whose connections count as long as somebody has them.

    SQLAlchemy's own counts them, and an exception from a signal handler can come between taking one
    and counting it. What comes back is idle, which its user says by `mark_idle`, or thrown away.
    """

    __module__ = QueuePool.__module__  # Its logger is named after it.

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - of `QueuePool`
        super().__init__(*args, **options)
        self._idle: SimpleQueue[ConnectionPoolEntry] = SimpleQueue()
        self._counting = Lock()
        self._known: set[ref[ConnectionPoolEntry]] = set()

    def _do_get(self) -> ConnectionPoolEntry:
        deadline = monotonic() + self._timeout
        while True:
            try:
                return self._idle.get_nowait()
            except Empty:
                record = self._new_record()
            if record is not None:
                return record
            if monotonic() > deadline:
                raise PoolTimeoutError("the pool's limit is reached", code="3o7r")
            try:
                return self._idle.get(timeout=min(_LOOK_SECONDS, self._timeout))
            except Empty:
                continue

    def _new_record(self) -> ConnectionPoolEntry | None:
        """Return a record that is yet to be connected, or `None` at the limit."""
        with self._counting:
            if -1 < self._max_overflow <= len(self._known) - self.size():
                return None
            record = _ConnectionRecord(self, connect=False)
            self._known.add(ref(record, self._known.discard))
            return record

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        is_idle = record.dbapi_connection is not None and record.info.pop(_IDLE, False)
        if is_idle and not 0 < self.size() <= self._idle.qsize():
            self._idle.put(record)
            return
        self._known.discard(ref(record))
        record.close()

    def dispose(self) -> None:
        """Close the idle connections."""
        while self._idle.qsize():
            try:
                record = self._idle.get_nowait()
            except Empty:
                return
            self._known.discard(ref(record))
            record.close()

    def checkedin(self) -> int:
        """Return how many connections are idle."""
        return self._idle.qsize()

    def checkedout(self) -> int:
        """Return how many connections are in use."""
        return len(self._known) - self.checkedin()

    def overflow(self) -> int:
        """Return how many connections there are beyond the pool's size."""
        return len(self._known) - self.size()


class MemoryPool(SteadyPool):
    """The pool of one connection, with which its database would go: it is never thrown away."""

    __module__ = QueuePool.__module__

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self._idle.put(record)
