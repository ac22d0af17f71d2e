"""Reads from a standby: ids, past views and the history, but no current permission checks."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from capsule_registry.api.history import History
from capsule_registry.api.point_in_time import Past
from capsule_registry.entities import capsules
from capsule_registry.errors import FutureRevisionError
from capsule_registry.models.capsule_page import CapsulePage
from capsule_registry.schema.version import find_schema
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.high_water_mark import Position, look_again
from capsule_registry.unit_of_work.queries import Scope

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.unit_of_work.registered_objects import RegisteredObjects
    from capsule_registry.unit_of_work.runner import UnitRunner

P = ParamSpec("P")
T = TypeVar("T")

#: How long a standby is given to catch up.
REPLICA_TIMEOUT: Final = timedelta(seconds=2)
_PAUSE_SECONDS: Final = 0.01


class Replica:
    """
    The registry on a standby: at `min_revision` or later, but perhaps behind the primary.

    Calls raise `FutureRevisionError` if they reach another standby that is not as far, and
    `IncarnationChangedError` if they reach one with another history.
    """

    def __init__(self, runner: UnitRunner, objects: RegisteredObjects, wanted: Position) -> None:
        self._runner = runner
        self._objects = objects
        self._wanted = wanted
        self.min_revision = wanted.revision

    @property
    def revision(self) -> int:
        """The latest revision on the standby."""
        return self._read(namespaces.head).revision

    def list(
        self, *, after: str | None = None, limit: int | None = None
    ) -> builtins.list[CapsuleId]:
        """
        Return the ids of the registered capsules; see `CapsuleRegistry.list`.

        Raises:
            CapsuleNotFoundError: *after* is not registered there.
            InvalidCapsuleIdError: *after* is not a valid id.
            ValueError: *limit* is less than one.
        """
        return self._read(capsules.ids, CapsulePage.of(None, None, after, limit))

    def at(self, *, revision: int | None = None, time: datetime | None = None) -> Past:
        """Return the registry as it was at *revision*, or at *time*; see `CapsuleRegistry.at`."""
        return Past.of(self._read, self._objects, revision=revision, time=time)

    @property
    def history(self) -> History:
        """The history of the namespace, as far as the standby has it."""
        return History(self._read, self._runner)

    def wait(self, timeout: timedelta) -> None:
        """
        Wait until the standby has `min_revision`.

        Raises:
            FutureRevisionError: It does not, after *timeout*.
        """
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            try:
                self._runner.database.read(self._refuse_empty)
                self._read(namespaces.head)
            except FutureRevisionError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                return

    def _refuse_empty(self, conn: Connection) -> None:
        if find_schema(conn).version is None:
            raise FutureRevisionError(self.min_revision, 0)

    def _read(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def ask(conn: Connection) -> T:
            scope = Scope(conn, self._runner.namespace, self._runner.clock)
            self._require_caught_up(scope)
            return work(scope, *args, **kwargs)

        return self._runner.database.read(ask)

    def _require_caught_up(self, scope: Scope) -> None:
        if not namespaces.exists(scope):
            raise FutureRevisionError(self.min_revision, 0)
        head = namespaces.head(scope)
        if head.revision < self.min_revision:
            raise FutureRevisionError(self.min_revision, head.revision)
        look_again(scope.conn, scope.namespace, self._wanted)

    def __repr__(self) -> str:
        return f"Replica(min_revision={self.min_revision})"
