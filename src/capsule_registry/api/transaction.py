"""Several changes in one transaction."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from capsule_registry.api.writes import Writes
from capsule_registry.errors import (
    ForkedTransactionError,
    RegistryClosedError,
    TransactionDoomedError,
    TransactionInProgressError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from capsule_registry.database.database import Database
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.unit_of_work.queries import Scope
    from capsule_registry.unit_of_work.registered_objects import RegisteredObjects
    from capsule_registry.unit_of_work.unit import Unit

P = ParamSpec("P")
T = TypeVar("T")


class Transaction(Writes):
    """
    The registry's methods in one transaction: all or nothing, one revision, seen by its own reads.

    An error inside dooms it, even if caught: nothing is written. An invalid argument does not,
    since it changed nothing. It cannot be used after its end, nor by two threads at once.
    """

    _max_per_revision = None

    def __init__(
        self,
        unit: Unit,
        database: Database,
        new_uuid: Callable[[], UUID],
        objects: RegisteredObjects,
    ) -> None:
        self._unit = unit
        self._database = database
        self._new_uuid = new_uuid
        self._objects = objects
        self._error: BaseException | None = None
        self._ended = False
        self._process = os.getpid()
        self._busy = Lock()

    def _read(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._write(work, *args, **kwargs)

    def _write(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._refuse_in_child()
        if self._ended:
            raise RegistryClosedError
        if self._error is not None:
            raise TransactionDoomedError(repr(self._error))
        is_alone = False
        try:
            is_alone = self._busy.acquire(blocking=False)
            self._require(is_alone)
            with self._database.translating():
                return work(self._unit, *args, **kwargs)
        except TransactionInProgressError:
            raise
        except BaseException as error:  # Also one that came just after the lock was taken.
            self._error = error
            raise
        finally:
            if is_alone:
                self._busy.release()

    _write_much = _write

    @staticmethod
    def _require(is_alone: bool) -> None:  # noqa: FBT001 - all that it is about
        if not is_alone:
            raise TransactionInProgressError

    def _attached(self, record: RegisteredCapsule) -> RegisteredCapsule:
        return self._objects.attach(record, self._unit)

    def abandon(self) -> None:
        """Refuse any further use: it will not commit."""
        self._ended = True

    def end(self) -> None:
        """Refuse any further use, and raise `TransactionDoomedError` after an error inside."""
        self._refuse_in_child()
        self._ended = True
        if self._error is not None:
            raise TransactionDoomedError(repr(self._error))

    def _refuse_in_child(self) -> None:
        if os.getpid() != self._process:
            raise ForkedTransactionError

    def __repr__(self) -> str:
        state = "ended" if self._ended else "doomed" if self._error else "open"
        return f"Transaction(namespace={self._unit.namespace!r}, {state})"
