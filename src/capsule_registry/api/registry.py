"""The registry itself: opened on a database, one namespace of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from capsule_registry.api.history import History
from capsule_registry.api.leases import Leases
from capsule_registry.api.point_in_time import Snapshot, look_back
from capsule_registry.api.replica import REPLICA_TIMEOUT, Replica
from capsule_registry.clocks import Clock, StoppedClock
from capsule_registry.database.database import Database
from capsule_registry.entities import capsules, uplinks
from capsule_registry.errors import InvalidDatabaseError
from capsule_registry.identifiers import to_namespace, uuid7
from capsule_registry.lookups.fast_path import QuickReader
from capsule_registry.lookups.file_lookups import lookups_on
from capsule_registry.models.limits import MAX_ACTOR, check_text
from capsule_registry.schema.version import prepare
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.high_water_mark import Sighting
from capsule_registry.unit_of_work.registered_objects import Instances
from capsule_registry.unit_of_work.runner import Units
from capsule_registry.unit_of_work.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    from sqlalchemy import Connection, Engine

    from capsule_registry.api.open_lease import OpenLease
    from capsule_registry.api.point_in_time import Past


class CapsuleRegistry(QuickReader):
    """
    A persistent registry of capsules, their uplinks and their session UUIDs.

    Open it with `open`; it may be shared by threads. Every verb is strict and, if it changes
    anything, one transaction with one revision in the history.
    """

    def __init__(  # noqa: PLR0913 - what `open` was given
        self,
        database: Database,
        namespace: str,
        actor: str | None,
        reason: str | None,
        *,
        clock: Callable[[], datetime] | None,
        new_uuid: Callable[[], UUID] | None,
    ) -> None:
        self.namespace = namespace
        self._database = database
        self._new_uuid = new_uuid or uuid7
        self._instances = Instances()
        time = Clock(clock, is_hosts=database.dialect.has_hosts_clock)
        self._units = Units(
            database, namespace, self._instances, actor=actor, reason=reason, clock=time
        )
        self._standby: Database | None = None
        self._clock = time
        self._lookups = lookups_on(database, namespace, time)
        self._held: WeakSet[OpenLease] = WeakSet()
        self._inside = set()

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
    ) -> Self:
        """
        Open the registry *namespace* in the database at *url*.

        A namespace or SQLite file that is missing is made; the schema of a file is upgraded, after
        a copy if anything is in it.

        Args:
            namespace: 1 to 63 characters of `a-z`, `0-9` and `-`.
            url: `sqlite:///FILE`, `sqlite://` (private, in memory), `postgresql://…` or
                `mariadb://…`. Without one, a file in the user's data directory.
            actor: Recorded as who made the changes; else user, host and process.
            reason: Recorded with each change for which no other is given.
            migrate: Whether to upgrade the schema; by default on SQLite only.
            read_only: Refuse all changes, and create nothing; a role with SELECT alone will do.
            allow_network_file_system: Open a file also where locks cannot be trusted.
            clock: Gives the time instead of the database's own clock (the host's, on SQLite).
            new_uuid: Makes the ids of declared uplinks.
            engine: Use this one of a server, whatever *url* says.
            engine_options: For `sqlalchemy.create_engine`, of the pools that write and read.
            replica_url: A standby of the server, for `replica`; nothing else is asked of it.

        Raises:
            InvalidDatabaseError: *url* is of no supported database, or its file is no database.
            InvalidTextError: *namespace* is no name of a namespace.
            NamespaceNotFoundError: It is missing, and *read_only*.
            SchemaVersionError: This library cannot run on the schema; says what to run.
            RegistryUnavailableError, PermissionDeniedError: It cannot be reached, or written.
        """
        _check(namespace, actor, reason)
        database = Database.open(
            url,
            create=not read_only and migrate is not False,
            read_only=read_only,
            allow_network_file_system=allow_network_file_system,
            engine=engine,
            engine_options=engine_options,
        )
        registry = cls(database, namespace, actor, reason, clock=clock, new_uuid=new_uuid)
        registry._prepare(replica_url, migrate=migrate)
        return registry

    def _prepare(self, replica_url: str | None, *, migrate: bool | None) -> None:
        try:
            prepare(self._database, migrate=migrate)
            self._units.ensure_namespace()
            self._units.watch_out()
            if replica_url is not None:
                self._standby = Database.open(
                    replica_url, create=False, read_only=True, may_be_behind=True
                )
        except BaseException:
            self.close()
            raise

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """
        Give the verbs that read, all at one moment; a watch from its `revision` loses nothing.

        Nobody is kept waiting, but a connection is held until the block ends.
        """
        self._refuse_inside_transaction()
        with self._database.snapshot() as conn:
            live = self._units.scope(conn)
            head = namespaces.head(live)
            now = live.clock.moment(head.now).not_before(head.last_commit_at)
            scope = Scope(conn, self.namespace, StoppedClock(now))
            view = Snapshot(scope, head.revision, self._database, self._instances)
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
        return look_back(self._look, self._instances, revision=revision, time=time)

    def replica(
        self, *, min_revision: int | None = None, timeout: timedelta = REPLICA_TIMEOUT
    ) -> Replica:
        """
        Return what the standby at `replica_url` can be asked, once it has *min_revision*.

        By default that is the furthest that this registry has seen, its own writes included.

        Raises:
            FutureRevisionError: It has not, after *timeout*.
            IncarnationChangedError: Its history is another.
            InvalidDatabaseError: The registry was opened without `replica_url`.
        """
        if self._standby is None:
            reason = "the registry was opened without replica_url"
            raise InvalidDatabaseError(str(self._database.address), reason)
        seen = self._units.seen.last
        wanted = seen if min_revision is None else Sighting(min_revision, None, None)
        replica = Replica(self._units.on(self._standby), self._instances, wanted)
        replica.wait(timeout)
        return replica

    def export_lines(self) -> Iterator[str]:
        """Yield what is registered now as lines of JSON; see `RegistryReader.export_lines`."""
        return self.at(revision=self.history.revision).export_lines()

    @property
    def leases(self) -> Leases:
        """The time-limited holds of processes on session UUIDs."""
        return Leases(self._look, self._do, self._persist, self._units.actor, self._held)

    @property
    def history(self) -> History:
        """Everything that has happened in the namespace."""
        return History(self._look, self._database, self.namespace, self._units)

    def close(self) -> None:
        """
        Close the registry's connections. Idempotent; afterwards nothing else can be called.

        Leases that it holds are not renewed any more, and so run out.
        """
        for lease in [*self._held]:
            lease.stop()
        self._database.close()
        self._lookups.close()
        if self._standby is not None:
            self._standby.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Show counts and the first ten ids; a registry that cannot be asked at once says so."""

        def counts(conn: Connection) -> str:
            scope = self._units.scope(conn)
            ids = capsules.ids(scope, most=10)
            return (
                f"capsule_count={capsules.count(scope)}, capsule_ids={[*map(str, ids)]}, "
                f"uplink_count={uplinks.count(scope)}"
            )

        return f"CapsuleRegistry({self._database.peek(counts) or 'not available'})"


def _check(namespace: str, actor: str | None, reason: str | None) -> None:
    to_namespace(namespace)
    check_text("actor", actor, MAX_ACTOR)
    check_text("reason", reason)
