"""The revisions of a namespace as they come: read once, for all who follow."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from weakref import WeakSet

from capsule_registry.aio.workers import Kind
from capsule_registry.errors import CapsuleRegistryError
from capsule_registry.history.revisions import REVISIONS_AT_ONCE
from capsule_registry.history.watch import POLL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capsule_registry.aio.workers import Runner
    from capsule_registry.api.history import History
    from capsule_registry.history.revisions import Revision
    from capsule_registry.history.watch import Watch

#: How many revisions and how many of their events are kept at most, but for the latest revision.
_MOST: Final = 400
_MOST_EVENTS: Final = 5_000


class Feed:
    """
    The latest revisions of a history, kept for those who follow it.

    One task reads them while anybody follows. Who is further behind reads by itself, and so does
    everybody after an error, which then is its own.
    """

    def __init__(self, history: History, runner: Runner) -> None:
        self._history = history
        self._runner = runner
        self._followers: WeakSet[object] = WeakSet()
        self._kept: deque[Revision] = deque()
        self._events = 0
        self._task: asyncio.Task[None] | None = None
        #: Up to where it has read, and in which history; of use while there is a task.
        self._revision, self._incarnation = 0, UUID(int=0)
        self._news = asyncio.Event()

    def after(self, revision: int, incarnation: UUID) -> Sequence[Revision] | None:
        """
        Return those kept after *revision*; none if there are none yet.

        `None` if they must be read by whoever asks: the feed is not running, or has later ones.
        """
        if self._task is None or self._incarnation != incarnation:
            return None
        if revision >= self._revision:
            return ()
        if not self._kept or self._kept[0].revision > revision + 1:
            return None
        start = revision + 1 - self._kept[0].revision
        return [self._kept[place] for place in range(start, len(self._kept))]

    def follow(self, follower: object, revision: int, incarnation: UUID) -> None:
        """Keep reading while *follower* exists; start after *revision* unless already reading."""
        self._followers.add(follower)
        if self._task is None:
            self._revision, self._incarnation = revision, incarnation
            self._task = asyncio.create_task(self._read())

    async def wait(self, seconds: float | None) -> None:
        """Wait for news, for so many *seconds* at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def end(self) -> None:
        """Stop reading, and tell those who follow."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._stop()  # A task that is cancelled before its first step does nothing itself.

    async def _read(self) -> None:
        position: dict[str, Any] = {"after": self._revision, "incarnation": self._incarnation}
        try:
            watch = await self._runner.run(Kind.FEED, self._history.watch, **position)
            while self._followers:
                if found := await self._runner.run(Kind.FEED, waiting, watch):
                    self._keep(found)
                    self._tell()
                await asyncio.sleep(POLL_SECONDS)
        except CapsuleRegistryError:
            pass  # Whoever follows reads by itself, and gets an error of its own.
        finally:
            self._stop()

    def _stop(self) -> None:
        self._task = None
        self._kept.clear()
        self._events = 0
        self._tell()

    def _keep(self, found: Sequence[Revision]) -> None:
        self._kept.extend(found)
        self._revision = found[-1].revision
        self._events += sum(len(one.events) for one in found)
        while len(self._kept) > 1 and (len(self._kept) > _MOST or self._events > _MOST_EVENTS):
            self._events -= len(self._kept.popleft().events)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def waiting(watch: Watch) -> list[Revision]:
    """Return the next revisions of *watch* that are there already, at most those of one read."""
    found: list[Revision] = []
    while len(found) < REVISIONS_AT_ONCE and (one := watch.poll()) is not None:
        found.append(one)
    return found
