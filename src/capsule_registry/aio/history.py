"""The history of a namespace for asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from capsule_registry.aio.feed import waiting
from capsule_registry.aio.verbs import HistoryVerbs
from capsule_registry.aio.workers import Kind

if TYPE_CHECKING:
    from datetime import timedelta

    from capsule_registry.aio.feed import Feed
    from capsule_registry.aio.workers import Runner
    from capsule_registry.api.history import History
    from capsule_registry.history.revisions import Revision
    from capsule_registry.history.watch import Watch


class AsyncHistory(HistoryVerbs):
    """The history of a namespace; see `History`."""

    def __init__(self, plain: History, runner: Runner, feed: Feed) -> None:
        super().__init__(plain, runner)
        self._feed = feed

    def watch(
        self,
        *,
        after: int | None = None,
        incarnation: UUID | None = None,
        timeout: timedelta | None = None,
    ) -> AsyncWatch:
        """
        Return an asynchronous iterator over the revisions after *after*; see `History.watch`.

        Nothing is asked yet: it begins with the first iteration, or with `begin`.
        """
        return AsyncWatch(self._plain, self._runner, self._feed, after, incarnation, timeout)


class AsyncWatch:
    """
    An asynchronous iterator of revisions, as `Watch` is one.

    However many there are of a registry, the database is asked by one. A slow consumer lags, and
    none waits for another. Iterate with one task at a time.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is followed, and how `History.watch` was called
        self,
        history: History,
        runner: Runner,
        feed: Feed,
        after: int | None,
        incarnation: UUID | None,
        timeout: timedelta | None,
    ) -> None:
        self._history = history
        self._runner = runner
        self._feed = feed
        self._revision = after
        self._incarnation = incarnation
        self._seconds = None if timeout is None else timeout.total_seconds()
        self._has_begun = False
        self._beginning = asyncio.Lock()
        self._waiting: deque[Revision] = deque()

    async def begin(self) -> Self:
        """
        Begin at the position, by default the head of now, and return this watch. Idempotent.

        Raises:
            FutureRevisionError, RevisionCompactedError, IncarnationChangedError: It cannot begin
                there.
        """
        if not self._has_begun:
            async with self._beginning:  # Only the first of several tasks reads.
                if not self._has_begun:
                    await self._read_on()
                    self._has_begun = True
        return self

    @property
    def incarnation(self) -> UUID:
        """The incarnation followed, once it has begun; see `Watch.incarnation`."""
        return self._incarnation or UUID(int=0)

    @property
    def revision(self) -> int:
        """The position up to which everything was yielded, once it has begun."""
        return self._revision or 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Revision:
        await self.begin()
        now = asyncio.get_running_loop().time
        deadline = None if self._seconds is None else now() + self._seconds
        while not self._waiting and not await self._has_more():
            seconds = None if deadline is None else deadline - now()
            if seconds is not None and seconds <= 0:
                raise StopAsyncIteration
            await self._feed.wait(seconds)
        found = self._waiting.popleft()
        self._revision = found.revision
        return found

    @property
    async def lag(self) -> int:
        """How many committed revisions have not been yielded yet."""
        await self.begin()
        return await self._runner.run(Kind.READ, _head_of, self._history) - self.revision

    async def _has_more(self) -> bool:
        """Take what there is, and return whether there is any; else the feed tells of the next."""
        position = self.revision, self.incarnation
        while (kept := self._feed.after(*position)) is None:
            await self._read_on()
            if self._waiting:
                return True
            self._feed.follow(self, *position)  # Which may be further already; then read again.
        self._waiting.extend(kept)
        return bool(kept)

    async def _read_on(self) -> None:
        wanted = {"after": self._revision, "incarnation": self._incarnation}
        watch, found = await self._runner.run(Kind.READ, _opened, self._history, **wanted)
        self._incarnation = watch.incarnation
        if self._revision is None:
            self._revision = watch.revision - len(found)
        self._waiting.extend(found)


def _head_of(history: History) -> int:
    return history.revision


def _opened(history: History, **wanted: Any) -> tuple[Watch, list[Revision]]:  # noqa: ANN401 - of `watch`
    """Open a watch, and return it with what it has now."""
    watch = history.watch(**wanted)
    return watch, waiting(watch)
