"""Desired state: `sync` makes the registry match a directory."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import CapsuleManifest, CapsuleRegistry
from support.directories import UPLINK, told, write
from support.factories import TELEGRAM, make_manifest, make_uplink
from support.processes import at_once

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.backends import Backend

# Python warns of a fork beside threads.
pytestmark = [pytest.mark.files_alone, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_what_is_registered_becomes_what_the_directory_says(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """New ones are registered, changed ones replaced, missing ones removed, in one revision."""
    for name in ("changed", "kept", "gone"):
        registry.register(make_manifest(name))
    kept = write(tmp_path, "kept", "# as it is")
    registry.replace(CapsuleManifest.load(kept))
    changed, new = write(tmp_path, "changed"), write(tmp_path, "new", UPLINK)
    before = {str(one.id): one for one in registry.values()}
    head = registry.history.revision

    plan = registry.sync(tmp_path, prune=True)

    assert [
        ("unregister", "gone", None, before["gone"].manifest_digest, None),
        ("replace", "changed", str(changed), *(before["changed"].manifest_digest, digest(changed))),
        ("keep", "kept", str(kept), digest(kept), digest(kept)),
        ("register", "new", str(new), None, digest(new)),
    ] == [(s.action, s.capsule_id, s.path, s.before, s.after) for s in plan.steps]
    assert (True, 3) == (plan.ok, len(plan.changes))
    assert ["changed", "kept", "new"] == registry.list()
    found = {str(one.id): one for one in registry.values()}
    assert [path.read_text() for path in (changed, kept, new)] == [
        one.manifest_text for one in found.values()
    ]
    assert (head + 1, head, head + 1) == tuple(one.generation for one in found.values())
    assert str(new.parent.resolve()) == found["new"].source_dir
    assert ["new"] == [one.capsule_id for one in registry.find_uplinks()]
    assert head + 1 == registry.history.revision
    assert registry.history.verify().ok


def digest(path: Path) -> str:
    return CapsuleManifest.load(path).digest


def test_nothing_to_change_makes_no_revision(registry: CapsuleRegistry, tmp_path: Path) -> None:
    """The second time every step is `keep`, and the history does not grow."""
    for name in ("a", "b"):
        write(tmp_path, name)
    registry.sync(tmp_path, prune=True)
    head = registry.history.revision

    assert [("keep", "a"), ("keep", "b")] == told(registry.sync(tmp_path, prune=True))
    assert head == registry.history.revision

    write(tmp_path, "b", "# one byte more is another manifest\n")  # The control.
    assert [("keep", "a"), ("replace", "b")] == told(registry.sync(tmp_path, prune=True))
    assert head + 1 == registry.history.revision


def test_without_prune_nothing_is_removed(registry: CapsuleRegistry, tmp_path: Path) -> None:
    """Capsules that are not in the directory stay, and are no steps of the plan."""
    registry.register(make_manifest("other"))
    write(tmp_path, "mine")

    assert [("register", "mine")] == told(registry.sync(tmp_path))
    assert ["other", "mine"] == registry.list()


def test_a_dry_run_says_what_would_be_done(registry: CapsuleRegistry, tmp_path: Path) -> None:
    """It returns the very plan that is then executed, and changes nothing."""
    registry.register(make_manifest("gone"))
    registry.register(make_manifest("changed"))
    for name in ("changed", "new"):
        write(tmp_path, name)
    write(tmp_path, "bad", "license = 1")
    lines = [*registry.export_lines()]

    planned = registry.sync(tmp_path, prune=True, dry_run=True)

    assert lines == [*registry.export_lines()]
    assert planned == registry.sync(tmp_path, prune=True)
    assert ["changed", "new"] == registry.list()


def test_a_replaced_capsule_keeps_what_replace_keeps(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """Its position, state and uplinks by hand stay; the rest is the new manifest's."""
    by_hand, session = make_uplink(), uuid4()
    registry.register(make_manifest("first", uplink=[TELEGRAM]), uuids=[session])
    registry.register_uplink("first", by_hand)
    registry.register(make_manifest("second"))
    registry.set_state("first", "failed")
    write(tmp_path, "first")

    registry.sync(tmp_path)

    assert ["first", "second"] == registry.list()
    assert [by_hand] == registry.all_uplink_descriptors()
    assert registry.find_by_uuid(session) is None
    assert ["failed", "ready"] == [one.state for one in registry.values()]


def test_objects_that_the_host_registered_are_its_own(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """Kept capsules keep their object; capsules from the directory have the manifest alone."""
    kept = SimpleNamespace(manifest=CapsuleManifest.load(write(tmp_path, "kept")))
    registry.register(kept)
    new = CapsuleManifest.load(write(tmp_path, "new"))

    assert [("keep", "kept"), ("register", "new")] == told(registry.sync(tmp_path))
    assert [kept, new] == [one.instance for one in registry.values()]


def test_a_reservation_is_adopted(registry: CapsuleRegistry, tmp_path: Path) -> None:
    """What was registered under an id goes to its new capsule, and prune removes no reservation."""
    early, other = uuid4(), uuid4()
    registry.register_uuid(early, "new")
    registry.register_uuid(other, "reserved")
    write(tmp_path, "new")

    assert [("register", "new")] == told(registry.sync(tmp_path, prune=True))
    assert ["new", "reserved"] == [registry.find_by_uuid(one) for one in (early, other)]


def test_inside_a_transaction_it_is_part_of_that(registry: CapsuleRegistry, tmp_path: Path) -> None:
    """It sees the transaction's earlier changes, and is rolled back with it."""
    write(tmp_path, "a")
    with pytest.raises(FileNotFoundError), registry.transaction() as transaction:
        transaction.sync(tmp_path)
        transaction.sync(tmp_path / "missing")
    assert (1, []) == (registry.history.revision, registry.list())

    with registry.transaction(reason="all at once") as transaction:
        transaction.register(make_manifest("b"))
        planned = transaction.sync(tmp_path, prune=True, dry_run=True)
        assert planned == transaction.sync(tmp_path, prune=True)
        assert [("unregister", "b"), ("register", "a")] == told(planned)
    assert (2, ["a"]) == (registry.history.revision, registry.list())


def test_many_at_once_do_it_once(backend: Backend, url: str, tmp_path: Path) -> None:
    """Four processes that sync the same directory at once make one revision."""
    for number in range(5):
        write(tmp_path, f"c{number}")

    def work(number: int, say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url) as registry:
            say(str(len(registry.sync(tmp_path, prune=True).changes)))

    assert ["0", "0", "0", "5"] == sorted(line for [line] in at_once(4, work))
    assert [(2,)] == backend.rows(url, "SELECT revision FROM namespaces WHERE revision > 0")


def test_a_directory_that_was_moved_is_found_there(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """The same bytes elsewhere replace nothing."""
    write(tmp_path / "old", "a")
    registry.sync(tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "new")

    assert [("keep", "a")] == told(registry.sync(tmp_path / "new", prune=True))


def test_manifests_can_be_given_as_texts(registry: CapsuleRegistry) -> None:
    """They are synced as those of a directory are, and have no directory."""
    registry.register(make_manifest("changed"))
    registry.register(make_manifest("gone"))
    texts = {
        "changed/Capsule.toml": text_of("changed"),
        "broken": "[package]\nname = 'broken'\nversion = 7",
        "twice": text_of("twice"),
        "again": text_of("twice"),
    }

    plan = registry.sync(texts, prune=True)

    assert [
        ("refuse", "broken", "broken"),
        ("refuse", "twice", "again"),
        ("refuse", "twice", "twice"),
        ("unregister", "gone", None),
        ("replace", "changed", "changed/Capsule.toml"),
    ] == [(one.action, one.capsule_id, one.path) for one in plan.steps]
    assert ["changed"] == registry.list()
    found = registry.get("changed")
    assert (text_of("changed"), None) == (found and found.manifest_text, found and found.source_dir)


def test_a_text_that_names_no_capsule_holds_removals_back(registry: CapsuleRegistry) -> None:
    """It may be that of any capsule without a directory that is missing."""
    registry.register(make_manifest("missing"))

    plan = registry.sync({"broken": "no manifest"}, prune=True)

    assert [("refuse", None), ("keep", "missing")] == [
        (one.action, one.capsule_id) for one in plan.steps
    ]
    assert "missing" in registry


def text_of(name: str) -> str:
    return f"[package]\nname = '{name}'\nversion = '1.0.0'\n# given\n"


def test_names_that_look_like_one_path_are_two(registry: CapsuleRegistry) -> None:
    """Texts are told apart by what they are called, exactly: none stands in for another."""
    texts = {"a//x": text_of("one"), "a/x": text_of("two"), "a/./x": text_of("three")}

    plan = registry.sync(texts)

    assert ["a/./x", "a//x", "a/x"] == [one.path for one in plan.steps]
    assert {"one", "two", "three"} == {*registry.list()}
