"""Blocks that hold a connection: a transaction, and a view of one moment."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from capsule_registry.aio.verbs import AsyncReads, AsyncWrites
from capsule_registry.aio.workers import Kind, Lane
from capsule_registry.api.point_in_time import Snapshot
from capsule_registry.api.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

    from capsule_registry.aio.workers import Workers

S = TypeVar("S")
A = TypeVar("A")


class AsyncTransaction(AsyncWrites[Transaction]):
    """
    The registry's methods in one transaction; see `Transaction`.

    Its steps run in order, also those of several tasks.
    """


class AsyncSnapshot(AsyncReads[Snapshot]):
    """A view whose reads all see one moment; see `Snapshot`."""

    @property
    def revision(self) -> int:
        """The revision that is seen; a watch from it misses nothing."""
        return self._plain.revision


class Block(AbstractAsyncContextManager[A], Generic[S, A]):
    """
    The block of a plain context manager, whose every step runs on one thread of its own.

    Whoever is cancelled leaves it as after any other error: it is rolled back, and nothing of it
    stays open.

    Args:
        workers: The registry's.
        plain: Opens the plain block.
        wrap: Returns what the body gets, given what the plain block yields.
    """

    def __init__(
        self,
        workers: Workers,
        plain: Callable[[], AbstractContextManager[S]],
        wrap: Callable[[S, Lane], A],
    ) -> None:
        self._workers = workers
        self._plain = plain
        self._wrap = wrap
        self._lane = Lane(workers)
        self._opened: AbstractContextManager[S] | None = None

    async def __aenter__(self) -> A:
        self._workers.refuse_inside_transaction()
        lane = self._lane
        try:
            entered = await lane.run(Kind.WRITE, self._enter)
        except BaseException as error:
            lane.submit(partial(self._leave, type(error), error, None))
            lane.end()
            raise
        return self._wrap(entered, lane)

    def _enter(self) -> S:
        plain = self._plain()
        entered = plain.__enter__()
        self._opened = plain
        return entered

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        last = self._lane.submit(partial(self._leave, kind, error, traceback))
        self._lane.end()
        return await asyncio.shield(asyncio.wrap_future(last))

    def _leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Leave the plain block, if it was entered."""
        opened, self._opened = self._opened, None
        return None if opened is None else opened.__exit__(kind, error, traceback)


class TransactionBlock(Block[Transaction, AsyncTransaction]):
    """The block of a transaction: while it is open, its task cannot use the registry itself."""

    async def __aenter__(self) -> AsyncTransaction:
        transaction = await super().__aenter__()
        self._lane.enter()
        return transaction
