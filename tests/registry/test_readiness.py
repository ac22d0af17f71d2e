"""The state of a capsule, and waiting until it is ready, whichever process sets it."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    CapsuleRegistry,
    CapsuleState,
    DecisionReason,
    InvalidCapsuleIdError,
    ReadyStatus,
)
from capsule_registry.api import readiness
from capsule_registry.history.watch import Watch
from support.factories import make_manifest
from support.processes import Child, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry import CapsuleManifest, Revision

# Python warns of a fork beside threads.
pytestmark = [pytest.mark.files_alone, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SESSION = UUID(int=1)
READY, TIMEOUT, CRASHED = ReadyStatus.READY, ReadyStatus.TIMEOUT, ReadyStatus.CRASHED
LONG = timedelta(seconds=30)


def granted() -> CapsuleManifest:
    """Return a manifest with a grant and an interceptor."""
    interceptor = {"event": "event", "action": "act"}
    return make_manifest(capabilities={"kv": ["key"]}, interceptor=[interceptor])


def test_a_state_is_set_for_every_process(registry: CapsuleRegistry, url: str) -> None:
    """A state set by another process is seen at once, and the generation stays."""
    old = registry.register(granted(), uuids=[SESSION])

    def fail(number: int, say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url) as mine:
            mine.set_state("alpha", CapsuleState.FAILED, "out of memory")

    at_once(1, fail)
    changed = {"state": CapsuleState.FAILED, "state_reason": "out of memory"}

    assert old.model_copy(update={**changed, "modified_revision": 3}) == registry.get("alpha")
    assert DecisionReason.NOT_READY is registry.check(SESSION, "kv", "key").why
    assert registry.at(revision=2).is_allowed(SESSION, "kv", "key")


def test_only_a_change_of_state_makes_a_revision(registry: CapsuleRegistry) -> None:
    """The same state and reason make none; another reason makes one."""
    registry.register(granted())
    revisions = [
        registry.set_state("alpha", *state).modified_revision
        for state in (["ready"], ["failed"], ["failed"], ["failed", "why"], ["failed", "why"])
    ]

    assert [2, 3, 3, 4, 4] == revisions
    assert 4 == registry.history.revision


def test_only_a_capsule_that_is_ready_is_allowed_anything(registry: CapsuleRegistry) -> None:
    """In any other state checks deny and no interceptor is called, grants or not."""
    registry.register(granted(), uuids=[SESSION])
    for state in CapsuleState:
        registry.set_state("alpha", state)
        assert (state is CapsuleState.READY) == registry.is_allowed(SESSION, "kv", "key")
        assert (state is CapsuleState.READY) == bool(registry.interceptors("event"))


def test_capsules_are_listed_by_state(registry: CapsuleRegistry) -> None:
    """In registration order: live, in a snapshot, in a transaction and in the past."""
    for name in ("zeta", "alpha", "mid"):
        registry.register(make_manifest(name))
    registry.register_uuid(SESSION, "reserved")
    registry.set_state("mid", "failed")
    with registry.snapshot() as snapshot:
        with pytest.raises(ZeroDivisionError), registry.transaction() as transaction:
            transaction.set_state("zeta", "failed")
            assert ["zeta", "mid"] == transaction.list(state=CapsuleState.FAILED)
            raise ZeroDivisionError
        registry.set_state("alpha", "failed")
        assert ["mid"] == snapshot.list(state="failed")
    assert ["alpha", "mid"] == registry.list(state="failed")
    assert (["zeta"], []) == (registry.list(state="ready"), registry.list(state="loading"))
    assert ["zeta", "alpha", "mid"] == registry.at(revision=5).list(state="ready")


class Time:
    """A fake time in which sleeping advances the clock and runs the next of *meanwhile*."""

    def __init__(self) -> None:
        self.now = 0.0
        self.meanwhile: list[Callable[[], object]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.meanwhile:
            self.meanwhile.pop(0)()


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The fake time that `wait_ready` uses, with events between its polls."""
    passing = Time()
    monkeypatch.setattr(readiness, "time", passing)
    return passing


def in_state(state: str, name: str) -> SimpleNamespace:
    return SimpleNamespace(manifest=make_manifest(name), state=state)


def loading(registry: CapsuleRegistry, *names: str) -> None:
    for name in names:
        registry.register(in_state("loading", name))


def test_what_is_ready_or_has_failed_is_not_waited_for(
    registry: CapsuleRegistry, passing: Time
) -> None:
    """The answers are in the order of the ids, each once."""
    loading(registry, "a", "b")
    registry.set_state("a", "ready")
    registry.set_state("b", "failed")

    assert [("b", CRASHED), ("a", READY)] == [*registry.wait_ready(["b", "a", "b"], LONG).items()]
    assert {} == registry.wait_ready([], LONG)
    assert 0 == passing.now
    with pytest.raises(InvalidCapsuleIdError):
        registry.wait_ready(["a", "B"], LONG)


def test_another_process_makes_it_ready(registry: CapsuleRegistry, url: str) -> None:
    """The waiter is told, in any process, but only of the capsules it waits for."""
    loading(registry, "a", "b", "c")

    def wait(say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url) as mine:
            say("waiting")
            say(str([*mine.wait_ready(iter(["b", "a"]), LONG).items()]))

    waiting = Child(wait)
    assert "waiting" == waiting.readline()
    for name in ("c", "a", "b"):
        registry.set_state(name, "ready" if name == "a" else "failed")

    assert ([str([("b", CRASHED), ("a", READY)])], 0) == waiting.end()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_failure_between_two_looks_is_not_missed(
    registry: CapsuleRegistry, url: str, passing: Time, at_once: bool
) -> None:
    """A capsule that failed and recovered between polls has crashed, in one revision or two."""
    loading(registry, "a", "b")

    def fail_and_recover(say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url) as other:
            if at_once:
                with other.transaction() as transaction:
                    transaction.set_state("a", "failed")
                    transaction.set_state("a", "ready")
            else:
                other.set_state("a", "failed")
                other.replace(in_state("ready", "a"))

    passing.meanwhile = [
        lambda: Child(fail_and_recover).end(),
        lambda: registry.set_state("b", "ready"),
    ]

    assert {"a": CRASHED, "b": READY} == registry.wait_ready(["a", "b"], LONG)
    assert CapsuleState.READY is next(registry.values()).state


def test_what_is_registered_meanwhile_counts(registry: CapsuleRegistry, passing: Time) -> None:
    """By register or replace; a capsule that goes is waited for, as it may come back."""
    loading(registry, "a", "b", "gone")
    passing.meanwhile = [
        lambda: registry.register(make_manifest("new")),
        lambda: registry.replace(in_state("ready", "a")),
        lambda: registry.unregister("gone"),
        lambda: registry.unregister("b"),
        lambda: registry.register(make_manifest("b")),
    ]
    found = registry.wait_ready(["new", "a", "b", "gone", "never"], timedelta(seconds=1))

    expected = {"new": READY, "a": READY, "b": READY, "gone": TIMEOUT, "never": TIMEOUT}
    assert expected == found


def test_all_share_one_deadline(registry: CapsuleRegistry, passing: Time) -> None:
    """Several that never become ready take as long as one; a zero timeout polls once."""
    loading(registry, "a", "b")
    names = ["a", "b", "c"]
    assert dict.fromkeys(names, TIMEOUT) == registry.wait_ready(names, timedelta(0))
    assert 0 == passing.now
    assert dict.fromkeys(names, TIMEOUT) == registry.wait_ready(names, timedelta(seconds=2))
    assert pytest.approx(2, abs=0.1) == passing.now


def test_the_deadline_holds_while_others_write(
    registry: CapsuleRegistry, passing: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revisions that arrive as fast as they are read do not prolong the wait."""

    class Busy(Watch):
        def poll(self) -> Revision | None:
            passing.now += 0.1
            assert passing.now < 5, "it still waits"
            registry.register_uuid(uuid4(), "busy")
            return super().poll()

    monkeypatch.setattr(readiness, "Watch", Busy)

    assert {"a": TIMEOUT} == registry.wait_ready(["a"], timedelta(seconds=1))


def test_a_pruning_does_not_end_the_waiting(registry: CapsuleRegistry, passing: Time) -> None:
    """If the feed was pruned before it was read, the current state decides."""
    loading(registry, "a")

    def prune() -> None:
        registry.set_state("a", "ready")
        registry.history.prune(registry.history.anchor())

    passing.meanwhile = [prune]

    assert {"a": READY} == registry.wait_ready(["a"], LONG)
