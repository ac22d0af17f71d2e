"""Waiting for capsules to become ready, without blocking the event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from capsule_registry.aio.workers import Kind
from capsule_registry.api.readiness import changes, standing
from capsule_registry.errors import RevisionCompactedError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.models.records import ReadyStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from capsule_registry.aio.history import AsyncHistory
    from capsule_registry.aio.workers import Runner
    from capsule_registry.unit_of_work.queries import Reading


class Readiness:
    """Which of some capsules are ready or have failed, whichever each did first."""

    def __init__(self, read: Reading, runner: Runner, history: AsyncHistory) -> None:
        self._read = read
        self._runner = runner
        self._history = history

    async def wait(self, ids: Iterable[str], timeout: timedelta) -> dict[CapsuleId, ReadyStatus]:
        """Wait until each of *ids* is ready or has failed, at most for *timeout*."""
        wanted = [CapsuleId(one) for one in dict.fromkeys(ids)]
        found = await self._runner.run(Kind.READ, standing, self._read, wanted)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout.total_seconds()):
                while len(found) < len(wanted):
                    with suppress(RevisionCompactedError):  # Go by the states of then.
                        await self._follow(wanted, found)
        return {one: found.get(one, ReadyStatus.TIMEOUT) for one in wanted}

    async def _follow(self, wanted: list[CapsuleId], found: dict[str, ReadyStatus]) -> None:
        """Add to *found* until it has all that are *wanted*."""
        # Begun before the states are read, so that no change in between is missed.
        watch = await self._history.watch().begin()
        states = await self._runner.run(Kind.READ, standing, self._read, wanted)
        found |= states | found
        while len(found) < len(wanted):
            changed = changes(await anext(watch))
            found |= {one: changed[one] for one in wanted if one in changed} | found
