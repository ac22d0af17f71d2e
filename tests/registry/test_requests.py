"""Requests that callers name are done once, and changes on behalf of others are recorded so."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    Acting,
    CapsuleNotFoundError,
    CapsuleRegistry,
    InvalidTextError,
    RegisteredCapsule,
    RequestRepeatedError,
)
from support.batches import Caller, in_one_batch
from support.factories import make_manifest
from support.injection import LostCommit

if TYPE_CHECKING:
    from support.backends import Backend

REQUEST = UUID(int=7)


def test_a_request_of_one_id_is_done_once(registry: CapsuleRegistry) -> None:
    """A second time it changes nothing, and the error names the revision of the first."""
    made = registry.run(lambda one: one.register(make_manifest("a")), request_id=REQUEST)

    with pytest.raises(RequestRepeatedError) as error:
        registry.run(lambda one: one.register(make_manifest("b")), request_id=REQUEST)

    facts = error.value.request_id, error.value.namespace, error.value.revision
    assert (REQUEST, "default", made.generation) == facts
    assert ["a"] == registry.list()
    assert REQUEST == registry.history.list()[-1].request_id
    assert registry.history.verify().ok


def test_an_id_is_of_one_request_in_a_database(registry: CapsuleRegistry, url: str) -> None:
    """Also in another namespace it was used already; the error says in which."""
    registry.run(lambda one: one.register(make_manifest("a")), request_id=REQUEST)

    with CapsuleRegistry.open(url, namespace="other") as other:
        with pytest.raises(RequestRepeatedError) as error:
            other.run(lambda one: one.register(make_manifest("a")), request_id=REQUEST)
        assert ("default", True) == (error.value.namespace, other.is_empty())


def test_a_request_that_failed_or_changed_nothing_can_be_made_again(
    registry: CapsuleRegistry,
) -> None:
    """Its id is used by the revision that it makes, and by nothing else."""
    acting = Acting(registry, "anna", request_id=REQUEST)
    with pytest.raises(CapsuleNotFoundError):
        acting.set_state("a", "ready")
    assert not acting.unregister_uuid(uuid4())
    assert acting.revision is None

    acting.register(make_manifest("a"))

    assert registry.history.revision == acting.revision
    assert REQUEST == registry.history.list()[-1].request_id


def test_of_many_at_once_with_one_id_one_is_done(registry: CapsuleRegistry) -> None:
    """Whichever comes first, be they in one transaction; what others do meanwhile is done too."""
    for number in range(15):
        key = uuid4()
        same = [Caller(partial(registering, registry, f"s{number}-{n}", key)) for n in range(6)]
        others = [Caller(partial(registering, registry, f"o{number}-{n}")) for n in range(3)]
        for caller in [*same, *others]:
            caller.start()

        outcomes = [caller.end() for caller in same]
        (made,) = [one for one in outcomes if isinstance(one, RegisteredCapsule)]
        assert {made.generation} == {
            one.revision for one in outcomes if isinstance(one, RequestRepeatedError)
        }
        assert 5 == sum(isinstance(one, RequestRepeatedError) for one in outcomes)
        wanted = {made.id, *(caller.end().id for caller in others)}
        assert wanted == {one for one in registry.list() if f"{number}-" in one[1:]}
        registry.drain()
    assert registry.history.verify().ok


def registering(
    registry: CapsuleRegistry, name: str, request_id: UUID | None = None
) -> RegisteredCapsule:
    return registry.run(
        lambda one: one.register(make_manifest(name)), request_id=request_id, together=True
    )


def test_in_one_batch_the_second_of_one_id_is_refused(registry: CapsuleRegistry) -> None:
    """Neither sees the other's revision before the end, and only one of them is made."""
    acting = [Acting(registry, f"actor {n}", request_id=REQUEST) for n in range(2)]
    other = Acting(registry, "another")

    outcomes = in_one_batch(
        registry,
        lambda: acting[0].register(make_manifest("a")),
        lambda: acting[1].register(make_manifest("b")),
        lambda: other.register(make_manifest("c")),
    )

    assert [RegisteredCapsule, RequestRepeatedError, RegisteredCapsule] == [*map(type, outcomes)]
    assert ["a", "c"] == sorted(registry.list())
    assert registry.history.verify().ok


@pytest.mark.parametrize("took_place", [True, False])
def test_a_repeated_request_is_told_from_a_lost_commit(
    registry: CapsuleRegistry,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    *,
    took_place: bool,
) -> None:
    """If the COMMIT's answer is lost, the unit that committed is acknowledged, not refused."""
    lost = LostCommit(registry, backend, monkeypatch)
    lost.took_place = took_place
    acting = Acting(registry, "anna", request_id=REQUEST)

    (record,) = in_one_batch(registry, lambda: acting.register(make_manifest("a")))

    assert lost.is_lost
    assert (record.generation, ["a"]) == (acting.revision, registry.list())
    with pytest.raises(RequestRepeatedError):
        acting.register(make_manifest("b"))


def test_what_is_done_for_another_is_recorded_as_theirs(registry: CapsuleRegistry) -> None:
    """The actor and the reason stand in the history, and with leases; its own stay."""
    anna = Acting(registry, "anna", reason="she asked")
    anna.register(make_manifest("a"))
    lease = anna.leases.grant("session", timedelta(seconds=30))
    anna.register_uuid(uuid4(), "a", lease=lease.id)
    registry.set_state("a", "failed")

    found = registry.history.list(after=1)
    assert [("anna", "she asked")] * 3 == [(one.actor, one.reason) for one in found[:3]]
    assert "anna" != found[3].actor
    assert ["anna"] == [one.actor for one in registry.leases.list()]
    assert [lease.id] == [one.lease_id for one in anna.uuids()]


def test_bulk_changes_under_an_id_are_one_revision(registry: CapsuleRegistry) -> None:
    """However many capsules they are; without one, each thousand is a revision."""
    manifests = [make_manifest(f"c{n}") for n in range(1_001)]

    Acting(registry, "anna", request_id=REQUEST).register_many(manifests)

    assert 2 == registry.history.revision
    registry.drain()
    Acting(registry, "anna").register_many(manifests)
    assert 5 == registry.history.revision


def test_an_actor_must_be_recordable(registry: CapsuleRegistry) -> None:
    """What no database can hold is refused at once."""
    with pytest.raises(InvalidTextError):
        Acting(registry, "a" * 10_000)
    with pytest.raises(InvalidTextError):
        Acting(registry, "anna", reason="\x00")
