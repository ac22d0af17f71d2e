"""Leases in the history, in past answers and in verification."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from capsule_registry import CapsuleRegistry, InvalidUuidError, LeaseLostError, UuidHeldError
from capsule_registry.database.dialects.types import time_text
from capsule_registry.schema.tables import leases
from support.backends import engine_on
from support.factories import make_manifest
from support.lease_steps import ABSENT, HOUR, ONE, THERE, TICK, TTL, TWO, hold, record, seen

if TYPE_CHECKING:
    from capsule_registry import OpenLease
    from conftest import Clock
    from support.backends import Backend

pytestmark = pytest.mark.files_alone


@pytest.fixture
def held(registry: CapsuleRegistry) -> OpenLease:
    """A lease that is not renewed, with a UUID of a registered capsule."""
    return hold(registry)


def test_the_history_says_when_a_lease_ran_out(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease
) -> None:
    """Reaping removes it and its UUIDs in one revision; reaping again does nothing."""
    held.register_uuid(TWO, "ghost")
    end = clock.now + TTL
    clock.step(HOUR)

    assert ([held.id], []) == (
        [lease.id for lease in registry.leases.reap()],
        registry.leases.reap(),
    )
    [reaped] = registry.history.list(after=4)
    assert [
        "lease.expired",
        "uuid.unregistered",
        "uuid.unregistered",
        "lease.reaped",
        "capsule.released",
    ] == [event.action for event in reaped.events]
    assert time_text(end) == (reaped.events[0].new_row or {})["expired_at"]
    assert clock.now == reaped.committed_at
    assert registry.history.verify().ok


def test_renewing_makes_no_history(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease
) -> None:
    """The lease then lasts for its whole ttl again, without a revision."""
    for _ in range(3):
        clock.step(TTL - TICK)
        held.renew()
        assert clock.now + TTL == record(registry, held).expires_at
    assert record(registry, held) == registry.leases.renew(str(held.id))
    assert ([], THERE) == (registry.history.list(after=3), seen(registry))
    assert registry.history.verify().ok
    with pytest.raises(InvalidUuidError):
        registry.leases.renew("no uuid")


def test_a_lease_that_runs_out_during_a_unit_ends_when_it_ends(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease
) -> None:
    """Its recorded end is never before the time up to which it was good."""
    end = record(registry, held).expires_at
    with suppress(UuidHeldError), registry.transaction() as transaction:
        clock.step(TTL)
        transaction.register_uuid(ONE, "b")
    registry.leases.reap()

    [expired] = [
        event.new_row
        for revision in registry.history.list()
        for event in revision.events
        if event.action == "lease.expired"
    ]
    assert time_text(end) == (expired or {})["expired_at"]


def test_the_past_knows_what_had_run_out(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease
) -> None:
    """At any time asked for, whether since reaped, renewed, closed or pruned."""
    begin = clock.now
    clock.step(TTL - TICK)
    held.renew()
    end = record(registry, held).expires_at
    closed = registry.leases.open("closed", HOUR, renew=False)
    closed.register_uuid(TWO, "alpha")
    clock.step(10 * TTL)
    registry.register(make_manifest("later"))
    late = registry.history.revision

    def check() -> None:
        assert [THERE, ABSENT] == [seen(registry.at(time=time)) for time in (end - TICK, end)]
        assert [THERE, ABSENT] == [seen(registry.at(revision=at)) for at in (late - 1, late)]
        assert THERE == seen(registry.at(time=clock.now - TICK), TWO)
        assert THERE == seen(registry.at(revision=late), TWO)

    check()
    assert [THERE, ABSENT] == [seen(registry.at(time=at)) for at in (begin, begin - TICK)]
    clock.step(TTL)
    registry.leases.reap()
    closed.close()
    check()
    assert ABSENT == seen(registry.at(revision=registry.history.revision), TWO)
    anchor = registry.history.anchor().model_copy()
    registry.history.prune(anchor)
    assert [ABSENT, ABSENT] == [
        seen(registry.at(revision=anchor.revision), uuid) for uuid in (ONE, TWO)
    ]
    assert registry.history.verify().ok


def test_pruning_changes_no_answer(
    registry: CapsuleRegistry, clock: Clock, held: OpenLease
) -> None:
    """At the pruned revision a lease is as it was, reaped since or not."""
    anchor = registry.history.anchor()
    clock.step(TTL)
    registry.register(make_manifest("later"))
    registry.history.prune(anchor)
    for _ in range(2):
        assert THERE == seen(registry.at(revision=anchor.revision))
        assert ABSENT == seen(registry.at(revision=anchor.revision + 1))
        registry.leases.reap()
    assert registry.history.verify().ok


def test_a_lease_that_lasts_too_long_is_a_discrepancy(
    registry: CapsuleRegistry, url: str, held: OpenLease
) -> None:
    """An end later than the ttl from now was changed, though ends are not in the history."""
    assert registry.history.verify().ok
    engine = engine_on(url)
    with engine.begin() as connection:
        later = sa.update(leases).values(expires_at=record(registry, held).expires_at + TICK)
        connection.execute(later)
    engine.dispose()
    assert [f"leases {held.id}"] == [
        found.where for found in registry.history.verify().discrepancies
    ]


def test_a_lease_that_was_deleted_by_hand_is_lost(
    registry: CapsuleRegistry, backend: Backend, url: str, held: OpenLease
) -> None:
    """Its UUIDs cascade, its holder learns of it, and verification reports what is missing."""
    backend.tamper(url, "DELETE FROM leases")
    assert ABSENT == seen(registry)
    for write in (held.renew, lambda: held.register_uuid(TWO, "alpha")):
        with pytest.raises(LeaseLostError):
            write()
    held.close()
    registry.register_uuid(ONE, "b")
    found = registry.history.verify().discrepancies
    assert [f"leases {held.id}"] == [one.where for one in found if "leases" in one.where]
