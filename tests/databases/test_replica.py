"""A standby answers listings and the past; nothing is decided from it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistry,
    FutureRevisionError,
    IncarnationChangedError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryAdmin,
    RegistryUnavailableError,
    Replica,
)
from capsule_registry.unit_of_work.high_water_mark import Position
from support.factories import make_manifest
from support.replication import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = timedelta(0)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """The tests' own primary and standby."""
    try:
        made = Pair()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture
def registry(pair: Pair) -> Iterator[CapsuleRegistry]:
    """A registry with a standby and one capsule."""
    with CapsuleRegistry.open(
        pair.primary.url, replica_url=pair.standby.url, migrate=True
    ) as opened:
        opened.drain()
        opened.register(make_manifest("first"), uuids=[uuid4()])
        yield opened


@pytest.fixture
def behind(pair: Pair, registry: CapsuleRegistry) -> Iterator[int]:
    """The last revision that the standby knows while its replay is paused."""
    registry.replica()
    revision = registry.history.revision
    pair.standby.ask("SELECT pg_wal_replay_pause()")
    yield revision
    pair.standby.ask("SELECT pg_wal_replay_resume()")


@pytest.mark.stress
def test_a_replica_knows_what_its_registry_has_seen(registry: CapsuleRegistry) -> None:
    """The replica is waited for, so writers read their own writes."""
    for name in ("second", "third"):
        registry.register(make_manifest(name))
        replica = registry.replica()
        assert registry.list() == replica.list()
        assert registry.history.revision == replica.revision == replica.min_revision
    assert ["third"] == replica.list(after="second", limit=1)


def test_the_past_and_the_history_are_those_of_the_primary(registry: CapsuleRegistry) -> None:
    """Past answers and revisions are identical, and the history verifies."""
    revision = registry.history.revision
    registry.register(make_manifest("second"))
    replica, past = registry.replica(), registry.at(revision=revision)

    assert [*past.values()] == [*replica.at(revision=revision).values()]
    assert registry.history.list() == replica.history.list()
    assert registry.history.anchor() == replica.history.anchor()
    assert replica.history.verify().ok


def test_a_replica_that_is_behind_is_not_asked(registry: CapsuleRegistry, behind: int) -> None:
    """It answers what it knows; a revision that it lacks is an error that says so."""
    registry.register(make_manifest("second"))
    with pytest.raises(FutureRevisionError) as caught:
        registry.replica(timeout=AT_ONCE)
    assert (registry.history.revision, behind) == (caught.value.requested, caught.value.head)

    replica = registry.replica(min_revision=behind, timeout=AT_ONCE)
    assert (["first"], behind) == (replica.list(), replica.revision)
    with pytest.raises(FutureRevisionError):
        replica.at(revision=behind + 1)


def test_a_replica_with_another_history_is_not_believed(registry: CapsuleRegistry) -> None:
    """It has the revision, but with another hash."""
    replica = registry.replica()
    seen = registry._runner.seen.last
    replica._wanted = Position(seen.revision, seen.incarnation, "0" * 64)
    with pytest.raises(IncarnationChangedError):
        replica.list()


def test_nothing_is_decided_from_a_standby(
    pair: Pair, registry: CapsuleRegistry, behind: int
) -> None:
    """A replica has no strict verbs, and no registry opens on a standby."""
    strict = {"check", "is_allowed", "find_by_uuid", "get", "grants", "register"}
    assert not strict & {*dir(Replica)}
    for read_only in (True, False):
        with pytest.raises(RegistryUnavailableError, match="replica_url"):
            CapsuleRegistry.open(pair.standby.url, read_only=read_only)
    engine = sa.create_engine(
        pair.standby.url.replace("postgresql:", "postgresql+psycopg:"),
        isolation_level="READ COMMITTED",
    )
    with pytest.raises(InvalidDatabaseError, match="replica_url"):
        CapsuleRegistry.open(engine=engine, read_only=True)
    engine.dispose()


def test_nothing_is_changed_through_a_replica(registry: CapsuleRegistry) -> None:
    """Pruning through its history is refused, and the primary's history stays."""
    history = registry.replica().history
    with pytest.raises(PermissionDeniedError):
        history.prune(history.anchor())
    assert 1 == registry.history.list(limit=1)[0].revision


def test_a_registry_without_a_standby_says_so(pair: Pair) -> None:
    """The error names the missing option."""
    with (
        CapsuleRegistry.open(pair.primary.url) as registry,
        pytest.raises(InvalidDatabaseError, match="replica_url"),
    ):
        registry.replica()


def test_a_standby_can_be_inspected(pair: Pair, registry: CapsuleRegistry) -> None:
    """An operator can monitor its head and its settings."""
    registry.replica()
    with RegistryAdmin.open(pair.standby.url, read_only=True) as admin:
        assert [registry.history.revision] == [found.revision for found in admin.namespaces()]
        found = {finding.name: finding for finding in admin.findings()}
    assert ("yes", True) == (found["standby"].value, found["standby"].problem is not None)
    assert "0" == found["bytes received and not applied"].value
    with RegistryAdmin.open(pair.primary.url, read_only=True) as admin:
        [standbys] = [finding for finding in admin.findings() if finding.name == "standbys"]
    assert "walreceiver streaming async 0 bytes behind" == standbys.value
