"""The registry itself: opened on a database, one namespace of it."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from capsule_registry import capsules, namespaces, revisions, uplinks
from capsule_registry.candidates import MAX_ACTOR, check_text
from capsule_registry.database import Database
from capsule_registry.errors import (
    TransactionInProgressError,
)
from capsule_registry.history import History
from capsule_registry.identifiers import to_namespace, uuid7
from capsule_registry.instances import Instances
from capsule_registry.schema import prepare
from capsule_registry.scope import Scope
from capsule_registry.transaction import Transaction
from capsule_registry.units import Units
from capsule_registry.views import Past, Snapshot
from capsule_registry.writer import RegistryWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Engine

    from capsule_registry.records import RegisteredCapsule
    from capsule_registry.unit import Unit

T = TypeVar("T")
logger = logging.getLogger("capsule_registry")


class CapsuleRegistry(RegistryWriter):
    """
    A persistent registry of capsules, their uplinks and their session UUIDs.

    Open it with `open`; it may be shared by threads. Every verb is strict and, if it changes
    anything, one transaction with one revision in the history.
    """

    def __init__(
        self,
        database: Database,
        namespace: str,
        *,
        actor: str | None,
        clock: Callable[[], datetime] | None,
        new_uuid: Callable[[], UUID],
    ) -> None:
        self.namespace = namespace
        self._database = database
        self._new_uuid = new_uuid
        self._instances = Instances()
        self._units = Units(database, namespace, self._instances, actor=actor, clock=clock)
        #: The threads that are inside a transaction of this registry.
        self._inside: set[int] = set()

    @classmethod
    def open(  # noqa: PLR0913 - one keyword for each thing that can be chosen
        cls,
        url: str | None = None,
        *,
        namespace: str = "default",
        actor: str | None = None,
        migrate: bool | None = None,
        read_only: bool = False,
        allow_network_file_system: bool = False,
        clock: Callable[[], datetime] | None = None,
        new_uuid: Callable[[], UUID] | None = None,
        engine: Engine | None = None,
        engine_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """
        Open the registry *namespace* in the database at *url*.

        A namespace that is missing is created, which is its revision 1. A SQLite file is made if
        it is missing, and its schema upgraded, after a copy of the file if anything is in it.

        Args:
            namespace: 1 to 63 characters of `a-z`, `0-9` and `-`.
            url: `sqlite:///FILE`, `sqlite://` (private, in memory), `postgresql://…` or
                `mariadb://…`. Without one, a file in the user's data directory.
            actor: Who is recorded as having made the changes; else user, host and process.
            migrate: Whether to upgrade the schema; by default on SQLite only.
            read_only: Refuse all changes, and create nothing; a role with SELECT alone will do.
            allow_network_file_system: Open a SQLite file also where locks cannot be trusted.
            clock: Gives the time instead of the database's own clock (the host's, on SQLite).
            new_uuid: Makes the ids of declared uplinks.
            engine: Use this engine of a server instead of making one; *url* is ignored.
            engine_options: Passed on to `sqlalchemy.create_engine`, for the pool that writes and
                for the one that reads.

        Raises:
            InvalidDatabaseError: *url* is of no supported database, or its file is no database.
            InvalidTextError: *namespace* is no name of a namespace.
            NamespaceNotFoundError: It is missing, and *read_only*.
            SchemaVersionError: This library cannot run on the schema; says what to run.
            RegistryUnavailableError: The database cannot be reached.
            PermissionDeniedError: The file or its directory cannot be written.
        """
        to_namespace(namespace)
        check_text("actor", actor, MAX_ACTOR)
        database = Database.open(
            url,
            create=migrate is not False and not read_only,
            read_only=read_only,
            allow_network_file_system=allow_network_file_system,
            engine=engine,
            engine_options=engine_options,
        )
        registry = cls(database, namespace, actor=actor, clock=clock, new_uuid=new_uuid or uuid7)
        try:
            prepare(database, migrate=migrate)
            registry._units.ensure_namespace()
        except BaseException:
            registry.close()
            raise
        return registry

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

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """
        Give the verbs that read, all at one moment; a watch from its `revision` loses nothing.

        Nobody is kept waiting, but a connection is held until the block ends.
        """
        self._refuse_inside_transaction()
        with self._database.snapshot() as conn:
            scope = Scope(conn, self.namespace)
            view = Snapshot(scope, namespaces.head(scope).revision, self._instances)
            try:
                yield view
            finally:
                view.end()

    def at(self, *, revision: int | None = None, time: datetime | None = None) -> Past:
        """
        Return the registry as it was at *revision*, or at *time*, to be asked as often as wanted.

        At a time before the namespace was created nothing is registered. A revision has the time
        at which its unit began to hold the namespace, so what is asked of a time that has only
        just passed may change once more, when a transaction that was open then commits.

        Raises:
            FutureRevisionError: *revision* lies beyond the head.
            RevisionCompactedError: The history up to there was pruned.
            TypeError: Not exactly one of the two is given, or *time* has no zone.
        """
        if (revision is None) == (time is None) or isinstance(revision, bool):
            raise TypeError("at() takes either a revision or a time")
        if time is not None and time.tzinfo is None:
            raise TypeError("a time needs a zone")

        def find(scope: Scope) -> Past:
            wanted = revisions.at_time(scope, time) if time is not None else revision or 0
            head = namespaces.head(scope)
            head.check(wanted)
            return Past(self._look, wanted, head.incarnation, self._instances)

        return self._look(find)

    @property
    def history(self) -> History:
        """Everything that has happened in the namespace."""
        return History(self._look, self._database, self.namespace, self._units)

    def close(self) -> None:
        """Close the registry's connections. Idempotent; afterwards nothing else can be called."""
        self._database.close()

    def _read(self, prepare: Callable[[], Callable[[Scope], T]]) -> T:
        self._refuse_inside_transaction()
        return self._look(prepare())

    def _look(self, work: Callable[[Scope], T]) -> T:
        self._refuse_inside_transaction()
        return self._database.read(lambda conn: work(Scope(conn, self.namespace)))

    def _write(self, prepare: Callable[[], Callable[[Unit], T]]) -> T:
        self._refuse_inside_transaction()
        return self._units.run(prepare())

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

    def _attached(self, record: RegisteredCapsule) -> RegisteredCapsule:
        return record.attach(self._instances.of(record))

    def _refuse_inside_transaction(self) -> None:
        if threading.get_ident() in self._inside:
            raise TransactionInProgressError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Show counts and the first ten ids; a registry that cannot be asked at once says so."""

        def counts(conn: Connection) -> str:
            scope = Scope(conn, self.namespace)
            ids = capsules.first_ids(scope)
            return (
                f"capsule_count={capsules.count(scope)}, capsule_ids={[*map(str, ids)]}, "
                f"uplink_count={uplinks.count(scope)}"
            )

        return f"CapsuleRegistry({self._database.peek(counts) or 'not available'})"
