"""Leases: session UUIDs that go when their lease expires or is closed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from capsule_registry import (
    CapsuleRegistry,
    CapsuleRegistryError,
    InvalidTextError,
    LeaseLostError,
    LeaseNotFoundError,
    UuidHeldError,
)
from conftest import Clock
from support.factories import make_manifest
from support.lease_steps import (
    ABSENT,
    HOUR,
    MANIFEST,
    ONE,
    SHORT,
    THERE,
    THREE,
    TICK,
    TTL,
    TWO,
    actions,
    hold,
    seen,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry import OpenLease


# Python warns of a fork beside threads.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def held(registry: CapsuleRegistry) -> OpenLease:
    """A lease that is not renewed, with a UUID of a registered capsule."""
    return hold(registry)


def test_a_lease_says_who_holds_it_and_until_when(registry: CapsuleRegistry, clock: Clock) -> None:
    """Leases are listed in opening order, with growing tokens, and each has its own event."""
    first, second = (registry.leases.open(name, renew=False) for name in ("é" * 255, "b"))

    one, two = registry.leases.list()
    assert [first.id, second.id] == [one.id, two.id]
    assert (TTL, clock.now, clock.now + TTL) == (one.ttl, one.opened_at, one.expires_at)
    assert ("tester", 2, 3) == (one.actor, one.opened_revision, two.opened_revision)
    assert [["lease.opened"], ["lease.opened"]] == actions(registry, 1)


def test_closing_takes_the_uuids_along(registry: CapsuleRegistry) -> None:
    """One revision also releases reservations left empty; all else stays."""
    registry.register(MANIFEST, uuids=[THREE])
    with registry.leases.open("tests", renew=False) as lease:
        lease.register_uuid(ONE, "alpha")
        lease.register_uuid(str(TWO), "ghost")
        assert [None, lease.id, lease.id] == [filed.lease_id for filed in registry.uuids()]
    lease.close()

    assert [THREE] == [filed.uuid for filed in registry.uuids()]
    assert [
        ["uuid.unregistered", "uuid.unregistered", "lease.closed", "capsule.released"]
    ] == actions(registry, 5)
    assert ([], True) == (registry.leases.list(), lease.lost)
    assert registry.history.verify().ok


def test_what_has_run_out_is_absent_at_once(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease
) -> None:
    """To the microsecond, for every read verb, reaped or not, and for good."""
    clock.step(TTL - TICK)
    with registry.snapshot() as view:
        assert [THERE, THERE] == [seen(registry), seen(view)]
        clock.step(TICK)
        assert [ABSENT, THERE] == [seen(registry), seen(view)]
    with registry.snapshot() as view:
        assert ABSENT == seen(view)
    assert [] == registry.leases.list()
    assert (False, 3) == (registry.unregister_uuid(ONE), registry.history.revision)
    clock.step(-HOUR)
    assert ABSENT == seen(registry)
    with pytest.raises(LeaseLostError):
        held.renew()
    registry.leases.reap()
    assert ABSENT == seen(registry)


WRITES: list[Callable[[CapsuleRegistry, OpenLease], object]] = [
    lambda registry, lease: registry.replace(MANIFEST, lease=lease),
    lambda registry, lease: registry.register(make_manifest("b"), lease=str(lease.id)),
    lambda registry, lease: lease.register_uuid(TWO, "alpha"),
    lambda registry, lease: registry.register_uuid(TWO, "b", lease=lease),
    lambda registry, lease: registry.register(make_manifest("c"), uuids=[THREE], lease=lease.id),
    lambda registry, lease: registry.replace(MANIFEST, uuids=[TWO], lease=lease),
    lambda registry, lease: registry.run(lambda tx: tx.register_uuid(TWO, "b", lease=lease)),
]


@pytest.mark.parametrize("end", ["expiry", "close"])
def test_who_has_lost_a_lease_cannot_write(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease, end: str
) -> None:
    """No write through an expired or closed lease succeeds; through a live one it does."""
    if end == "expiry":
        clock.step(TTL)
    else:
        registry.leases.close(held.id)
    before = registry.history.revision
    for number, write in enumerate(WRITES):
        with pytest.raises(LeaseLostError) as caught:
            write(registry, held)
            pytest.fail(f"write {number} was done")
        assert (held.id, before) == (caught.value.lease_id, registry.history.revision)
    assert held.lost

    lease = registry.leases.open("next", renew=False)
    before = registry.history.revision
    for number, write in enumerate(WRITES, 1):
        write(registry, lease)
        assert before + number == registry.history.revision


def test_a_transaction_that_outlives_its_lease_is_undone(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease
) -> None:
    """The lease is checked again before commit, and the whole unit is rolled back."""
    with pytest.raises(LeaseLostError), registry.transaction() as transaction:
        transaction.register_uuid(TWO, "alpha", lease=held)
        clock.step(TTL - TICK)
        transaction.register(make_manifest("b"))
        clock.step(TICK)
    assert (3, ["alpha"]) == (registry.history.revision, registry.list())


def test_a_lease_may_run_out_at_any_moment_of_a_write(url: str) -> None:
    """Between any two reads of the clock: the write was done before, or the lease is lost."""
    now, looks = Clock().now, -1

    def clock() -> datetime:
        nonlocal now, looks
        now += TTL if looks == 0 else timedelta(0)
        looks -= 1
        return now

    ends: list[str] = []
    with CapsuleRegistry.open(url, clock=clock) as registry:
        for moment in range(8):
            lease = registry.leases.open("tests", TTL, renew=False)
            lease.register_uuid(ONE, "alpha")
            looks = moment
            try:
                lease.register_uuid(ONE, "b")
                ends.append("done")
            except CapsuleRegistryError as error:
                ends.append(type(error).__name__)
            looks = -1
            lease.close()
        assert {"done", "LeaseLostError"} == {*ends}
        assert registry.history.verify().ok


def test_a_held_uuid_is_its_leases(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease
) -> None:
    """Until its lease expires, only that lease can repoint it; then anybody can."""
    other = registry.leases.open("other", HOUR, renew=False)
    for take in (
        lambda: registry.register_uuid(ONE, "b"),
        lambda: registry.register(make_manifest("b"), uuids=[ONE]),
        lambda: other.register_uuid(ONE, "b"),
        lambda: other.register_uuid(ONE, "alpha"),
    ):
        with pytest.raises(UuidHeldError) as caught:
            take()
        assert (ONE, held.id) == (caught.value.uuid, caught.value.lease_id)
    registry.register_uuid(ONE, "alpha")
    assert (4, THERE) == (registry.history.revision, seen(registry))
    held.register_uuid(ONE, "ghost")
    assert "ghost" == registry.find_by_uuid(ONE)

    clock.step(TTL)
    other.register_uuid(ONE, "alpha")
    assert [["lease.expired", "uuid.unregistered", "lease.reaped", "capsule.released"]] == [
        found[:4] for found in actions(registry, 5)
    ]
    assert other.id == registry.uuids()[0].lease_id
    assert registry.history.verify().ok


def test_a_lease_takes_uuids_that_nobody_holds(registry: CapsuleRegistry, held: OpenLease) -> None:
    """Repointed or not, they then go with the lease."""
    registry.register_uuid(TWO, "alpha")
    registry.register_uuid(THREE, "b")
    held.register_uuid(TWO, "alpha")
    held.register_uuid(THREE, "alpha")
    assert {held.id} == {filed.lease_id for filed in registry.uuids()}
    held.close()
    assert [] == registry.uuids()


def test_what_else_removes_uuids_removes_held_ones(
    registry: CapsuleRegistry, held: OpenLease
) -> None:
    """Unregister, replace and drain do; the lease stays, and can hold further UUIDs."""
    for remove in (
        lambda: registry.unregister_uuid(ONE),
        lambda: registry.replace(MANIFEST),
        registry.drain,
        lambda: registry.unregister("alpha"),
    ):
        held.register_uuid(ONE, "alpha")
        if "alpha" not in registry:
            registry.register(MANIFEST)
        assert THERE == seen(registry)
        remove()
        assert ABSENT == seen(registry)
    held.register_uuid(ONE, "alpha")
    registry.register(MANIFEST)
    registry.replace(MANIFEST, keep_uuids=True)
    assert (THERE, [held.id]) == (seen(registry), [one.id for one in registry.leases.list()])
    held.close()
    assert (ABSENT, True) == (seen(registry), registry.history.verify().ok)


@pytest.mark.parametrize(
    ("name", "ttl"),
    [
        ("", TTL),
        ("x" * 256, TTL),
        ("a\0b", TTL),
        ("\ud800", TTL),
        ("a", SHORT - TICK),
        ("a", -TTL),
        ("a", timedelta(days=365) + TICK),
    ],
)
def test_a_lease_out_of_bounds_is_refused(
    registry: CapsuleRegistry, name: str, ttl: timedelta
) -> None:
    """Unstorable names, and a ttl too short or too long, open no lease."""
    with pytest.raises(InvalidTextError):
        registry.leases.open(name, ttl)
    registry.leases.open("a", timedelta(days=365), renew=False).close()
    registry.leases.open("a", SHORT, renew=False)
    assert 4 == registry.history.revision


def test_closing_what_is_gone_is_nothing(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease
) -> None:
    """Through the lease object it does nothing; by id it is an error."""
    clock.step(TTL)
    before = registry.history.revision
    with pytest.raises(LeaseNotFoundError) as caught:
        registry.leases.close(held.id)
    held.close()
    held.close()
    assert (held.id, before) == (caught.value.lease_id, registry.history.revision)


def test_another_namespace_knows_nothing_of_a_lease(url: str, held: OpenLease) -> None:
    """It cannot be listed, written through, renewed or closed there."""
    with CapsuleRegistry.open(url, namespace="other") as other:
        for write in (
            lambda: other.register_uuid(TWO, "alpha", lease=held),
            lambda: other.leases.renew(held.id),
        ):
            with pytest.raises(LeaseLostError):
                write()
        with pytest.raises(LeaseNotFoundError):
            other.leases.close(held.id)
        assert [] == other.leases.list()
