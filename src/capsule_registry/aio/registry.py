"""The registry for asyncio."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial, wraps
from time import monotonic
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar
from weakref import WeakSet

from capsule_registry.aio.feed import Feed
from capsule_registry.aio.history import AsyncHistory
from capsule_registry.aio.leases import AsyncLeases
from capsule_registry.aio.memory import Memory, NotRemembered
from capsule_registry.aio.readiness import Readiness
from capsule_registry.aio.transaction import (
    AsyncSnapshot,
    AsyncTransaction,
    Block,
    TransactionBlock,
)
from capsule_registry.aio.verbs import AsyncReads, AsyncWrites, LeasesVerbs
from capsule_registry.aio.workers import Kind, Workers
from capsule_registry.api.acting import Acting
from capsule_registry.api.point_in_time import Past
from capsule_registry.api.registry import CapsuleRegistry
from capsule_registry.api.replica import REPLICA_TIMEOUT
from capsule_registry.permissions.checks import DEADLINE
from capsule_registry.permissions.deadline import too_late
from capsule_registry.permissions.many_checks import questions_in

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Coroutine, Iterable
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from uuid import UUID

    from capsule_registry.aio.leases import AsyncOpenLease
    from capsule_registry.api.replica import Replica
    from capsule_registry.api.transaction import Transaction
    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.models.records import ReadyStatus, RegisteredCapsule
    from capsule_registry.permissions.checks import Decision

P = ParamSpec("P")
T = TypeVar("T")


class AsyncPast(AsyncReads[Past]):
    """The registry as it was; see `Past`."""

    @property
    def revision(self) -> int:
        """The revision that is seen."""
        return self._plain.revision


class AsyncReplica:
    """The registry on a standby; see `Replica`."""

    def __init__(self, plain: Replica, workers: Workers) -> None:
        self._plain = plain
        self._workers = workers
        self._feed = Feed(plain.history, workers)
        self.min_revision = plain.min_revision

    async def list(
        self, *, after: str | None = None, limit: int | None = None
    ) -> builtins.list[CapsuleId]:
        """Return the ids of the registered capsules; see `Replica.list`."""
        return await self._workers.run(Kind.READ, self._plain.list, after=after, limit=limit)

    async def at(self, *, revision: int | None = None, time: datetime | None = None) -> AsyncPast:
        """Return the registry as it was at *revision*, or at *time*; see `Replica.at`."""
        past = await self._workers.run(Kind.READ, self._plain.at, revision=revision, time=time)
        return AsyncPast(past, self._workers)

    @property
    def history(self) -> AsyncHistory:
        """The history of the namespace, as far as the standby has it."""
        return AsyncHistory(self._plain.history, self._workers, self._feed)


def _opening(
    open_plain: Callable[P, CapsuleRegistry],
) -> Callable[P, Coroutine[Any, Any, AsyncCapsuleRegistry]]:
    """Return a coroutine function that opens a registry as *open_plain* does."""

    @wraps(open_plain)
    async def open_registry(*args: P.args, **kwargs: P.kwargs) -> AsyncCapsuleRegistry:
        opener = ThreadPoolExecutor(1, "capsule-registry-open")
        opening = opener.submit(partial(open_plain, *args, **kwargs))
        try:
            return AsyncCapsuleRegistry(await asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            opener.submit(_close_opened, opening)
            raise
        finally:
            opener.shutdown(wait=False)

    return open_registry


def _close_opened(opening: Future[CapsuleRegistry]) -> None:
    """Close the registry that was opened for a caller who is gone."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class AsyncCapsuleRegistry(AsyncWrites[CapsuleRegistry]):
    """
    A persistent registry of capsules for asyncio, with the verbs of `CapsuleRegistry`.

    Open one with `open`, and use it in one event loop, in the process that opened it. What the
    memory of a file's registry answers is answered at once; everything else runs on threads of its
    own, and concurrent writes share COMMITs. A write that is cancelled is made or not: the history
    tells.
    """

    def __init__(self, plain: CapsuleRegistry) -> None:
        self._workers = Workers(plain)
        super().__init__(plain, self._workers)
        self.namespace = plain.namespace
        self._memory = Memory(plain)
        self._feed = Feed(plain.history, self._workers)
        self._held: WeakSet[AsyncOpenLease] = WeakSet()

    open = staticmethod(_opening(CapsuleRegistry.open))

    @property
    def remembered(self) -> int:
        """How many lookups were answered from memory, since it was opened."""
        return self._memory.answered

    # The lookups made for every message

    async def find_by_uuid(self, uuid: UUID | str) -> CapsuleId | None:
        """Return the id that *uuid* is filed under; see `CapsuleRegistry.find_by_uuid`."""
        self._memory.look_again()
        try:
            return self._memory.find_by_uuid(uuid)
        except NotRemembered:
            return await self._workers.run(Kind.READ, self._plain.find_by_uuid, uuid)

    async def get(self, capsule_id: str) -> RegisteredCapsule | None:
        """Return the capsule registered under *capsule_id*; see `CapsuleRegistry.get`."""
        self._memory.look_again()
        try:
            return self._memory.get(capsule_id)
        except NotRemembered:
            return await self._workers.run(Kind.READ, self._plain.get, capsule_id)

    async def check(
        self,
        uuid: UUID | str,
        capability: str,
        value: str | None = None,
        *,
        timeout: timedelta = DEADLINE,
    ) -> Decision:
        """
        Decide whether the sender of a message may do something; see `CapsuleRegistry.check`.

        The timeout counts from the call; the wait for a thread is part of it.
        """
        self._memory.look_again()
        try:
            return self._memory.check(uuid, capability, value, timeout=timeout)
        except NotRemembered:
            return (await self._in_time(partial(self._checked, uuid, capability, value), timeout))[
                0
            ]

    def _checked(
        self, uuid: UUID | str, capability: str, value: str | None, *, timeout: timedelta
    ) -> builtins.list[Decision]:
        return [self._plain.check(uuid, capability, value, timeout=timeout)]

    async def check_many(
        self,
        questions: Iterable[tuple[UUID | str, str] | tuple[UUID | str, str, str | None]],
        *,
        timeout: timedelta = DEADLINE,
    ) -> builtins.list[Decision]:
        """Decide many checks of one moment by one statement; see `CapsuleRegistry.check_many`."""
        asked = questions_in(questions)
        self._memory.look_again()
        try:
            return self._memory.check_many(asked, timeout=timeout)
        except NotRemembered:
            ask = partial(self._plain.check_many, asked)
            return await self._in_time(ask, timeout)

    async def is_allowed(
        self,
        uuid: UUID | str,
        capability: str,
        value: str | None = None,
        *,
        timeout: timedelta = DEADLINE,
    ) -> bool:
        """Return whether the sender of a message may do something; raises as `check` does."""
        self._memory.look_again()
        try:
            return self._memory.is_allowed(uuid, capability, value, timeout=timeout)
        except NotRemembered:
            return (await self.check(uuid, capability, value, timeout=timeout)).allowed

    async def _in_time(
        self, ask: Callable[..., builtins.list[Decision]], timeout: timedelta
    ) -> builtins.list[Decision]:
        """Return what *ask* decides in what is left of *timeout* when a thread is free for it."""
        end = monotonic() + timeout.total_seconds()

        def decide() -> builtins.list[Decision]:
            return ask(timeout=timedelta(seconds=end - monotonic()))

        found = await self._workers.run(Kind.READ, decide)
        return found if monotonic() <= end else [too_late(one.revision) for one in found]

    # Views

    def snapshot(self) -> AbstractAsyncContextManager[AsyncSnapshot]:
        """
        Open a view whose reads all see one moment; see `CapsuleRegistry.snapshot`.

        It has a connection and a thread until the block ends.
        """
        return Block(self._workers, self._plain.snapshot, AsyncSnapshot)

    async def at(self, *, revision: int | None = None, time: datetime | None = None) -> AsyncPast:
        """Return the registry as it was at *revision*, or at *time*; see `CapsuleRegistry.at`."""
        past = await self._workers.run(Kind.READ, self._plain.at, revision=revision, time=time)
        return AsyncPast(past, self._workers)

    async def replica(
        self, *, min_revision: int | None = None, timeout: timedelta = REPLICA_TIMEOUT
    ) -> AsyncReplica:
        """
        Return a reader of the standby, once it has *min_revision*; see `CapsuleRegistry.replica`.

        It waits on a thread.
        """
        ask = partial(self._plain.replica, min_revision=min_revision, timeout=timeout)
        return AsyncReplica(await self._workers.run(Kind.LONG, ask), self._workers)

    async def wait_ready(
        self, ids: Iterable[str], timeout: timedelta
    ) -> dict[CapsuleId, ReadyStatus]:
        """Wait until each of *ids* is ready or has failed; see `CapsuleRegistry.wait_ready`."""
        readiness = Readiness(self._plain._read, self._workers, self.history)  # noqa: SLF001 - of one house
        return await readiness.wait(ids, timeout)

    @property
    def leases(self) -> AsyncLeases:
        """The namespace's leases: time-limited holds of processes on session UUIDs."""
        file = self._plain.register_uuid
        return AsyncLeases(self._plain.leases, self._workers, self._held, file)

    @property
    def history(self) -> AsyncHistory:
        """Everything that has happened in the namespace."""
        return AsyncHistory(self._plain.history, self._workers, self._feed)

    # Transactions

    def transaction(
        self, *, reason: str | None = None, actor: str | None = None
    ) -> AbstractAsyncContextManager[AsyncTransaction]:
        """
        Open a transaction with the registry's methods; see `CapsuleRegistry.transaction`.

        It has a thread of its own until it ends. Inside, this task and those that it creates cannot
        use the registry itself. If it is cancelled, nothing is written, unless the COMMIT has begun
        already; then that takes its course.
        """
        open_plain = partial(self._plain.transaction, reason=reason, actor=actor)
        return TransactionBlock(self._workers, open_plain, AsyncTransaction)

    async def run(
        self,
        work: Callable[[Transaction], T],
        *,
        reason: str | None = None,
        actor: str | None = None,
        request_id: UUID | None = None,
        together: bool = False,
    ) -> T:
        """
        Return `work(transaction)`, which is called on a thread; see `CapsuleRegistry.run`.

        *work* is a plain function, and gets a plain `Transaction`.
        """
        run = partial(self._plain.run, work, reason=reason, actor=actor, request_id=request_id)
        return await self._workers.run(Kind.WRITE, run, together=together)

    # Closing

    async def close(self) -> None:
        """
        Let what runs come to its end, and close the registry's connections and threads. Idempotent.

        Watches end with `RegistryClosedError`; leases are no longer renewed, and so run out. A
        transaction or snapshot keeps its connection until its block ends.
        """
        for lease in [*self._held]:
            lease.stop()
        await self._feed.end()
        await self._workers.close(self._plain.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = "closed" if self._workers.is_closed else "open"
        return f"AsyncCapsuleRegistry(namespace={self.namespace!r}, {state})"


class AsyncActing(AsyncWrites[Acting]):
    """The methods of *registry*, as what *actor* does; see `Acting`."""

    def __init__(
        self,
        registry: AsyncCapsuleRegistry,
        actor: str,
        *,
        reason: str | None = None,
        request_id: UUID | None = None,
    ) -> None:
        plain = Acting(registry._plain, actor, reason=reason, request_id=request_id)  # noqa: SLF001 - the same registry
        super().__init__(plain, registry._workers)  # noqa: SLF001

    @property
    def revision(self) -> int | None:
        """The revision that the last change made, `None` if there was none or it made none."""
        return self._plain.revision

    @property
    def leases(self) -> LeasesVerbs:
        """The namespace's leases; those opened here are the actor's, and not renewed."""
        return LeasesVerbs(self._plain.leases, self._runner)
