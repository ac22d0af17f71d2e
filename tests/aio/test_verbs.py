"""The registry for asyncio has the verbs of the plain one, and its answers."""

from __future__ import annotations

import ast
import asyncio
import inspect
import textwrap
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    AsyncActing,
    AsyncCapsuleRegistry,
    CapsuleAlreadyRegisteredError,
    CapsuleRegistry,
    History,
    InvalidDatabaseError,
    InvalidUuidError,
    Leases,
    OpenLease,
    Past,
    RegistryClosedError,
    Replica,
    Routes,
    Snapshot,
    Transaction,
    Watch,
)
from capsule_registry.aio.coroutines import _LONG, verb_names
from capsule_registry.aio.history import AsyncHistory, AsyncWatch
from capsule_registry.aio.leases import AsyncLeases, AsyncOpenLease
from capsule_registry.aio.registry import AsyncPast, AsyncReplica
from capsule_registry.aio.transaction import AsyncSnapshot, AsyncTransaction
from capsule_registry.aio.verbs import AsyncRoutes
from capsule_registry.aio.workers import Kind
from capsule_registry.api.reads import Reads
from capsule_registry.api.writes import Writes
from capsule_registry.lookups import file_lookups
from support.batches import counted_commits
from support.events import SECONDS, ticks
from support.factories import make_manifest
from support.stubs import FILE, stub

pytestmark = pytest.mark.anyio

ONE = UUID(int=1)
TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}
#: Verbs of writers that read, or that write much.
_NOT_SHORT = {*verb_names(Reads), *_LONG, "compare", "runtime_version"}
#: What has no counterpart, since it is for the machinery, or for a host's own plain transaction.
WITHOUT = {
    CapsuleRegistry: {"joining"},
    Transaction: {"abandon", "end"},
    Snapshot: {"end"},
    Past: {"of"},
    Replica: {"revision", "wait"},
    Leases: {"reap_by_itself", "register_uuid"},
    OpenLease: {"note_lost", "reap_beside"},
    Watch: {"poll"},
}


@pytest.mark.parametrize(
    ("plain", "own"),
    [
        (CapsuleRegistry, AsyncCapsuleRegistry),
        (Transaction, AsyncTransaction),
        (Snapshot, AsyncSnapshot),
        (Past, AsyncPast),
        (Replica, AsyncReplica),
        (Routes, AsyncRoutes),
        (History, AsyncHistory),
        (Leases, AsyncLeases),
        (OpenLease, AsyncOpenLease),
        (Watch, AsyncWatch),
    ],
)
def test_every_verb_has_its_counterpart(plain: type, own: type) -> None:
    """With the parameters of the plain one."""
    wanted = {*verb_names(plain)} - WITHOUT.get(plain, set())

    assert set() == wanted - {*verb_names(own)}
    for name in wanted:
        verb = getattr(own, name)
        if not isinstance(verb, property) and name not in {"keep", "stop"}:
            expected = [*inspect.signature(getattr(plain, name)).parameters]
            assert expected == [*inspect.signature(verb).parameters], name


def test_the_stub_is_that_of_the_plain_classes() -> None:
    """It is what `python tests/support/stubs.py` writes."""
    assert stub() == FILE.read_text()


async def test_answers_are_those_of_the_plain_registry(
    url: str, opened: AsyncCapsuleRegistry
) -> None:
    """Whatever is asked, of now and of then."""
    manifest = make_manifest("alpha", tool=[TOOL])
    made = await opened.register(manifest, uuids=[ONE])
    await opened.register(make_manifest("beta"))

    with CapsuleRegistry.open(url) as plain:
        expected: list[Any] = [
            [*plain.values()],
            plain.list(),
            plain.tools(),
            plain.uuids("alpha"),
            plain.history.list(),
            plain.history.revision,
            plain.routes.list(),
            [*plain.export_lines()],
            plain.at(revision=2).list(),
        ]
    values = [one async for one in opened.values()]
    found = [
        values,
        await opened.list(),
        await opened.tools(),
        await opened.uuids("alpha"),
        await opened.history.list(),
        await opened.history.revision,
        await opened.routes.list(),
        [one async for one in opened.export_lines()],
        await (await opened.at(revision=2)).list(),
    ]

    assert expected == found
    assert [made.id, "beta"] == [one.id for one in values]


async def test_errors_are_those_of_the_plain_registry(opened: AsyncCapsuleRegistry) -> None:
    """Of an argument, of the state, of the URL."""
    await opened.register(make_manifest("alpha"))

    with pytest.raises(CapsuleAlreadyRegisteredError):
        await opened.register(make_manifest("alpha"))
    with pytest.raises(InvalidUuidError):
        await opened.find_by_uuid("no uuid")
    with pytest.raises(InvalidDatabaseError):
        await AsyncCapsuleRegistry.open("nothing://here")
    assert ["alpha"] == await opened.list()


async def test_lookups_in_memory_stay_on_the_loops_thread(
    sqlite: object, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are current: a write of another registry is seen by the next lookup."""
    monkeypatch.setattr(file_lookups, "TRUSTED_SECONDS", 60)  # Else the file is looked at again.
    async with await AsyncCapsuleRegistry.open(url) as opened:
        grants = {"capabilities": {"ipc_publish": ["a.b"]}}
        await opened.register(make_manifest("alpha", **grants), uuids=[ONE])
        question = (ONE, "ipc_publish", "a.b")

        async def lookups() -> list[Any]:
            return [
                await opened.find_by_uuid(ONE),
                await opened.get("alpha") is not None,
                await opened.is_allowed(*question),
                (await opened.check(*question)).allowed,
                [one.allowed for one in await opened.check_many([question])],
            ]

        await opened.set_state("alpha", "loading")
        assert ["alpha", True, False, False, [False]] == await lookups()
        await opened.set_state("alpha", "ready")
        expected = ["alpha", True, True, True, [True]]
        assert expected == await lookups()
        workers, opened._workers = opened._workers, None  # type: ignore[assignment]
        assert expected == await lookups()
        opened._workers = workers
        with CapsuleRegistry.open(url) as other:
            other.unregister("alpha")
        assert [None, False, False, False, [False]] == await lookups()


async def test_a_check_that_waits_too_long_for_a_thread_denies(
    opened: AsyncCapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its timeout counts from the call."""
    capabilities = {"capabilities": {"ipc_publish": ["a.b"]}}
    await opened.register(make_manifest("alpha", **capabilities), uuids=[ONE])
    question = (ONE, "ipc_publish", "a.b")
    free = threading.Event()

    assert (await opened.check(*question)).allowed
    await opened.register_uuid(uuid4(), "alpha")  # Nothing in memory is current any more.
    waiting = [asyncio.create_task(opened._workers.run(Kind.READ, free.wait, 20)) for _ in range(8)]
    await asyncio.sleep(0)
    asked = asyncio.create_task(opened.check(*question, timeout=timedelta(milliseconds=50)))
    await asyncio.sleep(0.1)
    free.set()

    assert "too_late" == (await asked).why
    await asyncio.gather(*waiting)
    assert (await opened.check(*question)).allowed


async def test_the_loop_goes_on_while_calls_wait(opened: AsyncCapsuleRegistry) -> None:
    """However many: what they wait for ends only after the loop has gone on for a while."""
    entered, gone_on = threading.Event(), threading.Event()

    def hold() -> None:
        with opened._plain.transaction():
            entered.set()
            assert gone_on.wait(20)

    holding = asyncio.create_task(asyncio.to_thread(hold))
    await asyncio.to_thread(entered.wait)
    writes = [
        asyncio.create_task(opened.register_uuid(UUID(int=number), "alpha"))
        for number in range(200)
    ]
    await ticks(1000)
    assert not any(one.done() for one in writes)
    gone_on.set()
    await asyncio.gather(holding, *writes)

    assert 200 == len(await opened.uuids())


async def test_concurrent_writes_share_commits(opened: AsyncCapsuleRegistry) -> None:
    """Each is a revision of its own."""
    with counted_commits(opened._plain) as commits:
        await asyncio.gather(*(opened.register_uuid(uuid4(), "alpha") for _ in range(100)))

    assert 101 == await opened.history.revision
    assert len(commits) < 50


async def test_errors_in_a_batch_reach_their_own_tasks(opened: AsyncCapsuleRegistry) -> None:
    """Of an argument, and of the state; the others are written, each with its own result."""
    await opened.register(make_manifest("alpha"))
    writes = [
        opened.register_uuid(ONE, "alpha"),
        opened.register(make_manifest("alpha")),
        opened.unregister_uuid(ONE),
        opened.register_uuid("no uuid", "alpha"),
        opened.unregister_uuid(ONE),
        opened.register(make_manifest("beta")),
    ]
    found = await asyncio.gather(*writes, return_exceptions=True)

    kinds = [type(one) if isinstance(one, Exception) else one for one in found]
    expected = [None, CapsuleAlreadyRegisteredError, True, InvalidUuidError, False]
    assert expected == kinds[:5]
    assert ["alpha", "beta"] == await opened.list()


class Exhausted:
    """A number that cannot be told, by an error that no future can hold."""

    def __index__(self) -> int:
        raise StopIteration


async def test_no_error_of_one_call_keeps_the_others_waiting(opened: AsyncCapsuleRegistry) -> None:
    """Not even one that means something else to a coroutine."""
    bad: Any = Exhausted()
    calls = [
        opened.register_uuid(uuid4(), "alpha"),
        opened.register_uuid(uuid4(), "alpha", expected_generation=bad),
        opened.register_uuid(uuid4(), "alpha"),
        opened.list(limit=bad),
    ]
    async with asyncio.timeout(SECONDS):
        found = await asyncio.gather(*calls, return_exceptions=True)

    assert [None, RuntimeError, None] == [one and type(one) for one in found[:3]]
    assert isinstance(found[3], Exception)
    assert 2 == len(await opened.uuids())


@pytest.mark.parametrize("name", [name for name in verb_names(Writes) if name not in _NOT_SHORT])
def test_each_short_write_ends_by_writing(name: str) -> None:
    """So a `Recorder`, which does not wait for the result, misses nothing."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(Writes, name)))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    last = tree.body[-1]
    assert isinstance(last, (ast.Return, ast.Expr))
    assert isinstance(last.value, ast.Call)
    assert "self._write" == ast.unparse(last.value.func)


async def test_nothing_can_be_asked_once_it_is_closed(url: str) -> None:
    """Also if it is closed twice; what runs meanwhile comes to its end."""
    opened = await AsyncCapsuleRegistry.open(url)
    writing = asyncio.create_task(opened.register(make_manifest("alpha")))
    await asyncio.sleep(0)
    await asyncio.gather(opened.close(), opened.close())

    assert "alpha" == (await writing).id
    for call in (opened.list, opened.is_empty, opened.drain):
        with pytest.raises(RegistryClosedError):
            await call()


async def test_an_opening_that_is_cancelled_leaves_nothing_open(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is closed once it is open."""
    closed = threading.Event()
    close = CapsuleRegistry.close

    def close_and_tell(registry: CapsuleRegistry) -> None:
        close(registry)
        closed.set()

    monkeypatch.setattr(CapsuleRegistry, "close", close_and_tell)
    opening = asyncio.create_task(AsyncCapsuleRegistry.open(url))
    await asyncio.sleep(0)
    opening.cancel()

    with pytest.raises(asyncio.CancelledError):
        await opening
    assert await asyncio.to_thread(closed.wait, 20)


async def _write_ask_and_follow(url: str) -> list[Any]:
    async with await AsyncCapsuleRegistry.open(url) as opened:
        async with opened.transaction() as transaction:
            await transaction.register(make_manifest("alpha"), uuids=[ONE])
        async with await opened.leases.open("worker") as lease:
            await lease.register_uuid(UUID(int=2), "alpha")
        revision = await anext(opened.history.watch(after=1))
        return [revision.revision, await opened.find_by_uuid(ONE)]


def test_it_runs_on_other_event_loops(url: str) -> None:
    """On uvloop, if that is installed."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop, debug=True) as runner:
        assert [2, "alpha"] == runner.run(_write_ask_and_follow(url))


async def test_writes_for_others_share_commits_and_are_recorded_as_theirs(
    opened: AsyncCapsuleRegistry,
) -> None:
    """Many tasks that each act for another one fill batches; each knows its own revision."""
    names = [f"c{number}" for number in range(20)]
    acting = {name: AsyncActing(opened, f"actor of {name}", reason="asked") for name in names}

    with counted_commits(opened._plain) as commits:
        await asyncio.gather(*(one.register(make_manifest(name)) for name, one in acting.items()))

    assert len(commits) < 20
    by_revision = {one.revision: one for one in await opened.history.list()}
    for name, one in acting.items():
        made = by_revision[one.revision or 0]
        assert (f"actor of {name}", [name]) == (made.actor, [e.subject for e in made.events])


async def test_a_lease_for_another_is_granted(opened: AsyncCapsuleRegistry) -> None:
    """It is the actor's, and whoever has its id renews and closes it."""
    leases = AsyncActing(opened, "anna").leases

    lease = await leases.grant("session", timedelta(seconds=30))
    renewed = await opened.leases.renew(lease.id)

    assert ("anna", lease.id) == (lease.actor, renewed.id)
    await leases.close(lease.id)
    assert [] == await opened.leases.list()


async def test_keywords_may_be_called_as_anything(opened: AsyncCapsuleRegistry) -> None:
    """None of a verb's is taken for one of the machinery's."""
    assert [] == await opened.commands(kind="slash")
