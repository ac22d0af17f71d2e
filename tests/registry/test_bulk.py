"""Bulk changes: revisions of a thousand, input read as needed, and bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from capsule_registry import CapsuleAlreadyRegisteredError, CapsuleRegistry, InvalidTextError
from capsule_registry.api.writes import Writes
from support.factories import CLI, OriginalCapsule, make_manifest, make_text, make_uplink
from support.statements import watch_statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from capsule_registry import CapsuleManifest
    from support.backends import SqliteBackend


# Python warns of a fork beside threads.
pytestmark = [pytest.mark.files_alone, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def by_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put at most three into one revision."""
    monkeypatch.setattr(Writes, "_max_per_revision", 3)


def manifests(count: int) -> Iterator[CapsuleManifest]:
    return (make_manifest(f"c{number}", uplink=[CLI]) for number in range(count))


def uuid_lines(count: int) -> Iterator[str]:
    yield '{"format":1,"kind":"registry"}'
    for number in range(count):
        uuid = str(UUID(int=number))
        yield json.dumps({"kind": "uuid", "uuid": uuid, "capsule_id": "many"})
    yield json.dumps({"kind": "end", "count": count})


def test_a_thousand_make_one_revision(registry: CapsuleRegistry) -> None:
    """One more makes a second; the records are returned in order."""
    found = registry.register_many(make_manifest(f"c{number}") for number in range(1001))

    assert [f"c{number}" for number in range(1001)] == [one.id for one in found]
    assert registry.list() == [one.id for one in found]
    assert [*[2] * 1000, 3] == [one.generation for one in found]
    assert [*registry.values()] == found


def test_each_is_registered_as_register_does(registry: CapsuleRegistry) -> None:
    """With uplinks, earlier reservations and the very object; no capsules, no revision."""
    capsule, early = OriginalCapsule("own", uplink=[CLI]), make_uplink()
    registry.register_uplink("own", early)
    head = registry.history.revision

    [found] = registry.register_many([capsule])

    assert capsule is found.instance is registry.values().__next__().instance
    assert [early.id, registry.all_uplink_descriptors()[1].id] == [
        one.descriptor.id for one in registry.find_uplinks(capsule_id="own")
    ]
    assert [] == registry.register_many(())
    assert head + 1 == registry.history.revision
    assert registry.history.verify().ok


def test_an_error_undoes_its_own_revision_alone(registry: CapsuleRegistry, by_three: None) -> None:
    """Earlier revisions stay, later capsules are not read, and none is half registered."""
    registry.register(make_manifest("c4"))
    given = manifests(9)

    with pytest.raises(CapsuleAlreadyRegisteredError, match="c4"):
        registry.register_many(given)

    assert ["c4", "c0", "c1", "c2"] == registry.list()
    assert (3, 3) == (len(registry.find_uplinks()), len([*given]))
    assert registry.history.verify().ok


def test_what_is_given_is_read_as_it_is_needed(registry: CapsuleRegistry, by_three: None) -> None:
    """Nothing is locked while the next capsules are made, so making them may use the registry."""

    def given() -> Iterator[CapsuleManifest]:
        for number, manifest in enumerate(manifests(7)):
            assert number // 3 * 3 == len(registry)
            yield manifest

    assert 7 == len(registry.register_many(given()))
    assert 4 == registry.history.revision


def test_a_transaction_makes_one_revision_of_all(registry: CapsuleRegistry, by_three: None) -> None:
    """Any number of capsules is registered together or not at all."""
    with registry.transaction() as transaction:
        transaction.register_many(manifests(7))
        transaction.import_lines(uuid_lines(7))
    assert (2, 7, 7) == (registry.history.revision, len(registry), len(registry.uuids()))

    with pytest.raises(CapsuleAlreadyRegisteredError), registry.transaction() as transaction:
        transaction.unregister("c6")
        transaction.register_many(manifests(7))
    assert (2, 7) == (registry.history.revision, len(registry))


def test_lines_make_revisions_too(registry: CapsuleRegistry, by_three: None) -> None:
    """Revisions imported before an invalid line stay; the rest of its own does not."""
    lines = [*uuid_lines(8)]
    lines[6] = "{"

    with pytest.raises(InvalidTextError, match="line 7"):
        registry.import_lines(lines)
    assert (2, 3) == (registry.history.revision, len(registry.uuids()))

    assert 8 == registry.import_lines(uuid_lines(8))
    assert (4, 8) == (registry.history.revision, len(registry.uuids()))


def statements_of(url: str, work: Callable[[CapsuleRegistry], object]) -> int:
    """Return how many statements *work* runs on a new database, which then verifies."""
    seen: list[str] = []
    with CapsuleRegistry.open(url) as registry:
        watch_statements(registry._database.engine, lambda _, statement, __: seen.append(statement))
        work(registry)
        count = len(seen)
        assert registry.history.verify().ok
    return count


def exported(url: str, count: int) -> list[str]:
    """Return exported lines of capsules, each with a declared uplink, one by hand, and a UUID."""
    with CapsuleRegistry.open(url) as registry:
        for number, manifest in enumerate(manifests(count)):
            registry.register(manifest, uuids=[uuid4()])
            registry.register_uplink(f"c{number}", make_uplink())
        return [*registry.export_lines()]


def test_an_import_takes_as_many_statements_however_many_lines(sqlite: SqliteBackend) -> None:
    """Lines of one kind are looked up and written together."""
    few, many = (exported(sqlite.new_url(), count) for count in (2, 20))

    assert statements_of(sqlite.new_url(), lambda target: target.import_lines(few)) == (
        statements_of(sqlite.new_url(), lambda target: target.import_lines(many))
    )


def test_a_sync_takes_as_many_statements_however_many_are_new(
    sqlite: SqliteBackend, tmp_path: Path
) -> None:
    """New capsules are registered together."""
    few, many = tmp_path / "few", tmp_path / "many"
    for place, count in ((few, 2), (many, 20)):
        for number in range(count):
            directory = place / f"c{number}"
            directory.mkdir(parents=True)
            (directory / "Capsule.toml").write_text(make_text(f"c{number}"))

    assert statements_of(sqlite.new_url(), lambda registry: registry.sync(few)) == (
        statements_of(sqlite.new_url(), lambda registry: registry.sync(many))
    )


def peak_of(work: Callable[[], object]) -> int:
    """Return the peak memory of *work* in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def consumed(lines: Iterable[str]) -> int:
    return sum(1 for _ in lines)


def add_capsules(registry: CapsuleRegistry, numbers: range) -> None:
    text = "d" * 4000
    registry.register_many(
        make_manifest(f"c{number}", package={"description": text}) for number in numbers
    )


@pytest.mark.stress
def test_the_memory_of_an_export_does_not_grow(sqlite: SqliteBackend) -> None:
    """Three times as many capsules add only the memory of their rows without manifests."""
    count = 600
    with CapsuleRegistry.open(sqlite.new_url()) as registry:
        add_capsules(registry, range(count))
        consumed(registry.export_lines())
        few = peak_of(lambda: consumed(registry.export_lines()))
        add_capsules(registry, range(count, 3 * count))
        many = peak_of(lambda: consumed(registry.export_lines()))
        held = peak_of(lambda: [*registry.export_lines()])

    assert many - few < 2 * count * 400
    assert held - few > 2 * count * 50  # The control: kept lines do show.


def test_the_memory_of_an_import_does_not_grow(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight times as many lines need as much as one revision of them."""
    monkeypatch.setattr(Writes, "_max_per_revision", 60)
    with CapsuleRegistry.open(sqlite.new_url()) as registry:
        registry.import_lines(uuid_lines(60))
        registry.drain()
        few = peak_of(lambda: registry.import_lines(uuid_lines(60)))
        registry.drain()
        many = peak_of(lambda: registry.import_lines(uuid_lines(480)))
        registry.drain()
        with registry.transaction() as transaction:
            at_once = peak_of(lambda: transaction.import_lines(uuid_lines(480)))

    assert many < 2 * few
    assert at_once > 3 * few  # The control: one revision holds all.
