"""Transactions and snapshots of tasks, some of which are cancelled."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    AsyncCapsuleRegistry,
    RegistryClosedError,
    TransactionDoomedError,
    TransactionInProgressError,
)
from support.events import cancelled_everywhere, until
from support.factories import make_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from capsule_registry import Transaction

pytestmark = pytest.mark.anyio

ONE, TWO = UUID(int=1), UUID(int=2)


async def test_a_transaction_is_one_revision(opened: AsyncCapsuleRegistry) -> None:
    """Its own reads see it; others once it is over."""
    async with opened.transaction(reason="moving in", actor="somebody") as transaction:
        await transaction.register(make_manifest("alpha"), uuids=[ONE])
        await transaction.register_uuid(TWO, "alpha")
        assert ["alpha"] == await transaction.list()
        assert ["alpha"] == [one.id async for one in transaction.values()]

    (_, revision) = await opened.history.list()
    assert ("moving in", "somebody") == (revision.reason, revision.actor)
    assert "alpha" == await opened.find_by_uuid(TWO)
    with pytest.raises(RegistryClosedError):
        await transaction.list()


async def test_an_error_undoes_the_transaction(opened: AsyncCapsuleRegistry) -> None:
    """Whether it leaves the block, or was swallowed inside."""
    with pytest.raises(ZeroDivisionError):
        async with opened.transaction() as transaction:
            await transaction.register(make_manifest("alpha"))
            raise ZeroDivisionError
    with pytest.raises(TransactionDoomedError):
        async with opened.transaction() as transaction:
            await transaction.register(make_manifest("alpha"))
            with pytest.raises(LookupError):
                await transaction.unregister("beta")

    assert [] == await opened.list()
    assert 1 == await opened.history.revision


async def test_the_registry_is_refused_to_the_task_that_is_inside(
    opened: AsyncCapsuleRegistry,
) -> None:
    """And to those that it creates there, which it might wait for; others go on."""
    elsewhere = asyncio.Event()

    async def other() -> list[str]:
        await elsewhere.wait()
        return [*await opened.list()]

    reading = asyncio.create_task(other())
    async with opened.transaction() as transaction:
        await transaction.register(make_manifest("alpha"))
        for call in (opened.list, opened.drain):
            with pytest.raises(TransactionInProgressError):
                await call()
        with pytest.raises(TransactionInProgressError):
            await opened.find_by_uuid(ONE)
        with pytest.raises(TransactionInProgressError):
            async with opened.transaction():
                pass
        with pytest.raises(TransactionInProgressError):
            await asyncio.create_task(opened.list())
        elsewhere.set()
        assert [] == await reading
    assert ["alpha"] == await opened.list()


async def test_each_registry_is_refused_inside_its_own_transaction(
    tmp_path: Path, opened: AsyncCapsuleRegistry
) -> None:
    """Also if a transaction of another registry was opened since, in whichever order they end."""
    async with await AsyncCapsuleRegistry.open(f"sqlite:///{tmp_path}/other.db") as other:
        outer, inner = opened.transaction(), other.transaction()
        await outer.__aenter__()
        await inner.__aenter__()
        for registry in (opened, other):
            with pytest.raises(TransactionInProgressError):
                await registry.list()
            with pytest.raises(TransactionInProgressError):
                await registry.check(ONE, "ipc_publish", "a.b")
        await outer.__aexit__(None, None, None)
        assert [] == await opened.list()
        with pytest.raises(TransactionInProgressError):
            await other.list()
        await inner.__aexit__(None, None, None)
        assert [] == await other.list()


async def test_transactions_of_many_tasks_do_not_mix(opened: AsyncCapsuleRegistry) -> None:
    """Each is one revision of what its own task did."""

    async def move(number: int) -> None:
        async with opened.transaction(reason=str(number)) as transaction:
            for place in range(3):
                await transaction.register_uuid(UUID(int=10 * number + place), f"of-{number}")

    await asyncio.gather(*map(move, range(10)))

    revisions = await opened.history.list(after=1)
    subjects = {one.reason: [event.subject for event in one.events][1:] for one in revisions}
    assert {
        str(number): [str(UUID(int=10 * number + place)) for place in range(3)]
        for number in range(10)
    } == subjects


async def test_a_cancelled_transaction_is_whole_or_absent(opened: AsyncCapsuleRegistry) -> None:
    """Wherever it is cancelled; the next one goes on at once, and no thread is left."""
    made = 0

    async def register_two() -> None:
        async with opened.transaction() as transaction:
            await transaction.register_uuid(uuid4(), f"first-{made}")
            await transaction.register_uuid(uuid4(), f"second-{made}")

    outcomes = []
    async for was_cancelled in cancelled_everywhere(register_two):
        outcomes.append(was_cancelled)
        async with opened.transaction() as transaction:  # Waits for what still takes its course.
            filed = {one.capsule_id for one in await transaction.uuids()}
        both = {f"first-{made}", f"second-{made}"}
        assert both & filed in (both, set())
        assert was_cancelled or both <= filed
        made += 1

    assert {True, False} == {*outcomes}
    assert outcomes.index(False) == len(outcomes) - 1 >= 4
    await until(lambda: not [one for one in threading.enumerate() if "lane" in one.name])


async def test_a_cancelled_write_is_made_or_not(opened: AsyncCapsuleRegistry) -> None:
    """Wherever it is cancelled, and nothing of it stays in the line."""
    number = 0

    async def write() -> None:
        await opened.register(make_manifest(f"capsule-{number}"), uuids=[uuid4()])

    async for was_cancelled in cancelled_everywhere(write):
        await opened.register_uuid(uuid4(), "after")  # Behind it in the line, if it is there.
        filed = {one.capsule_id for one in await opened.uuids()} - {"after"}
        assert filed == {*await opened.list()}
        assert was_cancelled or f"capsule-{number}" in filed
        number += 1
    assert number > 1


async def test_a_cancelled_snapshot_gives_its_connection_back(opened: AsyncCapsuleRegistry) -> None:
    """Wherever it is cancelled."""

    async def look() -> None:
        async with opened.snapshot() as view:
            await view.list()
            await view.tools()

    async for _ in cancelled_everywhere(look):
        database = opened._plain._database
        pools = [database.engine.pool, database.reader.pool]
        await until(lambda: 0 == sum(one.checkedout() for one in pools))  # type: ignore[attr-defined]  # noqa: B023


async def test_work_is_run_as_a_whole(opened: AsyncCapsuleRegistry) -> None:
    """On a thread, with a plain transaction."""

    def work(transaction: Transaction) -> str:
        transaction.register(make_manifest("alpha"))
        return threading.current_thread().name

    assert "write" in await opened.run(work, reason="for a reason")
    assert "for a reason" == (await opened.history.list())[-1].reason


async def test_a_snapshot_sees_one_moment(opened: AsyncCapsuleRegistry) -> None:
    """Others write meanwhile, and a watch from it misses nothing."""
    await opened.register(make_manifest("alpha"))
    changed = asyncio.Event()

    async def change() -> None:
        await changed.wait()
        await opened.register(make_manifest("beta"))

    changing = asyncio.create_task(change())
    async with opened.snapshot() as view:
        changed.set()
        await changing
        assert ["alpha"] == await view.list()
        assert 2 == view.revision
        assert ["alpha", "beta"] == await opened.list()  # Which is not refused meanwhile.
    assert 3 == (await anext(opened.history.watch(after=view.revision))).revision
