"""The threads on which the registry's verbs run, so that none of them blocks the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, TypeVar

from capsule_registry.aio.gathering import Gathering, called
from capsule_registry.errors import RegistryClosedError, TransactionInProgressError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from capsule_registry.api.registry import CapsuleRegistry

P = ParamSpec("P")
T = TypeVar("T")


class Kind(Enum):
    """The kinds of work, none of which waits for another."""

    #: Short reads.
    READ = auto()
    #: Short writes, all of which one thread makes, many in one transaction.
    BATCH = auto()
    #: Other writes.
    WRITE = auto()
    #: What may take minutes: bulk, verification, export.
    LONG = auto()
    #: What must not wait behind all that: renewals of leases, and what followers wait for.
    RENEWAL = auto()
    FEED = auto()


#: How many threads each kind has at most; more would only compete for the interpreter.
_THREADS: Final = {
    Kind.READ: 8,
    Kind.BATCH: 1,
    Kind.WRITE: 8,
    Kind.LONG: 4,
    Kind.RENEWAL: 2,
    Kind.FEED: 1,
}


class Runner(Protocol):
    """Runs functions off the event loop's thread."""

    async def run(
        self, kind: Kind, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """
        Return `work(*args, **kwargs)`.

        A caller that is cancelled waits no more. Then *work* is not begun, or takes its course.
        """


class Workers:
    """The threads of one registry, started as they are needed."""

    def __init__(self, plain: CapsuleRegistry) -> None:
        self._executors = {
            kind: ThreadPoolExecutor(threads, f"capsule-registry-{kind.name.lower()}")
            for kind, threads in _THREADS.items()
        }
        self._gathering = Gathering(plain, self._executors[Kind.BATCH])
        self.is_closed = False

    async def run(
        self, kind: Kind, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """
        Return `work(*args, **kwargs)`; see `Runner`.

        Raises:
            RegistryClosedError: The registry was closed.
            TransactionInProgressError: This task has a transaction of the registry open.
        """
        self.refuse_inside_transaction()
        if self.is_closed:
            raise RegistryClosedError
        if kind is Kind.BATCH:
            return await self._gathering.run(work, *args, **kwargs)
        call = partial(called, work, *args, **kwargs)
        return await asyncio.wrap_future(self._executors[kind].submit(call))

    def refuse_inside_transaction(self) -> None:
        """Raise `TransactionInProgressError` in a task that has one of these workers' open."""
        if any(lane.workers is self for lane in _open_lanes()):
            raise TransactionInProgressError

    async def close(self, last: Callable[[], None]) -> None:
        """Let what runs come to its end, then call *last*, which is not cancelled any more."""
        self.is_closed = True
        await asyncio.shield(self._close(last))

    async def _close(self, last: Callable[[], None]) -> None:
        await self._gathering.drain()
        await asyncio.to_thread(self._end, last)

    def _end(self, last: Callable[[], None]) -> None:
        for executor in self._executors.values():
            executor.shutdown()
        last()


class Lane:
    """
    One thread for one transaction or snapshot, whose steps it runs in order.

    A step that a cancelled caller no longer waits for is ended before the next one is begun.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.is_open = True
        self._executor: Final = ThreadPoolExecutor(1, "capsule-registry-lane")
        #: In which the running task was already when it entered this one.
        self.outer: Lane | None = None

    async def run(
        self,
        kind: Kind,  # noqa: ARG002 - all kinds in their order
        work: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """
        Return `work(*args, **kwargs)`; see `Runner`.

        Raises:
            RegistryClosedError: The transaction or the snapshot has ended.
        """
        if not self.is_open:
            raise RegistryClosedError
        return await asyncio.wrap_future(self.submit(partial(called, work, *args, **kwargs)))

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Let *work* be the last step so far; it is run even if nobody waits for it."""
        return self._executor.submit(work)

    def enter(self) -> None:
        """Note that the running task is inside, until the end."""
        self.outer = next(_open_lanes(), None)
        _entered.set(self)

    def end(self) -> None:
        """Take no more steps; the thread ends after the last."""
        self.is_open = False
        self._executor.shutdown(wait=False)


#: The lane that the running task, or the one that created it, has entered last.
_entered: Final[ContextVar[Lane | None]] = ContextVar("capsule_registry_transaction", default=None)


def _open_lanes() -> Iterator[Lane]:
    """Yield the lanes that the running task is inside, the innermost first."""
    lane = _entered.get()
    while lane is not None:
        if lane.is_open:
            yield lane
        lane = lane.outer
