"""Read-only views of the registry at one revision, present or past."""

from __future__ import annotations

import os
from datetime import datetime
from operator import index
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias, TypeVar

from capsule_registry.api.reads import Reads
from capsule_registry.clocks import Moment, StoppedClock
from capsule_registry.errors import (
    ForkedTransactionError,
    IncarnationChangedError,
    RegistryClosedError,
)
from capsule_registry.history import pruning, revisions
from capsule_registry.history.time_travel import PastScope
from capsule_registry.plain_values import plain_time
from capsule_registry.unit_of_work import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from capsule_registry.database.database import Database
    from capsule_registry.unit_of_work.queries import Reading, Scope
    from capsule_registry.unit_of_work.registered_objects import RegisteredObjects

P = ParamSpec("P")
T = TypeVar("T")


class Snapshot(Reads):
    """The live tables at `revision`, until its block ends; not for two threads at once."""

    def __init__(
        self, scope: Scope, revision: int, database: Database, objects: RegisteredObjects
    ) -> None:
        self.revision = revision
        self._database = database
        self._objects = objects
        self._scope: Scope | None = scope
        self._process = os.getpid()

    def _read(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if os.getpid() != self._process:
            raise ForkedTransactionError
        if self._scope is None:
            raise RegistryClosedError
        with self._database.translating():
            return work(self._scope, *args, **kwargs)

    def end(self) -> None:
        """Refuse any further use."""
        self._scope = None

    def __repr__(self) -> str:
        return f"Snapshot(revision={self.revision})"


class Past(Reads):
    """
    The registry as it was, read from its history: every call reads what it needs by index.

    Calls raise `RevisionCompactedError` once the history was pruned beyond the revision, and
    `IncarnationChangedError` once the database was restored from a backup.
    """

    def __init__(
        self,
        read: Reading,
        revision: int,
        time: datetime,
        incarnation: UUID,
        objects: RegisteredObjects,
    ) -> None:
        self.revision = revision
        self._time = time
        self._read_now = read
        self._incarnation = incarnation
        self._objects = objects

    @staticmethod
    def of(
        read: Reading,
        objects: RegisteredObjects,
        *,
        revision: int | None,
        time: datetime | None,
    ) -> Past:
        """Return the registry as it was at *revision*, or at *time*; see `CapsuleRegistry.at`."""
        if (revision is None) == (time is None) or isinstance(revision, bool):
            raise TypeError("at() takes either a revision or a time")
        moment = None if time is None else plain_time(time)
        if moment is not None and moment.tzinfo is None:
            raise TypeError("a time needs a zone")
        wanted = index(revision or 0)

        def find(scope: Scope) -> Past:
            if moment is not None:
                number, then = revisions.at_time(scope, moment), revisions.in_calendar(moment)
            else:
                number = wanted
                then = pruning.time_of(scope, number)
            head = namespaces.head(scope)
            head.require_known(number)
            return Past(read, number, then, head.incarnation, objects)

        return read(find)

    def _read(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def ask(scope: Scope) -> T:
            clock = StoppedClock(Moment(self._time))
            then = PastScope(scope.conn, scope.namespace, clock, self.revision)
            result = work(then, *args, **kwargs)
            # Checked last: what was read before a pruning is complete.
            head = namespaces.head(scope)
            if head.incarnation != self._incarnation:
                raise IncarnationChangedError(self._incarnation, head.incarnation)
            head.require_known(self.revision)
            return result

        return self._read_now(ask)

    def __repr__(self) -> str:
        return f"Past(revision={self.revision})"


def past_at(read: Reading, objects: RegisteredObjects, moment: int | datetime) -> Past:
    """Return the registry as it was at *moment*, a revision or a time; see `Past.of`."""
    if isinstance(moment, datetime):
        return Past.of(read, objects, revision=None, time=moment)
    return Past.of(read, objects, revision=moment, time=None)


#: A view of the registry at one `revision`.
View: TypeAlias = Snapshot | Past
