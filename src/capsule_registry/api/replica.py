"""What a standby can be asked: what was, and what is listed, and never who may do what."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from capsule_registry.api.history import History
from capsule_registry.api.point_in_time import look_back
from capsule_registry.entities import capsules
from capsule_registry.errors import FutureRevisionError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.schema import version as schema
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.high_water_mark import look_again

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from capsule_registry.api.point_in_time import Past
    from capsule_registry.unit_of_work.high_water_mark import Sighting
    from capsule_registry.unit_of_work.registered_objects import Instances
    from capsule_registry.unit_of_work.runner import Units
    from capsule_registry.unit_of_work.scope import Scope

T = TypeVar("T")

#: How long a standby is given to catch up.
REPLICA_TIMEOUT: Final = timedelta(seconds=2)
_PAUSE_SECONDS: Final = 0.01


class Replica:
    """
    The registry as a standby knows it: at `min_revision` or later, and it may be behind.

    Each call may raise `FutureRevisionError` if it is asked of another standby that has not got as
    far, and `IncarnationChangedError` if of one with another history.
    """

    def __init__(self, units: Units, instances: Instances, wanted: Sighting) -> None:
        self._units = units
        self._instances = instances
        self._wanted = wanted
        self.min_revision = wanted.revision

    @property
    def revision(self) -> int:
        """How far the standby has got."""
        return self._look(namespaces.head).revision

    def list(
        self, *, after: str | None = None, limit: int | None = None
    ) -> builtins.list[CapsuleId]:
        """
        Return the ids of the registered capsules; see `CapsuleRegistry.list`.

        Raises:
            CapsuleNotFoundError: *after* is not registered there.
            InvalidCapsuleIdError: *after* is outside the grammar of ids.
            ValueError: *limit* is less than one.
        """
        if limit is not None and limit < 1:
            raise ValueError("limit must be at least 1")
        place = None if after is None else CapsuleId(after)
        return self._look(lambda scope: capsules.ids(scope, after=place, most=limit))

    def at(self, *, revision: int | None = None, time: datetime | None = None) -> Past:
        """Return the registry as it was at *revision*, or at *time*; see `CapsuleRegistry.at`."""
        return look_back(self._look, self._instances, revision=revision, time=time)

    @property
    def history(self) -> History:
        """Everything that has happened in the namespace, as far as the standby knows."""
        units = self._units
        return History(self._look, units.database, units.namespace, units)

    def wait(self, timeout: timedelta) -> None:
        """
        Wait until the standby has `min_revision`.

        Raises:
            FutureRevisionError: It has not, after *timeout*.
        """
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            try:
                self._units.database.read(self._refuse_empty)
                self._look(namespaces.head)
            except FutureRevisionError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                return

    def _refuse_empty(self, conn: Connection) -> None:
        if schema.find(conn).version is None:
            raise FutureRevisionError(self.min_revision, 0)

    def _look(self, work: Callable[[Scope], T]) -> T:
        return self._units.database.read(lambda conn: self._asked(conn, work))

    def _asked(self, conn: Connection, work: Callable[[Scope], T]) -> T:
        scope = self._units.scope(conn)
        if not namespaces.exists(scope):
            raise FutureRevisionError(self.min_revision, 0)
        head = namespaces.head(scope)
        if head.revision < self.min_revision:
            raise FutureRevisionError(self.min_revision, head.revision)
        look_again(conn, scope.namespace, self._wanted)
        return work(scope)

    def __repr__(self) -> str:
        return f"Replica(min_revision={self.min_revision})"
