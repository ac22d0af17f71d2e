"""Watches of tasks: one reader for all of them."""

from __future__ import annotations

import asyncio
import gc
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    AsyncCapsuleRegistry,
    CapsuleRegistry,
    FutureRevisionError,
    IncarnationChangedError,
    RegistryClosedError,
    RevisionCompactedError,
)
from capsule_registry.aio import feed as feeds
from capsule_registry.aio import history as histories
from support.events import SECONDS, cancelled_everywhere, ticks, until
from support.factories import make_manifest

if TYPE_CHECKING:
    from capsule_registry import Revision
    from capsule_registry.aio.history import AsyncWatch

pytestmark = pytest.mark.anyio


async def taken(watch: AsyncWatch, count: int) -> list[int]:
    """Take so many revisions."""
    return [(await anext(watch)).revision for _ in range(count)]


async def test_a_watch_yields_every_revision_once(url: str, opened: AsyncCapsuleRegistry) -> None:
    """In order, from its position on, those of another process included."""
    await opened.register(make_manifest("alpha"))
    watch = opened.history.watch(after=0)
    assert [1, 2] == await taken(watch, 2)
    with CapsuleRegistry.open(url) as other:
        other.register(make_manifest("beta"))
    assert [3] == await taken(watch, 1)
    assert 3 == watch.revision
    assert 0 == await watch.lag


async def test_many_watchers_are_served_by_one_reader(opened: AsyncCapsuleRegistry) -> None:
    """A thousand of them, each whole and in order, with no thread of their own."""
    before = threading.active_count()
    watches = [await opened.history.watch(after=1).begin() for _ in range(1000)]
    tasks = [asyncio.create_task(taken(one, 10)) for one in watches]
    for number in range(10):
        await opened.register_uuid(uuid4(), f"capsule-{number}")
        assert threading.active_count() <= before + 20

    async with asyncio.timeout(60):
        found = await asyncio.gather(*tasks)
    assert [[*range(2, 12)]] * 1000 == found


async def test_a_slow_watcher_misses_nothing(
    opened: AsyncCapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the feed keeps no more than a few for it, and another is not kept waiting."""
    monkeypatch.setattr(feeds, "_MOST", 3)
    slow = await opened.history.watch(after=1).begin()
    quick = await opened.history.watch(after=1).begin()
    for _ in range(10):
        await opened.register_uuid(uuid4(), "alpha")
        await anext(quick)

    assert [*range(2, 12)] == await taken(slow, 10)
    assert 11 == quick.revision


async def test_a_watch_ends_after_its_timeout(opened: AsyncCapsuleRegistry) -> None:
    """Without a revision; what is there comes first."""
    await opened.register(make_manifest("alpha"))
    watch = opened.history.watch(after=0, timeout=timedelta(milliseconds=50))

    assert [1, 2] == [one.revision async for one in watch]


async def test_a_watch_that_cannot_begin_says_why(opened: AsyncCapsuleRegistry) -> None:
    """By the errors of the plain one."""
    await opened.register(make_manifest("alpha"))
    await opened.history.prune(await opened.history.anchor())

    with pytest.raises(RevisionCompactedError):
        await anext(opened.history.watch(after=0))
    with pytest.raises(FutureRevisionError):
        await anext(opened.history.watch(after=99))
    with pytest.raises(IncarnationChangedError):
        await anext(opened.history.watch(after=3, incarnation=UUID(int=5)))


async def test_a_watch_that_is_pruned_away_says_so(
    opened: AsyncCapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on."""
    monkeypatch.setattr(feeds, "_MOST", 1)
    behind = await opened.history.watch(after=1).begin()
    current = await opened.history.watch(after=1).begin()
    for number in range(3):
        await opened.register(make_manifest(f"capsule-{number}"))
    assert [2, 3, 4] == await taken(current, 3)
    await opened.history.prune(await opened.history.anchor())
    assert [5] == await taken(current, 1)

    with pytest.raises(RevisionCompactedError):
        await anext(behind)


async def test_a_cancelled_wait_loses_no_revision(opened: AsyncCapsuleRegistry) -> None:
    """Wherever it is cancelled, the next wait goes on from there."""
    seen: list[Revision] = []
    watch = opened.history.watch(after=0)

    async def step() -> None:
        seen.append(await anext(watch))

    for number in range(5):
        await opened.register_uuid(uuid4(), f"capsule-{number}")
        async for _ in cancelled_everywhere(step):
            pass

    while seen[-1].revision < 6:
        await step()
    assert [*range(1, 7)] == [one.revision for one in seen]


async def test_the_feed_reads_while_somebody_follows(opened: AsyncCapsuleRegistry) -> None:
    """And ends with the last."""
    watch = opened.history.watch(after=1)
    waiting = asyncio.create_task(taken(watch, 1))
    await until(lambda: opened._feed._task is not None)
    await opened.register(make_manifest("alpha"))
    assert [2] == await waiting
    del watch, waiting
    gc.collect()

    await until(lambda: opened._feed._task is None)


async def test_a_watch_ends_when_its_registry_is_closed(url: str) -> None:
    """With an error, and not silently."""
    opened = await AsyncCapsuleRegistry.open(url)
    watch = opened.history.watch()
    waiting = asyncio.create_task(taken(watch, 1))
    await until(lambda: opened._feed._task is not None)
    await opened.close()

    with pytest.raises(RegistryClosedError):
        await waiting


async def test_a_close_as_the_feed_starts_ends_the_watch_too(url: str) -> None:
    """Before the feed has run one step."""
    opened = await AsyncCapsuleRegistry.open(url)
    waiting = asyncio.create_task(taken(opened.history.watch(), 1))
    while opened._feed._task is None:
        await asyncio.sleep(0)
    await opened.close()

    with pytest.raises(RegistryClosedError):
        async with asyncio.timeout(SECONDS):
            await waiting


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_that_comes_with_a_revision_is_not_lost(
    opened: AsyncCapsuleRegistry, turns: int
) -> None:
    """However many turns of the event loop later it comes; also with a timeout."""
    watch = await opened.history.watch(timeout=timedelta(seconds=SECONDS)).begin()
    waiting = asyncio.create_task(taken(watch, 1))
    await until(lambda: opened._feed._task is not None)
    news = opened._feed._news
    await opened.register(make_manifest("alpha"))
    await news.wait()
    await ticks(turns)

    if waiting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waiting
    else:
        assert [2] == await waiting


async def test_a_watch_that_the_feed_has_overtaken_reads_on(
    opened: AsyncCapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, and at once: what it missed is not told of again."""
    monkeypatch.setattr(feeds, "_MOST", 2)
    behind = await opened.history.watch().begin()
    ahead = await opened.history.watch().begin()
    has_read, go_on = threading.Event(), threading.Event()
    read = histories._opened

    def read_slowly(history: Any, **wanted: Any) -> Any:
        found = read(history, **wanted)
        if not has_read.is_set():
            has_read.set()
            assert go_on.wait(SECONDS)
        return found

    monkeypatch.setattr(histories, "_opened", read_slowly)
    waiting = asyncio.create_task(taken(behind, 5))
    await asyncio.to_thread(has_read.wait)
    following = asyncio.create_task(taken(ahead, 5))
    for number in range(5):
        await opened.register_uuid(uuid4(), f"capsule-{number}")
    await following
    await until(lambda: opened._feed._kept)
    go_on.set()

    async with asyncio.timeout(SECONDS):
        assert [*range(2, 7)] == await waiting


async def test_asking_for_the_lag_takes_nothing_from_the_watch(
    opened: AsyncCapsuleRegistry,
) -> None:
    """Also before it has begun."""
    watch = opened.history.watch(after=0, timeout=timedelta(milliseconds=100))

    async def lag() -> int:
        return await watch.lag

    lags, *found = await asyncio.gather(lag(), taken(watch, 1))
    assert [[1]] == found
    assert lags in (0, 1)
    assert [] == [one async for one in watch]
