"""Desired state with unusable manifests: they affect no other capsule, and lose none."""

from __future__ import annotations

import tomllib
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from support.directories import UPLINK, told, write
from support.factories import make_manifest, make_text

if TYPE_CHECKING:
    from pathlib import Path

    from capsule_registry import CapsuleRegistry

pytestmark = pytest.mark.files_alone


#: Unusable manifests; each names the capsule `bad`, or none.
BAD: dict[str, bytes] = {
    "wrong type": make_text("bad", "license = 1").encode(),
    "a rule broken": make_text("bad", '[dependencies]\nrequires = ["x"]\n').encode(),
    "with a byte order mark": b"\xef\xbb\xbf" + make_text("bad", "license = 1").encode(),
    "too long a value": make_text("bad", f'[capabilities]\nnet = ["{"h" * 513}"]\n').encode(),
    "syntax": make_text("bad", "x = [").encode(),
    "no text": b"\xff\xfe",
    "no name": b'[package]\nversion = "0.1.0"\n',
    "too large": b"#" * 300_000,
    "another name": make_text("Bad").encode(),
    "empty": b"",
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_manifest_stops_no_other_and_changes_nothing_of_its_own(
    registry: CapsuleRegistry, tmp_path: Path, what: str
) -> None:
    """Its capsule is neither changed nor pruned, and the plan names the problem."""
    write(tmp_path, "bad")
    registry.sync(tmp_path)
    before = registry.get("bad")
    (tmp_path / "bad" / "Capsule.toml").write_bytes(BAD[what])
    write(tmp_path, "good")
    registry.register(make_manifest("gone"))

    plan = registry.sync(tmp_path, prune=True)

    [refused] = [step for step in plan.steps if step.action == "refuse"]
    assert (str(tmp_path / "bad" / "Capsule.toml"), False) == (refused.path, plan.ok)
    assert refused.problem
    assert before == registry.get("bad")
    assert ["bad", "good"] == registry.list()


def test_an_id_that_no_uplink_can_come_from_is_a_bad_manifest(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """An uplink's source has a stricter grammar; the other capsules are still registered."""
    write(tmp_path, "-c", UPLINK)
    write(tmp_path, "good")

    assert [("refuse", "-c"), ("register", "good")] == told(registry.sync(tmp_path))
    assert ["good"] == registry.list()


def test_a_manifest_that_does_not_say_whose_it_is_holds_removals_back(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """It may be any missing capsule's, so none is removed until it can be read."""
    registry.register(make_manifest("elsewhere"))
    path = write(tmp_path, "new")
    path.write_bytes(BAD["syntax"])

    plan = registry.sync(tmp_path, prune=True)

    assert [("refuse", None), ("keep", "elsewhere")] == told(plan)
    assert str(path) in (plan.steps[1].problem or "")
    write(tmp_path, "new")  # The control.
    assert [("unregister", "elsewhere"), ("register", "new")] == told(
        registry.sync(tmp_path, prune=True)
    )


def test_a_broken_manifest_that_was_moved_loses_no_capsule(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """In another capsule's old directory it may still be the missing one's."""
    for name in ("a", "b"):
        write(tmp_path, name)
    registry.sync(tmp_path)
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "a" / "Capsule.toml").write_bytes(BAD["syntax"])

    registry.sync(tmp_path, prune=True)

    assert ["a", "b"] == registry.list()


def test_a_manifest_that_is_a_dangling_link_loses_no_capsule(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """Its target may be away for a moment: it is refused, and its capsule not pruned."""
    path = write(tmp_path / "real", "a")
    (tmp_path / "all" / "a").mkdir(parents=True)
    (tmp_path / "all" / "a" / "Capsule.toml").symlink_to(path)
    registry.sync(tmp_path / "all")
    path.unlink()

    registry.sync(tmp_path / "all", prune=True)

    assert ["a"] == registry.list()


def test_of_several_manifests_of_one_id_none_is_used(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """Each is refused and names another; what is registered under the id stays."""
    first = write(tmp_path, "twice", folder="x")
    registry.sync(tmp_path)
    before = registry.get("twice")
    second = write(tmp_path, "twice", "# newer, or older", folder="y")

    plan = registry.sync(tmp_path, prune=True)

    assert [("refuse", "twice")] * 2 == told(plan)
    assert str(second) in (plan.steps[0].problem or "")
    assert str(first) in (plan.steps[1].problem or "")
    assert before == registry.get("twice")


def test_a_copy_beside_a_broken_manifest_does_not_take_its_place(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """Two manifests name the id, one of them broken: which is meant is not guessed."""
    path = write(tmp_path, "notes", "# new\n")
    registry.sync(tmp_path)
    before = registry.get("notes")
    write(tmp_path, "notes", "# an old copy\n", folder="notes.old")
    path.write_bytes(make_text("notes", "license = 1").encode())

    registry.sync(tmp_path)

    assert before == registry.get("notes")


def test_a_trap_is_read_no_further_than_the_bounds(
    registry: CapsuleRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To find a bad manifest's capsule, the parser gets nothing that `load` refuses unparsed."""
    write(tmp_path, "dotted", f"{'a.' * 30_000}b = 1\n")
    with write(tmp_path, "huge").open("r+") as file:
        file.truncate(50_000_000)
    parsed: list[int] = []
    loads = tomllib.loads

    def counted(text: str, **options: Any) -> dict[str, Any]:
        parsed.append(len(text))
        return {} if len(text) > 10_000 else loads(text, **options)

    monkeypatch.setattr(tomllib, "loads", counted)
    tracemalloc.start()
    plan = registry.sync(tmp_path, dry_run=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert ["refuse", "refuse"] == [step.action.value for step in plan.steps]
    assert [] == [length for length in parsed if length > 10_000]
    assert peak < 10_000_000
