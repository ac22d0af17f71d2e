"""Units of several threads in one transaction: each is what it would be alone."""

from __future__ import annotations

import json
import logging
import os
import threading
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleNotFoundError,
    CapsuleRegistry,
    CapsuleRegistryError,
    ForkedTransactionError,
    IncarnationChangedError,
    LeaseLostError,
    OutcomeUnknownError,
    RegistryUnavailableError,
)
from capsule_registry.unit_of_work import batch as batches
from capsule_registry.unit_of_work import head
from capsule_registry.unit_of_work import line as lines
from capsule_registry.unit_of_work.line import Line
from capsule_registry.unit_of_work.requests import Course, Request
from support.batches import Caller, counted_commits, in_line, in_one_batch
from support.factories import TELEGRAM, make_manifest, make_uplink
from support.injection import Injection, LostCommit
from support.lease_steps import TTL, wait_until
from support.processes import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capsule_registry import Transaction
    from capsule_registry.unit_of_work.unit import Unit
    from conftest import Clock
    from support.backends import Backend

    #: A verb with its arguments, on a registry.
    Operation = Callable[[CapsuleRegistry], object]

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def _time_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, too, a batch is not cut before all have had their turn."""
    monkeypatch.setattr(batches, "MOST_SECONDS", 60)


def actions(registry: CapsuleRegistry, after: int) -> list[list[str]]:
    """Return the actions of each revision after *after*."""
    found = registry.history.list(after=after)
    return [[event.action for event in revision.events] for revision in found]


def registering(registry: CapsuleRegistry, name: str, actor: str) -> Callable[[], object]:
    """Return a call that registers a capsule with an uplink, as that actor."""

    def work(transaction: Transaction) -> object:
        return transaction.register(make_manifest(name, uplink=[TELEGRAM]), uuids=[uuid4()])

    return lambda: registry.run(work, actor=actor, reason=f"for {name}", together=True)


def test_each_unit_is_a_revision_with_its_own_actor_and_reason(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """One COMMIT, revisions without gaps in the order of the line, each hashed and identified."""
    names = ["alpha", "beta", "gamma"]
    with counted_commits(registry) as commits:
        found = in_one_batch(registry, *(registering(registry, one, f"by-{one}") for one in names))

    assert [2, 3, 4] == [record.generation for record in found]
    assert 2 == len(commits)  # That of the turn, in which nothing was written, and theirs.
    revisions = registry.history.list(after=1)
    assert [2, 3, 4] == [one.revision for one in revisions]
    assert [f"by-{one}" for one in names] == [one.actor for one in revisions]
    assert [f"for {one}" for one in names] == [one.reason for one in revisions]
    assert [3] * 3 == [len(one.events) for one in revisions]
    assert [(3,)] == backend.rows(
        url, "SELECT count(DISTINCT request_id) FROM revisions WHERE revision > 1"
    )
    assert registry.history.verify().ok
    assert names == registry.list()


def test_a_unit_reads_what_those_before_it_wrote(registry: CapsuleRegistry) -> None:
    """Whatever a unit asks, it sees the writes of the earlier units of the batch."""
    found = in_one_batch(
        registry,
        lambda: registry.register(make_manifest(), uuids=[ONE]),
        lambda: registry.register(make_manifest()),
        lambda: registry.set_state("alpha", "failed", "no"),
        lambda: registry.register_uuid(ONE, "beta"),
        lambda: registry.unregister("alpha"),
        lambda: registry.register(make_manifest(), uuids=[ONE]),
        lambda: registry.unregister_uuid(ONE),
    )

    assert "alpha" == found[0].id
    assert isinstance(found[1], CapsuleAlreadyRegisteredError)
    assert "failed" == found[2].state
    assert "no" == found[4].state_reason
    assert 6 == found[5].generation
    assert found[6] is True
    assert [
        ["capsule.registered", "uuid.registered"],
        ["capsule.state_changed"],
        ["capsule.reserved", "uuid.unregistered", "uuid.registered"],
        ["capsule.unregistered"],
        ["capsule.registered", "uuid.unregistered", "uuid.registered", "capsule.released"],
        ["uuid.unregistered"],
    ] == actions(registry, 1)
    assert registry.history.verify().ok


def test_an_error_of_one_unit_is_its_own(registry: CapsuleRegistry) -> None:
    """What it gathered is dropped, its objects too; those before and after it commit at once."""

    def fail(transaction: Transaction) -> None:
        transaction.register(make_manifest("third"))
        raise CapsuleNotFoundError("fourth")

    with counted_commits(registry) as commits:
        found = in_one_batch(
            registry,
            registering(registry, "first", "a"),
            lambda: registry.register_uuid(ONE, "first"),
            lambda: registry.run(fail, together=True),
            lambda: registry.register(make_manifest("first")),
            registering(registry, "fifth", "b"),
        )

    assert 2 == len(commits)
    assert [2, None, 4] == [found[0].generation, found[1], found[4].generation]
    assert isinstance(found[2], CapsuleNotFoundError)
    assert isinstance(found[3], CapsuleAlreadyRegisteredError)
    assert ["first", "fifth"] == registry.list() == [*registry._objects._objects]
    registry.register(make_manifest("third"))
    assert registry.history.verify().ok


def test_after_an_error_of_a_unit_that_has_written_each_is_run_alone(
    registry: CapsuleRegistry,
) -> None:
    """Nothing of the transaction stays, and every other caller still gets its result."""

    def fail(transaction: Transaction) -> None:
        transaction.register(make_manifest("third"), uuids=[ONE])
        assert ["first", "second", "third"] == transaction.list()  # It is written to be read.
        raise ZeroDivisionError

    with counted_commits(registry) as commits:
        found = in_one_batch(
            registry,
            registering(registry, "first", "a"),
            registering(registry, "second", "b"),
            lambda: registry.run(fail, together=True),
            registering(registry, "fourth", "c"),
        )

    assert isinstance(found[2], ZeroDivisionError)
    assert ["first", "second", "fourth"] == registry.list()
    assert [2, 3, 4] == [found[place].generation for place in (0, 1, 3)]
    assert 1 + 3 == len(commits)
    assert registry.find_by_uuid(ONE) is None
    assert registry.history.verify().ok


def batch_of_five(registry: CapsuleRegistry, round_number: int) -> list[Any]:
    """Make a batch of five units, of which the third fails, and return the outcomes."""

    def name(number: int) -> str:
        return f"c{round_number}-{number}"

    return in_one_batch(
        registry,
        lambda: registry.register(make_manifest(name(1), uplink=[TELEGRAM]), uuids=[uuid4()]),
        lambda: registry.register_uuid(UUID(int=round_number), name(1)),
        lambda: registry.unregister("not-there"),
        lambda: registry.set_state(name(1), "failed"),
        lambda: registry.register(make_manifest(name(5)), uuids=[uuid4()]),
    )


@pytest.mark.parametrize("kind", ["passing", "full"])
def test_a_failure_at_any_statement_leaves_all_whole(
    registry: CapsuleRegistry,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    url: str,
) -> None:
    """
    A passing one is outlasted by all; another one reaches those alone whose own run meets it.

    Five units, of which the third fails by itself: whatever is refused, COMMIT included, what was
    acknowledged is there once, and nothing else.
    """
    batch_of_five(registry, 1)
    injection = Injection(registry, monkeypatch)
    injection.spared.append(threading.main_thread())  # It only holds the turn.
    batch_of_five(registry, 2)
    steps = injection.count
    code = getattr(backend, kind)[0]
    for at in range(steps):
        injection.arm(backend.error(code), at)
        found = batch_of_five(registry, at + 3)
        assert injection.is_spent
        own = found.pop(2)
        assert isinstance(own, CapsuleNotFoundError) or kind == "full"
        failed = [one for one in found if isinstance(one, BaseException)]
        assert not failed or kind == "full"
        made = {*registry.list()}
        for place, number in ((0, 1), (3, 5)):
            is_there = f"c{at + 3}-{number}" in made
            assert is_there != isinstance(found[place], BaseException)
        assert (registry.find_by_uuid(UUID(int=at + 3)) is None) == (found[1] is not None)

    revisions = backend.rows(url, "SELECT revision FROM revisions ORDER BY revision")
    assert [number for (number,) in revisions] == [*range(1, len(revisions) + 1)]
    assert registry.history.verify().ok


@pytest.fixture
def lost_commit(
    registry: CapsuleRegistry, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> LostCommit:
    """The connection breaks at the COMMIT of a batch."""
    return LostCommit(registry, backend, monkeypatch)


@pytest.mark.parametrize("took_place", [True, False])
def test_a_lost_commit_is_settled_for_all(
    registry: CapsuleRegistry, lost_commit: LostCommit, *, took_place: bool
) -> None:
    """It is looked up once, and all of the batch took place, or is done once."""
    lost_commit.took_place = took_place
    found = in_one_batch(
        registry,
        registering(registry, "alpha", "a"),
        lambda: registry.unregister("not-there"),
        registering(registry, "beta", "b"),
        lambda: registry.set_state("beta", "ready"),  # It changes nothing.
    )

    assert lost_commit.is_lost
    assert [2, 3, 3] == [found[place].generation for place in (0, 2, 3)]
    assert isinstance(found[1], CapsuleNotFoundError)
    assert ["alpha", "beta"] == registry.list()
    assert registry.history.verify().ok


def test_a_batch_is_settled_by_its_last_revision(
    registry: CapsuleRegistry, lost_commit: LostCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: by the first one alone, a batch whose end is missing would be acknowledged."""
    asked = []
    is_committed = head.is_committed

    def note(unit: Unit, earlier: Unit, written: str) -> bool:
        asked.append(earlier.revision)
        return is_committed(unit, earlier, written)

    monkeypatch.setattr(batches, "is_committed", note)
    in_one_batch(registry, *(registering(registry, name, "a") for name in ("x", "y", "z")))

    assert lost_commit.is_lost
    assert [4] == asked


def test_an_unknown_outcome_reaches_every_caller(
    registry: CapsuleRegistry, lost_commit: LostCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gets an error of its own; what failed by itself says so."""
    monkeypatch.setattr("capsule_registry.database.retries.RETRY_SECONDS", 0.2)
    lost_commit.is_away = True
    found = in_one_batch(registry, *(registering(registry, name, "a") for name in ("x", "y")))

    assert [OutcomeUnknownError] * 2 == [type(one) for one in found]
    assert found[0] is not found[1]
    assert {} == registry._objects._objects
    assert ["x", "y"] == registry.list()  # It took place, which nobody could tell.


def test_a_lease_that_is_lost_is_the_error_of_its_unit(
    registry: CapsuleRegistry, clock: Clock
) -> None:
    """All leases are confirmed before the COMMIT: the others' units are done all the same."""
    lost = registry.leases.open("lost", TTL, renew=False)

    def outlast(transaction: Transaction) -> None:
        transaction.register(make_manifest("beta"))
        clock.step(TTL)

    with counted_commits(registry) as commits:
        found = in_one_batch(
            registry,
            lambda: lost.register_uuid(ONE, "alpha"),
            lambda: registry.run(outlast, together=True),
            lambda: registry.register_uuid(TWO, "gamma"),
        )

    assert isinstance(found[0], LeaseLostError)
    assert [None, None] == found[1:]
    assert ["beta"] == registry.list()
    assert [None, "gamma"] == [registry.find_by_uuid(uuid) for uuid in (ONE, TWO)]
    assert 1 + 2 == len(commits)


def test_a_callers_own_code_is_run_alone_and_on_its_thread(registry: CapsuleRegistry) -> None:
    """`run`, unless it says otherwise, and what may take long: bulk."""
    threads = []

    def work(transaction: Transaction) -> None:
        threads.append(threading.current_thread())
        transaction.register(make_manifest("mine"))

    callers = [
        Caller(lambda: registry.run(work)),
        Caller(lambda: registry.register_many([make_manifest("many")])),
    ]
    with counted_commits(registry) as commits:
        with in_line(registry, registering(registry, "a", "x"), registering(registry, "b", "x")):
            for caller in callers:
                caller.start()
        for caller in callers:
            caller.end()
        wait_until(lambda: 4 == len(registry))

    assert [callers[0]] == threads
    assert 1 + 1 + 2 == len(commits)


def test_the_main_thread_never_stands_in_line(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler may raise there anywhere; so it neither leads nor follows."""
    monkeypatch.setattr(Line, "reach_front", None)
    registry.register(make_manifest())
    other = Caller(lambda: registry.register(make_manifest("beta")))
    other.start()

    assert isinstance(other.end(), TypeError)
    assert ["alpha"] == registry.list()


def test_what_a_unit_did_is_logged_on_its_callers_thread(
    registry: CapsuleRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Once each, after the COMMIT."""
    with caplog.at_level(logging.INFO, "capsule_registry"):
        with in_line(registry, *(registering(registry, one, "a") for one in "xyz")) as callers:
            pass
        for caller in callers:
            caller.end()

    logged = [(record.threadName, record.capsule_id) for record in caplog.records]  # type: ignore[attr-defined]
    names = [caller.name for caller in callers]
    assert sorted(zip(names, "xyz", strict=True)) == sorted(logged)


def test_no_revision_is_dated_before_its_caller_called(
    registry: CapsuleRegistry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who come while the leader waits for the head are dated after that."""
    take = Line.take
    late = Caller(lambda: registry.register_uuid(TWO, "late"))

    def take_late(line: Line, leader: Request[Any], course: Course) -> Sequence[Any]:
        monkeypatch.setattr(Line, "take", take)
        clock.step(timedelta(seconds=1))
        late.start()
        wait_until(lambda: 2 == len(line))
        return take(line, leader, course)

    monkeypatch.setattr(Line, "take", take_late)
    in_one_batch(registry, lambda: registry.register_uuid(ONE, "early"))
    assert late.end() is None

    assert [clock.now] * 2 == [one.committed_at for one in registry.history.list(after=1)]


@pytest.mark.parametrize(("most", "seconds", "batch_count"), [(64, 60, 1), (2, 60, 3), (64, -1, 5)])
def test_a_batch_is_limited(
    registry: CapsuleRegistry,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    seconds: float,
    batch_count: int,
) -> None:
    """In number and in time; those left over come next, in their order."""
    monkeypatch.setattr(lines, "MOST", most)
    monkeypatch.setattr(batches, "MOST_SECONDS", seconds)
    names = ["a", "b", "c", "d", "e"]
    with counted_commits(registry) as commits:
        in_one_batch(registry, *(registering(registry, one, "x") for one in names))

    assert names == registry.list()
    assert 1 + batch_count == len(commits)
    assert 0 == len(registry._runner._line)


class Stop(BaseException):
    """What interrupts a thread."""


def test_a_caller_that_is_interrupted_leaves_the_line(registry: CapsuleRegistry) -> None:
    """Nothing was begun for it, so nothing is done; those behind it are served."""
    calls = [registering(registry, one, "x") for one in ("a", "b", "c")]
    with in_line(registry, *calls) as callers:
        for caller in callers[:2]:  # The one at the front, and one that follows.
            caller.interrupt(Stop)
            caller.join(10)
    found = [caller.end() for caller in callers]

    assert [Stop, Stop] == [type(one) for one in found[:2]]
    assert ["c"] == registry.list()


class Held:
    """A call that registers a capsule, once it is told to go on."""

    def __init__(self, registry: CapsuleRegistry, name: str) -> None:
        self.registry, self.name = registry, name
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> object:
        return self.registry.run(self._work, together=True)

    def _work(self, transaction: Transaction) -> None:
        self.begun.set()
        assert self.go_on.wait(10)
        transaction.register(make_manifest(self.name))

    def interrupt_second(self, *calls: Callable[[], object]) -> list[Any]:
        """Make *calls*, interrupt the second while this one runs, and return the outcomes."""
        with in_line(self.registry, *calls) as callers:
            pass
        assert self.begun.wait(10)
        callers[1].interrupt(Stop)
        callers[1].join(10)
        self.go_on.set()
        return [caller.end() for caller in callers]


def test_a_unit_that_was_begun_takes_its_course(registry: CapsuleRegistry) -> None:
    """Its caller is interrupted while another thread runs it: it is whole, or absent."""
    held = Held(registry, "b")
    found = held.interrupt_second(registering(registry, "a", "x"), held)

    assert isinstance(found[1], Stop)
    assert ["a", "b"] == registry.list()
    assert 0 == len(registry._runner._line)


@pytest.mark.parametrize("at", ["work", "commit"])
def test_who_follows_an_interrupted_leader_is_served(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Before the COMMIT nothing is there yet; after it each finds that its unit took place."""
    leader: list[Caller] = []

    def stop() -> None:
        if threading.current_thread() is leader[0] and not stopped:
            stopped.append(at)
            raise Stop

    stopped: list[str] = []

    def work(transaction: Transaction) -> object:
        if at == "work":
            stop()
        return transaction.register(make_manifest("b"))

    write = registry._database.write

    def write_and_stop(attempt: Callable[[Any], Any]) -> Any:
        result = write(attempt)
        if at == "commit":
            stop()
        return result

    monkeypatch.setattr(registry._database, "write", write_and_stop)
    with in_line(
        registry,
        registering(registry, "a", "x"),
        lambda: registry.run(work, together=True),
        registering(registry, "c", "x"),
    ) as callers:
        leader.append(callers[0])
    found = [caller.end() for caller in callers]

    assert [at] == stopped
    assert isinstance(found[0], Stop)
    expected = ["a", "b", "c"] if at == "commit" else ["b", "c"]
    assert expected == sorted(registry.list())
    assert sorted(one.generation for one in found[1:]) == ([3, 4] if at == "commit" else [2, 3])
    assert registry.history.verify().ok


def test_a_leader_that_vanishes_leaves_nobody_waiting(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if not one step of its end is run, the others look, and go on by themselves."""
    monkeypatch.setattr(lines, "_LOOK_SECONDS", 0.05)
    run, leave = batches.Batch.run, Line.leave
    vanished: list[object] = []

    def vanish(batch: batches.Batch, write: Any) -> None:
        if vanished:
            run(batch, write)
            return
        vanished.append(batch._leader)
        write(lambda _: batch._taken())
        batch._course.is_over = True  # The one step that is always run.
        raise Stop

    def not_left(line: Line, request: Any) -> None:
        if request not in vanished:
            leave(line, request)

    monkeypatch.setattr(batches.Batch, "run", vanish)
    monkeypatch.setattr(Line, "leave", not_left)
    found = in_one_batch(registry, *(registering(registry, one, "x") for one in ("a", "b", "c")))

    assert isinstance(found[0], Stop)
    assert ["b", "c"] == sorted(registry.list())


def test_who_is_gone_does_not_become_the_front(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller was interrupted while it was taken, and the batch was cut before it."""
    monkeypatch.setattr(batches, "MOST_SECONDS", -1)
    held = Held(registry, "a")
    found = held.interrupt_second(held, *(registering(registry, one, "x") for one in ("b", "c")))

    assert isinstance(found[1], Stop)
    assert ["a", "c"] == registry.list()


@pytest.mark.parametrize("reads", [False, True])
def test_a_unit_that_meets_a_failure_of_another_ones_rows_dooms_all(
    registry: CapsuleRegistry, backend: Backend, monkeypatch: pytest.MonkeyPatch, *, reads: bool
) -> None:
    """A read writes what others left waiting; if that fails, nobody is acknowledged for nothing."""
    injection = Injection(registry, monkeypatch)
    injection.spared.append(threading.main_thread())

    def look(transaction: Transaction) -> object:
        injection.arm(backend.error(backend.full[0]), 0)
        return transaction.uuids() if reads else transaction.find_by_uuid(TWO)

    found = in_one_batch(
        registry,
        lambda: registry.register_uuid(ONE, "alpha"),
        lambda: registry.run(look, together=True),
        lambda: registry.register_uuid(THREE, "alpha"),
    )

    filed = [one.uuid for one in registry.uuids()]
    acknowledged = [uuid for uuid, one in zip((ONE, TWO, THREE), found, strict=True) if one is None]
    assert isinstance(found[1], RegistryUnavailableError)
    assert [ONE, THREE] == acknowledged == filed
    assert registry.history.verify().ok


def test_an_error_after_a_lost_commit_runs_nothing_twice(
    registry: CapsuleRegistry, lost_commit: LostCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the lookup meets, each unit is looked up before it is run again."""
    is_committed = head.is_committed
    met: list[object] = []

    def fail_once(unit: Unit, earlier: Unit, written: str) -> bool:
        if not met:
            met.append(earlier)
            raise IncarnationChangedError("one", "another")
        return is_committed(unit, earlier, written)

    monkeypatch.setattr(batches, "is_committed", fail_once)
    found = in_one_batch(registry, *(registering(registry, one, "a") for one in ("x", "y", "z")))

    assert lost_commit.is_lost
    assert 1 == len(met)
    assert [2, 3, 4] == [one.generation for one in found]
    assert 4 == registry.history.revision
    assert 4 == registry._runner.seen.last.revision


def test_an_error_of_another_registry_is_not_shared(registry: CapsuleRegistry) -> None:
    """A unit's own error is its own, though it looks like one of the database."""

    def fail(transaction: Transaction) -> None:
        transaction.set_state("alpha", "failed")
        raise RegistryUnavailableError("elsewhere", "it is away")

    registry.register(make_manifest())
    found = in_one_batch(
        registry,
        registering(registry, "beta", "x"),
        lambda: registry.run(fail, together=True),
        registering(registry, "gamma", "x"),
    )

    assert "elsewhere" == found[1].database
    assert ["alpha", "beta", "gamma"] == registry.list()
    assert ["alpha", "beta", "gamma"] == registry.list(state="ready")


def test_a_unit_sees_its_own_revision_as_the_head(registry: CapsuleRegistry) -> None:
    """A check says at which revision it was made, which is that of the unit before."""
    registry.register(make_manifest(), uuids=[ONE])
    found = in_one_batch(
        registry,
        lambda: registry.register_uuid(TWO, "alpha"),
        lambda: registry.run(lambda on: on.check(ONE, "kv", "key").revision, together=True),
        registering(registry, "beta", "x"),
        lambda: registry.run(lambda on: on.check(ONE, "kv", "key").revision, together=True),
    )

    assert [3, 4] == [found[1], found[3]]


def test_a_forked_child_goes_on_with_no_batch(registry: CapsuleRegistry) -> None:
    """Work that forks leaves its transaction, and those of the others, to the parent."""
    said: list[tuple[list[str], int]] = []

    def fork(transaction: Transaction) -> None:
        transaction.register(make_manifest("beta"))
        main = os.getpid()
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            os.close(reading)
            forked.append(writing)
            return
        os.close(writing)
        with os.fdopen(reading) as answers:
            lines_of_child = answers.read().split()
        said.append((lines_of_child, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        assert main == os.getpid()

    forked: list[int] = []

    def call() -> object:
        try:
            return registry.register(make_manifest("alpha"))
        except ForkedTransactionError:
            if forked:
                os.write(forked[0], b"refused")
            raise
        finally:
            if forked:
                os._exit(0)

    found = in_one_batch(
        registry,
        call,
        lambda: registry.run(fork, together=True),
        registering(registry, "gamma", "x"),
    )

    assert [(["refused"], 0)] == said
    assert not any(isinstance(one, BaseException) for one in found)
    assert ["alpha", "beta", "gamma"] == registry.list()
    assert registry.history.verify().ok


def test_nobody_stands_in_the_line_of_a_forked_child(registry: CapsuleRegistry) -> None:
    """Who waits is served in the parent alone, and the child writes for itself."""
    line = registry._runner._line
    front = Request(lambda: None, (), {}, actor="a", reason=None)
    line.enter(front)
    assert line.reach_front(front)
    waiting = Caller(registering(registry, "parent", "x"))
    waiting.start()
    wait_until(lambda: 2 == len(line))

    def in_child(say: Callable[[str], None]) -> None:
        say(str(len(line)))
        own = Caller(registering(registry, "child", "x"))
        own.start()
        own.end()
        say(str(registry.list()))

    said, code = Child(in_child).end()
    line.leave(front)
    waiting.end()

    assert (["0", "['child']"], 0) == (said, code)
    assert ["child", "parent"] == registry.list()


def operations(chance: Random, count: int) -> list[tuple[str, Operation]]:
    """Return so many writes, chosen at random, with their names."""
    ids, uuids = ["alpha", "beta", "gamma"], [ONE, TWO, THREE]

    def one() -> tuple[str, Operation]:
        name, other, uuid = chance.choice(ids), chance.choice(ids), chance.choice(uuids)
        manifest = make_manifest(
            name, uplink=[TELEGRAM], package={"version": f"1.{chance.randint(0, 2)}.0"}
        )
        generation, state = chance.choice([None, 2, 3, 4, 5]), chance.choice(["ready", "failed"])
        uplink = make_uplink(id=UUID(int=chance.randint(11, 13)))
        kept = chance.random() < 1 / 2
        verbs: dict[str, Operation] = {
            "register": lambda on: on.register(manifest, uuids=[uuid]),
            "register same": lambda on: on.register(manifest, uuids=[uuid], if_same=True),
            "replace": lambda on: on.replace(manifest, uuids=[uuid], keep_uuids=kept),
            "replace of": lambda on: on.replace(manifest, expected_generation=generation),
            "unregister": lambda on: on.unregister(name),
            "set state": lambda on: on.set_state(name, state, expected_generation=generation),
            "register uuid": lambda on: on.register_uuid(uuid, other),
            "unregister uuid": lambda on: on.unregister_uuid(uuid),
            "register uplink": lambda on: on.register_uplink(other, uplink),
            "unregister uplink": lambda on: on.unregister_uplink(uplink.id),
            "unregister uplinks": lambda on: on.unregister_capsule_uplinks(other),
            "rollback": lambda on: on.rollback(name),
            "open": lambda on: on.leases.open("x", TTL, renew=False).id is not None,
        }
        chosen = chance.choice([*verbs])
        return f"{chosen} {name} {other} {uuid.int}", verbs[chosen]

    return [one() for _ in range(count)]


def outcome(found: object) -> object:
    """Return what is comparable of what a call returned or raised."""
    if isinstance(found, CapsuleRegistryError):
        return type(found), found.args
    if isinstance(found, BaseException):
        raise found
    return getattr(found, "generation", found), getattr(found, "state", None)


def content(registry: CapsuleRegistry) -> object:
    """Return all that is registered, and every event, but for ids and times that differ."""
    exported = []
    for line in registry.export_lines():
        record = json.loads(line)
        exported.append({key: record[key] for key in record if key not in ("descriptor", "id")})
    events = [
        (revision.revision, event.action, event.subject if event.kind != "uplinks" else "")
        for revision in registry.history.list()
        for event in revision.events
        if event.kind not in ("leases", "namespaces")
    ]
    return [one.get("kind") for one in exported], len(exported), events


@pytest.mark.parametrize("seed", range(12))
def test_a_batch_does_what_its_units_would_do_one_by_one(
    registry: CapsuleRegistry, url: str, clock: Clock, seed: int
) -> None:
    """Whatever the units are: the same results and errors, the same rows, the same revisions."""
    chosen = operations(Random(seed), 60)  # noqa: S311 - nothing secret
    with CapsuleRegistry.open(url, namespace="alone", clock=clock) as alone:
        for start in range(0, len(chosen), 20):
            some = chosen[start : start + 20]
            expected = []
            for _, operation in some:
                try:
                    expected.append(outcome(operation(alone)))
                except CapsuleRegistryError as error:
                    expected.append(outcome(error))
            found = in_one_batch(
                registry, *(lambda run=operation: run(registry) for _, operation in some)
            )
            names = [name for name, _ in some]
            assert [*zip(names, expected, strict=True)] == [
                *zip(names, map(outcome, found), strict=True)
            ]
            assert content(alone) == content(registry)
        assert registry.history.verify().ok
