"""The verbs as units: each one of its own, or several joined into one."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from capsule_registry.api.bulk import BulkWriter
from capsule_registry.api.readiness import wait_ready
from capsule_registry.api.transaction import Transaction
from capsule_registry.errors import TransactionInProgressError
from capsule_registry.models.limits import MAX_ACTOR, check_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta

    from capsule_registry.database.database import Database
    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.models.records import ReadyStatus
    from capsule_registry.unit_of_work.runner import Units
    from capsule_registry.unit_of_work.scope import Scope
    from capsule_registry.unit_of_work.unit import Unit

T = TypeVar("T")


class Transacting(BulkWriter):
    """A registry each of whose verbs is a unit, and which joins several into one."""

    _database: Database
    _units: Units
    #: The threads that are inside a transaction of this registry.
    _inside: set[int]

    @contextmanager
    def transaction(
        self, *, reason: str | None = None, actor: str | None = None
    ) -> Iterator[Transaction]:
        """
        Give the verbs of the registry inside one unit: all or nothing, one revision.

        Other writers of the namespace wait until it ends. The body cannot be run again, so
        nothing of it is retried; see `run`.

        Args:
            reason: Recorded with the revision.
            actor: Recorded instead of the registry's own.

        Raises:
            TransactionDoomedError: At the end, if an error inside was swallowed.
            TransactionInProgressError: This thread has one open already.
        """
        self._refuse_inside_transaction()
        check_text("reason", reason)
        check_text("actor", actor, MAX_ACTOR)
        with (
            self._units.once(reason=reason, actor=actor) as unit,
            self._joined(unit) as transaction,
        ):
            yield transaction

    def run(
        self,
        work: Callable[[Transaction], T],
        *,
        reason: str | None = None,
        actor: str | None = None,
    ) -> T:
        """
        Return `work(transaction)`, done inside one unit: all or nothing, one revision.

        *work* may be called again, after a failure of the database that is known to be passing.
        So it must have no effects but on the transaction that it is given.

        Raises:
            TransactionDoomedError: An error inside was swallowed.
        """

        def in_unit(unit: Unit) -> T:
            with self._joined(unit) as transaction:
                return work(transaction)

        self._refuse_inside_transaction()
        check_text("reason", reason)
        check_text("actor", actor, MAX_ACTOR)
        return self._units.run(in_unit, reason=reason, actor=actor)

    def wait_ready(self, ids: Iterable[str], timeout: timedelta) -> dict[CapsuleId, ReadyStatus]:
        """
        Wait until each capsule of *ids* is ready or has failed, in whichever process.

        One that is not registered yet is waited for. All share one deadline; those that are
        neither by then are `timeout`, those that failed `crashed`. In the order of *ids*.

        Raises:
            InvalidCapsuleIdError: One of *ids* is outside the grammar of ids.
        """
        self._refuse_inside_transaction()
        return wait_ready(self._look, ids, timeout)

    def _read(self, prepare: Callable[[], Callable[[Scope], T]]) -> T:
        self._refuse_inside_transaction()
        return self._look(prepare())

    def _read_at_once(self, prepare: Callable[[], Callable[[Scope], T]]) -> T:
        self._refuse_inside_transaction()
        work = prepare()
        with self._database.snapshot() as conn:
            return work(self._units.scope(conn))

    def _look(self, work: Callable[[Scope], T]) -> T:
        self._refuse_inside_transaction()
        return self._database.read(lambda conn: work(self._units.scope(conn)))

    def _write(self, prepare: Callable[[], Callable[[Unit], T]]) -> T:
        self._refuse_inside_transaction()
        return self._units.run(prepare())

    def _do(self, work: Callable[[Unit], T]) -> T:
        return self._write(lambda: work)

    def _persist(self, work: Callable[[Scope], T]) -> T:
        self._refuse_inside_transaction()
        return self._database.amend(lambda conn: work(self._units.scope(conn)))

    @contextmanager
    def _joined(self, unit: Unit) -> Iterator[Transaction]:
        """Give the verbs inside *unit*; meanwhile the registry itself is refused to this thread."""
        transaction = Transaction(unit, self._database, self._new_uuid, self._instances)
        thread = threading.get_ident()
        self._inside.add(thread)
        try:
            yield transaction
            transaction.end()
        except BaseException:
            transaction.abandon()
            raise
        finally:
            self._inside.discard(thread)

    def _refuse_inside_transaction(self) -> None:
        if threading.get_ident() in self._inside:
            raise TransactionInProgressError
