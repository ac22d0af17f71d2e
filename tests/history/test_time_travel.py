"""Time travel: every read verb answers at each revision as it did then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from capsule_registry import CapsuleRegistry, FutureRevisionError
from support.factories import make_manifest
from support.moments import ONE, STEPS, Reporting, answers

if TYPE_CHECKING:
    from conftest import Clock


def test_every_verb_answers_as_it_did_then(registry: CapsuleRegistry, clock: Clock) -> None:
    """The answers after each step are those at its revision and time."""
    then = [(registry.history.revision, clock.now, answers(registry))]
    for step in STEPS:
        clock.step(timedelta(seconds=10))
        step(registry)
        then.append((registry.history.revision, clock.now, answers(registry)))

    assert [*range(1, len(STEPS) + 2)] == [revision for revision, _, _ in then]
    for revision, time, expected in then:
        assert expected == answers(registry.at(revision=revision))
        assert expected == answers(registry.at(time=time))
        assert expected == answers(registry.at(time=time + timedelta(seconds=9)))


def test_before_the_beginning_nothing_is_registered(registry: CapsuleRegistry) -> None:
    """Revision 0 and times before the namespace was created are empty."""
    registry.register(make_manifest())
    for past in (registry.at(time=datetime(1999, 1, 1, tzinfo=UTC)), registry.at(revision=0)):
        assert (0, []) == (past.revision, past.list())


def test_what_cannot_be_told_is_an_error(registry: CapsuleRegistry) -> None:
    """A revision beyond the head, and arguments that give neither or both."""
    with pytest.raises(FutureRevisionError) as caught:
        registry.at(revision=2)
    assert (2, 1) == (caught.value.requested, caught.value.head)
    for wrong in ({}, {"revision": 1, "time": datetime.now(UTC)}, {"time": datetime(2030, 1, 1)}):  # noqa: DTZ001 - without a zone
        with pytest.raises(TypeError):
            registry.at(**wrong)


def test_a_snapshot_is_one_moment(registry: CapsuleRegistry, url: str) -> None:
    """All its reads see the same state, whatever commits meanwhile, and block nobody."""
    registry.register(make_manifest("before"), uuids=[ONE])
    expected = answers(registry)
    with CapsuleRegistry.open(url) as other, registry.snapshot() as view:
        assert expected == answers(view)
        other.unregister("before")
        other.register(make_manifest("later"))
        assert expected == answers(view)
        assert 2 == view.revision
        assert ["later"] == registry.list()
        watch = registry.history.watch(after=view.revision, timeout=timedelta(0))
        assert [3, 4] == [revision.revision for revision in watch]


def test_the_instance_of_a_record_is_found_again(registry: CapsuleRegistry) -> None:
    """A view returns the very object that this process registered, if it is still registered."""
    capsule = Reporting()
    registry.register(capsule)
    with registry.snapshot() as view:
        record = view.get("reporting")

    assert record is not None
    assert capsule is record.instance
