"""The registry as it is, or was, at one revision: the verbs that read, and nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from capsule_registry.api.reads import RegistryReader
from capsule_registry.clocks import Moment, StoppedClock
from capsule_registry.errors import (
    ForkedTransactionError,
    IncarnationChangedError,
    RegistryClosedError,
)
from capsule_registry.history import pruning, revisions
from capsule_registry.history.time_travel import PastScope
from capsule_registry.unit_of_work import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from capsule_registry.database.database import Database
    from capsule_registry.unit_of_work.registered_objects import Instances
    from capsule_registry.unit_of_work.scope import Reading, Scope

T = TypeVar("T")


class View(RegistryReader):
    """What can be asked of the registry at one revision."""

    #: Which revision: from here a watch loses nothing.
    revision: int


class Snapshot(View):
    """The live tables at one moment, as long as its block lasts; not for two threads at once."""

    def __init__(
        self, scope: Scope, revision: int, database: Database, instances: Instances
    ) -> None:
        self.revision = revision
        self._database = database
        self._instances = instances
        self._scope: Scope | None = scope
        self._process = os.getpid()

    def _read(self, prepare: Callable[[], Callable[[Scope], T]]) -> T:
        if os.getpid() != self._process:
            raise ForkedTransactionError
        if self._scope is None:
            raise RegistryClosedError
        work = prepare()
        with self._database.translating():
            return work(self._scope)

    def end(self) -> None:
        """Refuse any further use."""
        self._scope = None

    def __repr__(self) -> str:
        return f"Snapshot(revision={self.revision})"


def look_back(
    read: Reading, instances: Instances, *, revision: int | None, time: datetime | None
) -> Past:
    """Return the registry as it was at *revision*, or at *time*; see `CapsuleRegistry.at`."""
    if (revision is None) == (time is None) or isinstance(revision, bool):
        raise TypeError("at() takes either a revision or a time")
    if time is not None and time.tzinfo is None:
        raise TypeError("a time needs a zone")

    def find(scope: Scope) -> Past:
        if time is not None:
            then = (revisions.at_time(scope, time), revisions.in_calendar(time))
        else:
            then = (revision or 0, pruning.time_of(scope, revision or 0))
        head = namespaces.head(scope)
        head.check(then[0])
        return Past(read, *then, head.incarnation, instances)

    return read(find)


class Past(View):
    """
    The registry as it was, told from its history: every call reads what it needs by index.

    Each call may raise `RevisionCompactedError` once the history was pruned beyond the revision,
    and `IncarnationChangedError` once the database was brought back from a backup.
    """

    def __init__(
        self,
        read: Reading,
        revision: int,
        time: datetime,
        incarnation: UUID,
        instances: Instances,
    ) -> None:
        self.revision = revision
        self._time = time
        self._reading = read
        self._incarnation = incarnation
        self._instances = instances

    def _read(self, prepare: Callable[[], Callable[[Scope], T]]) -> T:
        work = prepare()

        def told(scope: Scope) -> T:
            clock = StoppedClock(Moment(self._time))
            result = work(PastScope(scope.conn, scope.namespace, clock, self.revision))
            # Looked at last: what was read before a pruning is whole.
            head = namespaces.head(scope)
            if head.incarnation != self._incarnation:
                raise IncarnationChangedError(self._incarnation, head.incarnation)
            head.check(self.revision)
            return result

        return self._reading(told)

    def __repr__(self) -> str:
        return f"Past(revision={self.revision})"
