"""Coroutines: lookups against plain calls, writes at once against one after the other."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from capsule_registry import AsyncCapsuleRegistry
from support.comparison import Finding, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from support.comparison import Pairs
    from support.databases import Databases
    from support.setting import Setting

_LOOKUPS: Final = 20_000
_AT_ONCE: Final = 1_000
_ONE_AFTER_THE_OTHER: Final = 200
#: By database: how many times as fast coroutines at once are to be as one after the other.
_TARGETS: Final = {"SQLite": 3, "PostgreSQL": 5, "MariaDB": 5}


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of coroutines."""
    for databases in (setting.files, *setting.servers):
        with asyncio.Runner() as runner:
            opening = AsyncCapsuleRegistry.open(databases.new(), actor="benchmark")
            registry = runner.run(opening)
            run = partial(_ran, runner.run)
            if not databases.is_server:
                yield _lookups(registry, run, setting)
            yield from _writes(registry, run, setting, databases)
            runner.run(registry.close())


def _ran(
    run: Callable[[Coroutine[Any, Any, float]], float],
    make: Callable[[], Coroutine[Any, Any, float]],
) -> float:
    return run(make())


def _lookups(
    registry: AsyncCapsuleRegistry, run: Callable[..., float], setting: Setting
) -> Finding:
    """Compare awaiting a lookup in memory with calling it."""
    uuid, plain = uuid4(), registry._plain.find_by_uuid  # noqa: SLF001 - the same memory

    async def awaited() -> float:
        await registry.find_by_uuid(uuid)
        began = time.perf_counter()
        for _ in range(_LOOKUPS):
            await registry.find_by_uuid(uuid)
        return (time.perf_counter() - began) / _LOOKUPS

    def called() -> float:
        plain(uuid)
        began = time.perf_counter()
        for _ in range(_LOOKUPS):
            plain(uuid)
        return (time.perf_counter() - began) / _LOOKUPS

    pairs = in_turn(partial(run, awaited), called, setting.rounds(9))
    return pairs.times_as_long("await find_by_uuid, warm / the plain call", 3)


def _writes(
    registry: AsyncCapsuleRegistry,
    run: Callable[..., float],
    setting: Setting,
    databases: Databases,
) -> Iterator[Finding]:
    title = databases.title
    took: list[float] = []
    pauses: list[float] = []

    async def write() -> None:
        began = time.perf_counter()
        await registry.register_uuid(uuid4(), "capsule-0")
        took.append(time.perf_counter() - began)

    async def at_once() -> float:
        watching = asyncio.create_task(_longest_pause(pauses))
        began = time.perf_counter()
        await asyncio.gather(*(write() for _ in range(_AT_ONCE)))
        each = (time.perf_counter() - began) / _AT_ONCE
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        return each

    async def one_after_the_other() -> float:
        began = time.perf_counter()
        for _ in range(_ONE_AFTER_THE_OTHER):
            await registry.register_uuid(uuid4(), "capsule-0")
        return (time.perf_counter() - began) / _ONE_AFTER_THE_OTHER

    at_once_, after = partial(run, at_once), partial(run, one_after_the_other)
    pairs: Pairs = in_turn(at_once_, after, setting.rounds(9))
    name = f"register_uuid, {_AT_ONCE:,} coroutines / one after the other, {title}"
    yield pairs.times_as_fast(name, _TARGETS[title])
    slowest = statistics.quantiles(took, n=100)[-1]
    name = f"register_uuid, {_AT_ONCE:,} coroutines, 99th percentile, {title}"
    yield Finding.figure(name, [slowest], "s", None)
    name = f"register_uuid, {_AT_ONCE:,} coroutines, longest pause of the loop, {title}"
    yield Finding.figure(name, [max(pauses)], "s", None)


async def _longest_pause(found: list[float]) -> None:
    """Add to *found*, until cancelled, how long the event loop ran nothing else."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        found.append(time.perf_counter() - began - 0.001)
