"""Leases for asyncio, renewed by tasks of the event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Self
from weakref import WeakSet, ref

from capsule_registry.aio.verbs import LeasesVerbs
from capsule_registry.aio.workers import Kind
from capsule_registry.api.leases import RENEWALS
from capsule_registry.errors import LeaseLostError, RegistryClosedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from capsule_registry.aio.workers import Workers
    from capsule_registry.api.leases import Leases, OpenLease


class AsyncLeases(LeasesVerbs):
    """The live leases of the namespace; see `Leases`."""

    def __init__(
        self,
        plain: Leases,
        workers: Workers,
        held: WeakSet[AsyncOpenLease],
        file: Callable[..., None],
    ) -> None:
        super().__init__(plain, workers)
        self._workers = workers
        self._held = held
        #: The registry's `register_uuid`.
        self._file = file

    async def open(
        self, name: str, ttl: timedelta = timedelta(seconds=30), *, renew: bool = True
    ) -> AsyncOpenLease:
        """
        Open a lease of this process; see `Leases.open`.

        With *renew*, a task of the running event loop renews it, and reaps expired leases.
        """
        opening = self._workers.run(Kind.WRITE, self._plain.open, name, ttl, renew=False)
        lease = AsyncOpenLease(await opening, self._plain, self._workers, self._file)
        self._held.add(lease)
        if renew:
            lease.keep(ttl.total_seconds())
        return lease


class AsyncOpenLease:
    """
    A lease that this process holds; `async with` closes it at the end of the block.

    Keep a reference: without one it is no longer renewed. See `OpenLease`.
    """

    def __init__(
        self, plain: OpenLease, leases: Leases, workers: Workers, file: Callable[..., None]
    ) -> None:
        self._plain = plain
        self._leases = leases
        self._workers = workers
        self._file = file
        self._renewing: asyncio.Task[None] | None = None
        self._reaping: asyncio.Task[None] | None = None

    @property
    def id(self) -> UUID:
        """The id of the lease, never used for another one."""
        return self._plain.id

    @property
    def held_id(self) -> UUID:
        """The id, for writing through the lease; see `OpenLease.held_id`."""
        return self._plain.held_id

    @property
    def lost(self) -> bool:
        """Whether this process must act as if it held nothing; see `OpenLease.lost`."""
        return self._plain.lost

    async def register_uuid(
        self, uuid: UUID | str, capsule_id: str, *, expected_generation: int | None = None
    ) -> None:
        """File *uuid* under *capsule_id* until the lease ends; see `OpenLease.register_uuid`."""
        options = {"lease": self.held_id, "expected_generation": expected_generation}
        try:
            await self._workers.run(Kind.BATCH, self._file, uuid, capsule_id, **options)
        except LeaseLostError:
            self._plain.note_lost()
            raise

    async def renew(self) -> None:
        """
        Extend the lease to its whole ttl from now.

        Raises:
            LeaseLostError: It has expired, or was closed.
        """
        await self._workers.run(Kind.RENEWAL, self._plain.renew)

    async def close(self) -> None:
        """End the lease, and remove its UUIDs; see `OpenLease.close`."""
        self._workers.refuse_inside_transaction()  # Before it is no longer renewed.
        self.stop()
        await self._workers.run(Kind.WRITE, self._plain.close)

    def keep(self, ttl_seconds: float) -> None:
        """Renew the lease in a task until it is closed, lost, or garbage-collected."""
        self._renewing = asyncio.create_task(_keep_renewing(ref(self), ttl_seconds / RENEWALS))

    def stop(self) -> None:
        """End the renewing task."""
        for task in (self._renewing, self._reaping):
            if task is not None:
                task.cancel()

    async def renew_by_itself(self) -> bool:
        """Renew, log any error, and return whether to go on; reap expired leases meanwhile."""
        if self._reaping is None or self._reaping.done():  # Renewing does not wait for that.
            reap = self._workers.run(Kind.WRITE, self._leases.reap_by_itself)
            self._reaping = asyncio.create_task(reap)
        return await self._workers.run(Kind.RENEWAL, self._plain.renew_by_itself)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Async{self._plain!r}"


async def _keep_renewing(forgettable: ref[AsyncOpenLease], interval: float) -> None:
    with suppress(RegistryClosedError):
        while True:
            await asyncio.sleep(interval)
            lease = forgettable()
            if lease is None or not await lease.renew_by_itself():
                return
            del lease
