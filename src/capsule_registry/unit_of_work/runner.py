"""The runner of units: begins, commits and retries them, and looks up a lost COMMIT."""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import contextmanager
from functools import cache, partial
from itertools import count
from threading import get_ident, main_thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from capsule_registry.database.database import Database
from capsule_registry.database.driver_errors import UnknownOutcomeError
from capsule_registry.errors import (
    CapsuleRegistryError,
    InvalidDatabaseError,
    NamespaceNotFoundError,
    RegistryUnavailableError,
    RuntimeVersionError,
)
from capsule_registry.models.storable import MAX_ACTOR, storable_text
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.batch import Batch
from capsule_registry.unit_of_work.head import close_unit, is_committed, open_unit
from capsule_registry.unit_of_work.high_water_mark import HighWaterMark, Position
from capsule_registry.unit_of_work.host_transactions import HostTransactions
from capsule_registry.unit_of_work.line import Line
from capsule_registry.unit_of_work.queries import Scope
from capsule_registry.unit_of_work.requests import Request, acknowledge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from capsule_registry.clocks import Clock
    from capsule_registry.schema.version import FoundSchema
    from capsule_registry.unit_of_work.unit import Unit

P = ParamSpec("P")
T = TypeVar("T")


class Outcome(NamedTuple):
    """What became of a request: its result, or its error."""

    result: Any
    error: BaseException | None


class UnitRunner:
    """Runs the units of one registry: on one namespace, by one actor, with one clock."""

    def __init__(
        self,
        database: Database,
        namespace: str,
        clock: Clock,
        *,
        actor: str | None,
        reason: str | None,
    ) -> None:
        self._actor, self._reason = recordable(actor, reason)
        self.database = database
        self.namespace = namespace
        self.clock = clock
        self.seen = HighWaterMark(namespace)
        self._line = Line()
        self._of_host = HostTransactions()
        #: The schema as it was last found usable.
        self._usable: FoundSchema | None = None

    @property
    def actor(self) -> str:
        """The actor that is recorded unless another is named."""
        return self._actor or default_actor()

    def start(self, runtime_version: str | None = None) -> None:
        """
        Create the namespace if it is missing, as its revision 1, of that runtime if one is named.

        From then on a server that is behind what was seen is refused.

        Raises:
            NamespaceNotFoundError: It is missing, and the database was opened read-only.
            RuntimeVersionError: It is of another runtime than the one named, or of none.
        """
        database = self.database
        if not database.read(lambda conn: namespaces.exists(self.scope(conn))):
            if database.read_only:
                raise NamespaceNotFoundError(self.namespace)
            database.write(partial(self._create_namespace, runtime_version=runtime_version))
        if runtime_version is not None:
            self._require_runtime(runtime_version)
        if not database.dialect.is_file:
            database.connection_check = self.seen.look
            database.read(lambda _: None)  # Checking a connection out runs the check.

    def scope(self, conn: Connection) -> Scope:
        """Return the scope of reads on *conn*, which notes each head that it sees."""
        return Scope(conn, self.namespace, self.clock, seen=self.seen)

    def _require_runtime(self, version: str) -> None:
        head = self.database.read(lambda conn: namespaces.head(self.scope(conn)))
        if head.runtime_version != version:
            raise RuntimeVersionError(self.namespace, version, head.runtime_version)

    def _create_namespace(self, conn: Connection, runtime_version: str | None) -> None:
        unit = namespaces.create(
            conn, self.namespace, self.clock, self.database.dialect, runtime_version
        )
        close_unit(unit, actor=self.actor, reason=self._reason)

    def on_standby(self, url: str) -> UnitRunner:
        """Return a runner for the standby at *url*, which may be behind and is only read."""
        standby = Database.open(url, create=False, read_only=True, may_be_behind=True)
        return UnitRunner(
            standby, self.namespace, self.clock, actor=self._actor, reason=self._reason
        )

    def run(
        self,
        work: Callable[Concatenate[Unit, P], T],
        reason: str | None,
        actor: str | None,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """
        Return `work(unit, *args, **kwargs)`, retried as a whole after transient failures.

        Args:
            work: Called with the unit; it must have no effects but on that.
            reason: Recorded with the revision; `None` for the registry's own.
            actor: Recorded likewise.
            *args: For *work*.
            **kwargs: For *work*.

        Raises:
            InvalidTextError: Not every database can hold *reason* or *actor*.
        """
        return self.run_request(self.request(work, reason, actor, *args, **kwargs))

    def run_request(self, request: Request[T]) -> T:
        """Return the result of *request*, run in a transaction of its own; see `run`."""
        with self._measuring(request):
            self._run(request)
            return request.outcome(self.seen.note)

    def run_together(self, request: Request[T]) -> T:
        """
        Return the result of *request*, run with those of other threads if any (see `Batch`).

        Its work may run on another thread, and must take little time.
        """
        if get_ident() == main_thread().ident:
            return self.run_request(request)
        self._line.enter(request)
        return self._outcome(request)

    def run_all(self, requests: Sequence[Request[Any]]) -> list[Outcome]:
        """
        Run *requests* for their callers, in order and as far as they can in one transaction.

        This thread stands in the line for all. The outcomes come in the order of *requests*.
        """
        for request in requests:
            self._line.enter(request)
        return [*map(self._noted_outcome, requests)]

    def _noted_outcome(self, request: Request[Any]) -> Outcome:
        try:
            return Outcome(self._outcome(request), None)
        except Exception as error:  # noqa: BLE001 - whatever it is, its caller gets it
            return Outcome(None, error)

    def _outcome(self, request: Request[T]) -> T:
        """Return the result of *request*, which stands in the line."""
        with self._measuring(request):
            try:
                while self._line.reach_front(request):
                    self._run(request, self._line)
            finally:
                self._line.leave(request)
            if not request.is_done:
                self._run(request)
            return request.outcome(self.seen.note)

    def _run(self, request: Request[T], line: Line | None = None) -> None:
        batch = Batch(request, self._timed_opening(), self._require_usable, line)
        batch.run(self.database.write)
        self.database.measures.batch(batch.size)

    def _timed_opening(self) -> Callable[[Connection], Unit]:
        """Return `_open`, which measures how long the transaction waits for it, from now on."""
        began, attempts = monotonic(), count()

        def opened(conn: Connection) -> Unit:
            unit = self._open(conn)
            if next(attempts) == 0:
                self.database.measures.turn(monotonic() - began)
            return unit

        return opened

    @contextmanager
    def _measuring(self, request: Request[Any]) -> Iterator[None]:
        outcome = "failed"
        try:
            yield
            outcome = "unchanged" if request.revision is None else "made"
        except RegistryUnavailableError:
            raise
        except CapsuleRegistryError:
            outcome = "refused"
            raise
        finally:
            self.database.measures.unit(outcome, monotonic() - request.began)

    def request(
        self,
        work: Callable[Concatenate[Unit, P], T],
        reason: str | None,
        actor: str | None,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Request[T]:
        """
        Return a request for `run_all` or another; see `run`.

        Raises:
            InvalidTextError: Not every database can hold *reason* or *actor*.
        """
        if actor is not None or reason is not None:
            actor, reason = recordable(actor, reason)
        return Request(work, args, kwargs, actor=actor or self.actor, reason=reason or self._reason)

    @contextmanager
    def once(self, *, reason: str | None, actor: str | None) -> Iterator[Unit]:
        """
        Yield a unit to a body that cannot be retried; see `run`.

        Raises:
            RegistryUnavailableError: The connection broke at COMMIT, and nothing was written.
        """
        actor, reason = recordable(actor, reason)
        unit: Unit | None = None
        written: str | None = None
        is_done = False
        with self.database.translating():
            try:
                with self.database.begun(self._begun) as unit:
                    yield unit
                    written = close_unit(
                        unit,
                        actor=actor or self._actor or default_actor(),
                        reason=reason or self._reason,
                    )
                is_done = True
            except UnknownOutcomeError as error:
                is_done = unit is not None and self._took_place(unit, written, error)
            finally:
                if unit is not None and not is_done:
                    unit.roll_back()
        if unit is not None:
            acknowledge(unit, written, self.seen.note)

    @contextmanager
    def joined(self, conn: Connection, *, reason: str | None, actor: str | None) -> Iterator[Unit]:
        """
        Yield a unit in the transaction that *conn*, of the host, has begun and will end.

        After an error, what the body did is undone, and the host's transaction goes on.

        Raises:
            InvalidDatabaseError: No unit can be in that transaction (see `Database.joined`).
        """
        actor, reason = recordable(actor, reason)
        with self.database.translating(), self.database.joined(conn):
            unit = self._open(conn)
            self._require_usable(unit)
            self._require_current(unit)
            try:
                yield unit
                close_unit(
                    unit,
                    actor=actor or self._actor or default_actor(),
                    reason=reason or self._reason,
                )
            except BaseException:
                unit.roll_back()
                raise
            self._of_host.add(unit)

    def _require_current(self, unit: Unit) -> None:
        """Require that the host's transaction sees the current state."""
        if namespaces.head(unit).revision != unit.revision - 1:
            reason = "the transaction sees an earlier state: its isolation must be READ COMMITTED"
            raise InvalidDatabaseError(str(self.database.address), reason)

    @contextmanager
    def _begun(self) -> Iterator[Unit]:
        with self.database.writing() as conn:
            unit = self._open(conn)
            self._require_usable(unit)
            yield unit

    def _took_place(self, unit: Unit, written: str | None, error: UnknownOutcomeError) -> bool:
        """Return `True` if *unit* committed after all; raise if it did not."""
        database = self.database
        if not database.settle(lambda conn: is_committed(self._open(conn), unit, written), error):
            reason = "the connection broke at COMMIT, and nothing was written"
            raise RegistryUnavailableError(str(database.address), reason) from error
        return True

    def _open(self, conn: Connection) -> Unit:
        unit = open_unit(conn, self.namespace, self.clock, self.database.dialect)
        last = self.seen.last
        found = Position(unit.revision - 1, unit.incarnation, unit.previous_hash)
        if found != last:
            last.require_not_behind(found)
        self._of_host.settle(unit)
        return unit

    def _require_usable(self, unit: Unit) -> None:
        if unit.schema is not self._usable:
            unit.schema.require_usable(self.database)
            self._usable = unit.schema


def recordable(actor: str | None, reason: str | None) -> tuple[str | None, str | None]:
    """
    Return *actor* and *reason*, which every database can hold.

    Raises:
        InvalidTextError: One of them cannot be held.
    """
    return storable_text("actor", actor, MAX_ACTOR), storable_text("reason", reason)


def default_actor() -> str:
    """Return `user@host pid N` of this process."""
    return f"{_user_at_host()} pid {os.getpid()}"


@cache
def _user_at_host() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # An account without a name, as in many containers.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:200]
