"""Leases that the event loop renews, and waiting for capsules."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from uuid import UUID

import pytest

from capsule_registry import AsyncCapsuleRegistry, LeaseLostError, TransactionInProgressError
from support.events import until
from support.factories import make_manifest

pytestmark = pytest.mark.anyio

ONE, TWO = UUID(int=1), UUID(int=2)
SHORT = timedelta(milliseconds=300)
#: Long enough for a busy machine to renew it in time.
KEPT = timedelta(seconds=2)


async def outlived(registry: AsyncCapsuleRegistry, ttl: timedelta) -> None:
    """Wait until the only lease is to end later than it would have if it were not renewed."""
    (first,) = await registry.leases.list()
    async with asyncio.timeout(20):
        while (await registry.leases.list())[0].expires_at <= first.expires_at + ttl:
            await asyncio.sleep(0.05)


async def test_a_lease_is_renewed_until_it_is_closed(opened: AsyncCapsuleRegistry) -> None:
    """Longer than its ttl; then its UUIDs are gone."""
    async with await opened.leases.open("worker", KEPT) as lease:
        await lease.register_uuid(ONE, "alpha")
        await opened.register_uuid(TWO, "alpha", lease=lease)
        await outlived(opened, KEPT)
        assert not lease.lost
        assert [lease.id] == [one.id for one in await opened.leases.list()]
        assert "alpha" == await opened.find_by_uuid(TWO)

    assert lease.lost
    assert [] == await opened.leases.list()
    assert None is await opened.find_by_uuid(ONE)


async def test_a_lease_that_nobody_keeps_runs_out(opened: AsyncCapsuleRegistry) -> None:
    """And so does one that is not renewed: it is lost to its holder."""
    await opened.leases.open("forgotten", SHORT)
    kept = await opened.leases.open("not renewed", SHORT, renew=False)
    gc.collect()
    await until(lambda: kept.lost)

    with pytest.raises(LeaseLostError):
        await kept.register_uuid(ONE, "alpha")
    with pytest.raises(LeaseLostError):
        await kept.renew()
    async with asyncio.timeout(20):
        while await opened.leases.list():
            await asyncio.sleep(0.02)


async def test_a_lease_that_cannot_be_closed_here_is_still_renewed(
    opened: AsyncCapsuleRegistry,
) -> None:
    """Inside a transaction of its registry, which refuses the task."""
    lease = await opened.leases.open("worker", KEPT)
    async with opened.transaction():
        with pytest.raises(TransactionInProgressError):
            await lease.close()
    await outlived(opened, KEPT)

    assert not lease.lost
    await lease.close()


async def test_renewal_does_not_wait_for_busy_threads(opened: AsyncCapsuleRegistry) -> None:
    """Though every thread that writes waits for a transaction."""
    lease = await opened.leases.open("worker", timedelta(seconds=1))
    writes = [
        asyncio.create_task(opened.register_uuid(UUID(int=number), "alpha"))
        for number in range(1, 200)
    ]
    await asyncio.gather(*writes, lease.renew())

    assert not lease.lost
    await lease.close()


async def test_waiting_for_capsules_ends_with_the_last(opened: AsyncCapsuleRegistry) -> None:
    """In the order asked for, whichever each became first."""
    for name in ("alpha", "beta"):
        await opened.register(make_manifest(name))
        await opened.set_state(name, "loading")
    waiting = asyncio.create_task(
        opened.wait_ready(["beta", "alpha", "beta"], timedelta(seconds=20))
    )
    await asyncio.sleep(0.05)
    await opened.set_state("alpha", "ready")
    await opened.set_state("alpha", "failed")
    await opened.set_state("beta", "failed")

    assert [("beta", "crashed"), ("alpha", "ready")] == [*(await waiting).items()]
    some = await opened.wait_ready(["alpha", "gamma"], timedelta(milliseconds=50))
    assert {"alpha": "crashed", "gamma": "timeout"} == some
