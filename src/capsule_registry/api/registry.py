"""The registry: one namespace of a database."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from operator import index
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar
from weakref import WeakSet

from capsule_registry.api.history import History
from capsule_registry.api.leases import Leases
from capsule_registry.api.point_in_time import Past, Snapshot
from capsule_registry.api.readiness import wait_ready
from capsule_registry.api.replica import REPLICA_TIMEOUT, Replica
from capsule_registry.api.transaction import Transaction
from capsule_registry.api.transaction_block import OpenBlocks
from capsule_registry.api.writes import Writes
from capsule_registry.clocks import Clock, StoppedClock
from capsule_registry.database.database import Database
from capsule_registry.entities import capsules, uplinks
from capsule_registry.errors import InvalidDatabaseError
from capsule_registry.identifiers import to_namespace, to_uuid, uuid7
from capsule_registry.lookups.fast_path import FastPath
from capsule_registry.lookups.file_lookups import lookups_on
from capsule_registry.manifest.readings import to_runtime_version
from capsule_registry.models.capsule_page import CapsulePage
from capsule_registry.schema.upgrade import prepare
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.high_water_mark import Position
from capsule_registry.unit_of_work.queries import Scope
from capsule_registry.unit_of_work.registered_objects import RegisteredObjects
from capsule_registry.unit_of_work.runner import UnitRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta
    from uuid import UUID

    from sqlalchemy import Connection, Engine

    from capsule_registry.api.leases import OpenLease
    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.models.records import ReadyStatus
    from capsule_registry.unit_of_work.requests import Request
    from capsule_registry.unit_of_work.unit import Unit

P = ParamSpec("P")
T = TypeVar("T")


class CapsuleRegistry(FastPath, Writes):
    """
    A persistent registry of capsules, their uplinks and their session UUIDs.

    Open one with `open`; threads may share it. Every read is strict, and every change is one
    transaction with one revision in the history.
    """

    def __init__(
        self,
        runner: UnitRunner,
        *,
        new_uuid: Callable[[], UUID] | None = None,
        replica_url: str | None = None,
    ) -> None:
        self.namespace = runner.namespace
        self._database = runner.database
        self._clock = runner.clock
        self._runner = runner
        self._standby = None if replica_url is None else runner.on_standby(replica_url)
        self._new_uuid = uuid7 if new_uuid is None else lambda: to_uuid(new_uuid())
        self._objects = RegisteredObjects()
        self._lookups = lookups_on(runner.database, runner.seen, runner.clock)
        self._held: WeakSet[OpenLease] = WeakSet()
        self._inside: OpenBlocks = OpenBlocks()

    @classmethod
    def open(  # noqa: PLR0913 - one keyword for each thing that can be chosen
        cls,
        url: str | None = None,
        *,
        namespace: str = "default",
        actor: str | None = None,
        reason: str | None = None,
        migrate: bool | None = None,
        read_only: bool = False,
        allow_network_file_system: bool = False,
        clock: Callable[[], datetime] | None = None,
        new_uuid: Callable[[], UUID] | None = None,
        engine: Engine | None = None,
        engine_options: Mapping[str, Any] | None = None,
        replica_url: str | None = None,
        runtime_version: str | None = None,
    ) -> Self:
        """
        Open a registry; create what is missing, and upgrade a file's schema after copying it.

        Args:
            url: `sqlite:///FILE`, `sqlite://`, `postgresql://…`, `mariadb://…`; or `default_file`.
            namespace: 1 to 63 characters of `a-z`, `0-9` and `-`. To *read_only* it must exist.
            actor: Recorded as the author of changes; by default user, host and process.
            reason: Recorded with changes that give no reason of their own.
            migrate: Whether to create or upgrade the schema; by default on SQLite only.
            read_only: Refuse all changes and create nothing; a role with only SELECT suffices.
            allow_network_file_system: Open a file that two machines could corrupt, losing changes.
            clock: Returns the time, instead of the database's clock (on SQLite the host's).
            new_uuid: Generates the ids of declared uplinks.
            engine: An engine of a server, used whatever *url* says.
            engine_options: Passed to `sqlalchemy.create_engine` for the write and read pools.
            replica_url: A standby of the server, used by `replica` alone.
            runtime_version: Of a namespace that is created; see `RegistryAdmin.set_runtime`.

        Raises:
            InvalidDatabaseError: *url* is not of a supported database, or its file is not one.
            InvalidTextError: *namespace*, *actor*, *reason* or *runtime_version* is not valid.
            NamespaceNotFoundError, RuntimeVersionError: There is none, or it has another runtime.
            SchemaVersionError: This library cannot run on the schema; says what to run.
            RegistryUnavailableError, PermissionDeniedError: It cannot be reached, or written.
        """
        name, runtime = to_namespace(namespace), to_runtime_version(runtime_version)
        database = Database.open(
            url,
            create=not read_only and migrate is not False,
            read_only=read_only,
            allow_network_file_system=allow_network_file_system,
            engine=engine,
            engine_options=engine_options,
        )
        time = Clock(clock, is_hosts=database.dialect.has_hosts_clock)
        try:
            runner = UnitRunner(database, name, time, actor=actor, reason=reason)
            prepare(database, migrate=migrate)
            runner.start(runtime)
            return cls(runner, new_uuid=new_uuid, replica_url=replica_url)
        except BaseException:
            database.close()
            raise

    # Views

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """
        Open a view whose reads all see one moment; a watch from its `revision` misses nothing.

        It blocks nobody, but holds a connection until the block ends.
        """
        self._refuse_inside_transaction()
        with self._database.snapshot() as conn:
            head = namespaces.head(self._runner.scope(conn))
            now = self._clock.moment(head.now).not_before(head.last_commit_at)
            scope = Scope(conn, self.namespace, StoppedClock(now))
            view = Snapshot(scope, head.revision, self._database, self._objects)
            try:
                yield view
            finally:
                view.end()

    def at(self, *, revision: int | None = None, time: datetime | None = None) -> Past:
        """
        Return the registry as it was at *revision*, or at *time*.

        Before the namespace was created, nothing is registered. A revision carries the time at
        which its transaction locked the namespace, so answers for a time just passed may still
        change, when a transaction that was open then commits.

        Raises:
            FutureRevisionError: *revision* is beyond the head.
            RevisionCompactedError: The history up to there was pruned.
            TypeError: Not exactly one of the two is given, or *time* has no zone.
        """
        return Past.of(self._read, self._objects, revision=revision, time=time)

    def replica(
        self, *, min_revision: int | None = None, timeout: timedelta = REPLICA_TIMEOUT
    ) -> Replica:
        """
        Return a reader of the standby at `replica_url`, once it has reached *min_revision*.

        By default that is the latest revision this registry has seen, its own writes included.

        Raises:
            FutureRevisionError: The standby has not reached it after *timeout*.
            IncarnationChangedError: The standby has another history.
            InvalidDatabaseError: The registry was opened without `replica_url`.
        """
        if self._standby is None:
            reason = "the registry was opened without replica_url"
            raise InvalidDatabaseError(str(self._database.address), reason)
        seen = self._runner.seen.last
        wanted = seen if min_revision is None else Position(index(min_revision), None, None)
        replica = Replica(self._standby, self._objects, wanted)
        replica.wait(timeout)
        return replica

    def export_lines(self) -> Iterator[str]:
        """Yield what is registered now as lines of JSON; see `Reads.export_lines`."""
        return self.at(revision=self.history.revision).export_lines()

    def wait_ready(self, ids: Iterable[str], timeout: timedelta) -> dict[CapsuleId, ReadyStatus]:
        """
        Wait until each capsule of *ids* is ready or has failed, in whichever process.

        Capsules may be registered later. All share one deadline: those neither ready nor failed by
        then are `timeout`, those that failed `crashed`. In the order of *ids*.

        Raises:
            InvalidCapsuleIdError: One of *ids* is not a valid id.
        """
        return wait_ready(self._read, ids, timeout)

    @property
    def leases(self) -> Leases:
        """The namespace's leases: time-limited holds of processes on session UUIDs."""
        return Leases(self._read, self._write, self._amend, self._runner.actor, self._held)

    @property
    def history(self) -> History:
        """Everything that has happened in the namespace."""
        return History(self._read, self._runner)

    # Transactions

    def transaction(
        self, *, reason: str | None = None, actor: str | None = None
    ) -> AbstractContextManager[Transaction]:
        """
        Open a transaction with the registry's methods: all or nothing, one revision.

        Other writers of the namespace wait until it ends. It is never retried, since its body
        cannot be run again; see `run`.

        Args:
            reason: Recorded with the revision.
            actor: Recorded instead of the registry's own.

        Raises:
            TransactionDoomedError: At the end, if an error inside was swallowed.
            TransactionInProgressError: This thread has one open already.
        """
        return self._block(lambda: self._runner.once(reason=reason, actor=actor))

    def joining(
        self, connection: Connection, *, reason: str | None = None, actor: str | None = None
    ) -> AbstractContextManager[Transaction]:
        """
        Open a transaction with the registry's methods inside the one that *connection* has begun.

        On a server, so that rows of the host's own change with the registry's. The revision counts,
        and is seen, once the host commits; if the host rolls back, there is none. After an error in
        the block what it did is undone, and the host may go on. From the block until the host's
        transaction ends other writers of the namespace wait, this thread's too; so join late.

        Args:
            connection: Of SQLAlchemy, on this registry's database, at READ COMMITTED. Its session
                is left as it is, so it must be as the registry needs it.
            reason: Recorded with the revision.
            actor: Recorded instead of the registry's own.

        Raises:
            InvalidDatabaseError: *connection* leads elsewhere, has begun no transaction or one of
                two phases, commits each statement, has another isolation, or a setting is not as
                needed; or the database is a file.
            TransactionDoomedError: At the end, if an error inside was swallowed.
            TransactionInProgressError: This thread has one of the registry's open already.
        """
        return self._block(lambda: self._runner.joined(connection, reason=reason, actor=actor))

    def run(
        self,
        work: Callable[[Transaction], T],
        *,
        reason: str | None = None,
        actor: str | None = None,
        request_id: UUID | None = None,
        together: bool = False,
    ) -> T:
        """
        Return `work(transaction)`: all or nothing, one revision.

        Args:
            work: It is called again after a transient database error, so it must have no effects
                except on the transaction.
            reason: Recorded with the revision.
            actor: Recorded instead of the registry's own.
            request_id: Recorded, and done once: a key of the caller's, such as of a message that
                may come twice. It is forgotten when its revision is pruned.
            together: Let it share a COMMIT with what other threads write, as single writes do.
                Then *work* may be called on another thread, and must be quick.

        Raises:
            TransactionDoomedError: An error inside was swallowed.
            RequestRepeatedError: It made a revision under that *request_id* before.
        """

        def in_unit(unit: Unit) -> T:
            with self._block(lambda: nullcontext(unit)) as transaction:
                return work(transaction)

        self._refuse_inside_transaction()
        request = self._runner.request(in_unit, reason, actor).called(request_id)
        return self._runner.run_together(request) if together else self._runner.run_request(request)

    def _block(
        self, open_unit: Callable[[], AbstractContextManager[Unit]]
    ) -> AbstractContextManager[Transaction]:
        return self._inside.block(open_unit, self._transaction_of)

    def _transaction_of(self, unit: Unit) -> Transaction:
        return Transaction(unit, self._database, self._new_uuid, self._objects)

    # Running reads and writes

    def _read(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._refuse_inside_transaction()
        return self._database.read(lambda conn: work(self._runner.scope(conn), *args, **kwargs))

    def _read_at_one_moment(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._refuse_inside_transaction()
        with self._database.snapshot() as conn:
            return work(self._runner.scope(conn), *args, **kwargs)

    def _write(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._refuse_inside_transaction()
        return self._runner.run_together(self._request(work, *args, **kwargs))

    def _write_much(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._refuse_inside_transaction()
        return self._runner.run_request(self._request(work, *args, **kwargs))

    def _amend(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run *work* in a write transaction that makes no revision."""
        self._refuse_inside_transaction()
        return self._database.amend(lambda conn: work(self._runner.scope(conn), *args, **kwargs))

    def _request(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Request[T]:
        return self._runner.request(work, None, None, *args, **kwargs)

    def _refuse_inside_transaction(self) -> None:
        self._inside.refuse_inside()

    # Closing

    def close(self) -> None:
        """Close the connections, and renew no more leases. Idempotent; nothing else works then."""
        for lease in [*self._held]:
            lease.stop()
        self._database.close()
        self._lookups.close()
        if self._standby is not None:
            self._standby.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Show counts and the first ten ids, or `not available` if no connection is idle."""

        def counts(conn: Connection) -> str:
            scope = self._runner.scope(conn)
            ids = [*map(str, capsules.ids(scope, CapsulePage(most=10)))]
            counted = f"capsule_count={capsules.count(scope)}, capsule_ids={ids}"
            return f"{counted}, uplink_count={uplinks.count(scope)}"

        return f"CapsuleRegistry({self._database.peek(counts) or 'not available'})"
