"""Following a namespace: every revision once, whole and in order, from any position."""

from __future__ import annotations

import math
import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

from capsule_registry.errors import HistoryCorruptError, IncarnationChangedError
from capsule_registry.history import revisions
from capsule_registry.unit_of_work import namespaces

if TYPE_CHECKING:
    from datetime import timedelta

    from capsule_registry.history.revisions import Revision
    from capsule_registry.unit_of_work.queries import Reading, Scope

#: The interval between reads of the head while nothing happens.
POLL_SECONDS: Final = 0.02


class Watch:
    """
    An iterator of revisions, each whole, in order, without gaps or repetition.

    At the end of the history it waits for more; with a *timeout*, it ends once nothing has come for
    that long. It holds nothing in the database, so a slow consumer lags but is never dropped. After
    an error, a new watch can start from `revision`. Each revision goes to one of the threads
    sharing a watch.

    Creating it and iterating raise:
        FutureRevisionError: The position lies beyond the head.
        RevisionCompactedError: The next revision was pruned: take a snapshot and go on from there.
        IncarnationChangedError: The database was brought back from a backup.
        HistoryCorruptError: A revision is missing.
    """

    def __init__(
        self,
        read: Reading,
        after: int | None,
        incarnation: UUID | None,
        timeout: timedelta | None,
    ) -> None:
        self._read = read
        self._revision = after
        self._incarnation = incarnation
        self._timeout = timeout
        self._waiting: deque[Revision] = deque()
        self._turn = Lock()
        head = read(self._head)
        self._incarnation = head.incarnation
        if after is None:
            self._revision = head.revision

    @property
    def incarnation(self) -> UUID:
        """The incarnation followed: keep it with `revision`, to resume in the same history."""
        return self._incarnation or UUID(int=0)

    @property
    def revision(self) -> int:
        """The position up to which everything was yielded: keep it to resume from there."""
        return self._revision or 0

    @property
    def lag(self) -> int:
        """How many committed revisions have not been yielded yet."""
        return self._read(self._head).revision - self.revision

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Revision:
        patience = math.inf if self._timeout is None else self._timeout.total_seconds()
        deadline = time.monotonic() + patience
        while (found := self.poll()) is None:
            if time.monotonic() >= deadline:
                raise StopIteration
            time.sleep(POLL_SECONDS)
        return found

    def poll(self) -> Revision | None:
        """Return the next revision, or `None` if there is none yet; raises as iteration does."""
        with self._turn:
            if not self._waiting:
                self._waiting.extend(self._read(self._fetch))
            if not self._waiting:
                return None
            found = self._waiting.popleft()
            self._revision = found.revision
            return found

    def _fetch(self, scope: Scope) -> list[Revision]:
        if self._head(scope).revision == self.revision:
            return []
        found = revisions.after(scope, self.revision)
        # Checked last: what was read before a pruning is whole.
        self._head(scope)
        for number, (row, events) in enumerate(found, self.revision + 1):
            if (row["revision"], row["event_count"]) != (number, len(events)):
                raise HistoryCorruptError(f"revision {number}", "it is missing, or not whole")
        return [revisions.record(*one) for one in found]

    def _head(self, scope: Scope) -> namespaces.Head:
        """Return the head, if it still belongs to the history that this watch follows."""
        head = namespaces.head(scope)
        if self._incarnation not in (None, head.incarnation):
            raise IncarnationChangedError(self._incarnation, head.incarnation)
        if self._revision is not None:
            head.require_known(self._revision)
        return head
