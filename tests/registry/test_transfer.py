"""Exporting the registry as lines, and importing them elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleManifest,
    CapsuleRegistry,
    InvalidManifestError,
    RegistryClosedError,
    UplinkDescriptor,
    UuidHeldError,
)
from support.exports import RESERVED, body, elsewhere, furnish, listing
from support.factories import make_manifest, make_uplink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Clock
    from support.backends import SqliteBackend

pytestmark = pytest.mark.files_alone


@pytest.fixture
def other(url: str, clock: Clock) -> Iterator[CapsuleRegistry]:
    """Another registry in the same database."""
    with CapsuleRegistry.open(url, namespace="other", clock=clock) as opened:
        yield opened


def test_everything_comes_back(registry: CapsuleRegistry, other: CapsuleRegistry) -> None:
    """To another kind of database and back: equal listings, equal lines, all verified."""
    furnish(registry)
    with elsewhere() as between:
        assert 10 == between.import_lines(registry.export_lines())
        assert 10 == other.import_lines(between.export_lines())

        for found in (between, other):
            assert listing(registry) == listing(found)
            assert body(registry) == body(found)
            assert found.history.verify().ok
    texts = [one.manifest_text.encode() for one in registry.values()]
    assert texts == [one.manifest_text.encode() for one in other.values()]
    assert "reserved" == other.find_by_uuid(RESERVED)


def test_an_export_begins_with_what_follows_and_ends_with_how_much(
    registry: CapsuleRegistry,
) -> None:
    """Header and count enclose capsules, uplinks and UUIDs in order; leased UUIDs are left out."""
    furnish(registry)
    first, *lines, last = map(json.loads, registry.export_lines())

    assert {"format": 1, "kind": "registry", "namespace": "default"} == first
    assert {"count": len(lines), "kind": "end"} == last
    assert [*["capsule"] * 3, *["uplink"] * 3, *["uuid"] * 4] == [one["kind"] for one in lines]
    assert ["odd", "declared", "tools"] == [one["id"] for one in lines[:3]]
    leased = [str(one.uuid) for one in registry.uuids() if one.lease_id]
    assert 2 == len(leased)
    assert not any(uuid in json.dumps(lines) for uuid in leased)


def test_an_uplink_that_was_read_from_json_stays_as_it_stands(
    registry: CapsuleRegistry, other: CapsuleRegistry
) -> None:
    """A platform that was not normalised is not normalised on the way."""
    text = make_uplink().model_copy(update={"platform": " Telegram "}).model_dump_json()
    registry.register_uplink("a", UplinkDescriptor.model_validate_json(text))

    other.import_lines(registry.export_lines())

    assert registry.all_uplink_descriptors() == other.all_uplink_descriptors()


def test_every_real_manifest_comes_back_byte_for_byte(
    corpus: Path, registry: CapsuleRegistry
) -> None:
    """All that load are registered, one per id at a time, transferred and compared."""
    turns: dict[int, list[Path]] = {}
    names = Counter[str]()
    for path in sorted(corpus.glob("manifests/*/Capsule.toml")):
        try:
            name = CapsuleManifest.load(path).package.name
        except InvalidManifestError:
            continue
        names[name] += 1
        turns.setdefault(names[name], []).append(path)
    carried = 0
    with elsewhere() as found:
        for turn in turns.values():
            registry.drain()
            found.drain()
            registry.register_many(map(CapsuleManifest.load, turn))
            carried += found.import_lines(registry.export_lines()) - len(found.find_uplinks())
            assert listing(registry) == listing(found)
            assert [path.read_bytes() for path in turn] == [
                one.manifest_text.encode() for one in found.values()
            ]
        assert found.history.verify().ok

    assert 178 == names.total() == carried


def test_importing_twice_is_a_conflict(registry: CapsuleRegistry, other: CapsuleRegistry) -> None:
    """Nothing is changed the second time, even if only one of many capsules exists."""
    furnish(registry)
    lines = [*registry.export_lines()]
    other.import_lines(lines)
    before, head = body(other), other.history.revision

    with pytest.raises(CapsuleAlreadyRegisteredError, match="odd"):
        other.import_lines(lines)
    assert (before, head) == (body(other), other.history.revision)
    with elsewhere() as third:
        third.register(make_manifest("tools"))
        with pytest.raises(CapsuleAlreadyRegisteredError, match="tools"):
            third.import_lines(lines)
        assert (2, ["tools"]) == (third.history.revision, third.list())


def test_a_uuid_that_a_lease_holds_is_not_taken(
    registry: CapsuleRegistry, other: CapsuleRegistry
) -> None:
    """A UUID that a lease holds in the target stays with that lease."""
    furnish(registry)
    lease = other.leases.open("host", timedelta(hours=1), renew=False)
    other.register_uuid(RESERVED, "running", lease=lease)

    with pytest.raises(UuidHeldError):
        other.import_lines(registry.export_lines())
    assert ("running", []) == (other.find_by_uuid(RESERVED), other.list())


def test_an_export_is_of_one_moment(registry: CapsuleRegistry, url: str) -> None:
    """No later change is in it, of whatever kind."""
    furnish(registry)
    before = [*registry.export_lines()]
    lines = registry.export_lines()
    begun = [next(lines)]
    with CapsuleRegistry.open(url) as writer:
        writer.unregister("declared")
        writer.replace(make_manifest("odd"))
        writer.register_uplink("reserved", make_uplink())
        writer.register_uuid(uuid4(), "reserved")

    assert before == [*begun, *lines]
    assert before != [*registry.export_lines()]  # The control.


def test_the_past_can_be_exported(registry: CapsuleRegistry) -> None:
    """A view of the past exports what was registered then."""
    furnish(registry)
    head, before = registry.history.revision, body(registry)
    registry.drain()

    assert before == [*registry.at(revision=head).export_lines()][1:]
    assert before != body(registry)  # The control.


def test_a_snapshot_and_a_transaction_can_be_exported(registry: CapsuleRegistry) -> None:
    """Both export what they see, while they are open."""
    furnish(registry)
    before = body(registry)
    with registry.snapshot() as snapshot:
        assert before == [*snapshot.export_lines()][1:]
    with registry.transaction() as transaction:
        transaction.drain()
        assert ['{"count":0,"kind":"end"}'] == [*transaction.export_lines()][1:]
        transaction.import_lines(['{"format":1,"kind":"registry"}', *before])
    assert before == body(registry)


@pytest.mark.parametrize("how", ["snapshot", "transaction"])
def test_after_its_end_neither_can_be_exported(registry: CapsuleRegistry, how: str) -> None:
    """Lines requested inside but read after the end raise a typed error."""
    with getattr(registry, how)() as view:
        lines = view.export_lines()

    with pytest.raises(RegistryClosedError):
        list(lines)


def test_an_export_that_is_given_up_keeps_no_connection(registry: CapsuleRegistry) -> None:
    """Closed early, it returns its connection (as the fixture checks)."""
    furnish(registry)
    lines = registry.export_lines()
    next(lines)
    lines.close()  # type: ignore[attr-defined]  # It is a generator.

    assert 0 == registry._database.reader.pool.checkedout()  # type: ignore[attr-defined]


def test_a_uuid_that_moves_and_a_new_one_meet_under_one_id(
    registry: CapsuleRegistry, sqlite: SqliteBackend
) -> None:
    """The move of the last UUID of a reserved id does not take the reservation from a new one."""
    mine, other = UUID(int=1), UUID(int=2)
    with CapsuleRegistry.open(sqlite.new_url()) as source:
        source.register_uuid(mine, "elsewhere")
        source.register_uuid(other, "reserved")
        lines = [*source.export_lines()]
    registry.register_uuid(mine, "reserved")
    registry.import_lines(lines)

    assert ["elsewhere", "reserved"] == [registry.find_by_uuid(one) for one in (mine, other)]
