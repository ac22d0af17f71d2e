"""Generations: the one that is expected, the same again, back to one before, what one adds."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleManifest,
    CapsuleNotFoundError,
    CapsuleRegistry,
    FutureRevisionError,
    GenerationNotFoundError,
    InvalidCapsuleIdError,
    InvalidManifestError,
    RegistryAdmin,
    RevisionCompactedError,
    StaleGenerationError,
)
from capsule_registry.manifest.readings import LATEST
from support.factories import make_manifest, make_text, make_uplink
from support.histories import assert_chain_holds, live, replayed
from support.vector_files import rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry import Comparison
    from conftest import Clock
    from support.backends import Backend

pytestmark = pytest.mark.files_alone

UUID = uuid4()


def versioned(number: int, extra: str = "") -> CapsuleManifest:
    text = make_text("alpha", f'[capabilities]\nkv = ["k{number}"]\n{extra}')
    return CapsuleManifest.parse(text.replace("0.1.0", f"{number}.0.0"))


# The generation that is expected


STALE: dict[str, Callable[[CapsuleRegistry, int | None], object]] = {
    "unregister": lambda here, one: here.unregister("alpha", expected_generation=one),
    "set_state": lambda here, one: here.set_state("alpha", "failed", expected_generation=one),
    "report_tools": lambda here, one: here.report_tools("alpha", [], expected_generation=one),
    "register_uuid": lambda here, one: here.register_uuid(UUID, "alpha", expected_generation=one),
    "replace": lambda here, one: here.replace(versioned(9), expected_generation=one),
    "rollback": lambda here, one: here.rollback("alpha", expected_generation=one),
    "lease": lambda here, one: here.leases.open("l", renew=False).register_uuid(
        UUID, "alpha", expected_generation=one
    ),
}


@pytest.mark.parametrize("verb", STALE)
def test_the_wrong_incarnation_is_never_touched(registry: CapsuleRegistry, verb: str) -> None:
    """What was meant for another generation, or for one that is gone, changes nothing."""
    old = registry.register(versioned(1))
    now = registry.replace(versioned(2))
    with pytest.raises(StaleGenerationError) as caught:
        STALE[verb](registry, old.generation)

    assert (old.generation, now.generation) == (caught.value.expected, caught.value.actual)
    assert (now, []) == (registry.get("alpha"), registry.uuids())
    STALE[verb](registry, now.generation)
    assert now != registry.get("alpha") or registry.uuids()
    if verb != "unregister":
        registry.unregister("alpha")
    with pytest.raises(StaleGenerationError) as caught:
        STALE[verb](registry, now.generation)
    assert None is caught.value.actual


@pytest.mark.parametrize("verb", STALE)
def test_a_generation_that_is_no_number_is_refused(registry: CapsuleRegistry, verb: str) -> None:
    """Before anything is done."""
    registry.register(versioned(1))
    before = registry.get("alpha")
    with pytest.raises(TypeError):
        STALE[verb](registry, "1")  # type: ignore[arg-type]

    assert before == registry.get("alpha")


# The same again


def test_the_very_same_again_is_no_revision(registry: CapsuleRegistry) -> None:
    """Neither registered nor replaced; other UUIDs are filed, and those there stay."""
    mine, other = uuid4(), uuid4()
    first = registry.register(versioned(1), uuids=[mine], if_same=True)
    before = registry.history.revision

    assert first == registry.register(versioned(1), if_same=True)
    assert first == registry.replace(versioned(1), if_same=True)
    assert first == registry.register(versioned(1), uuids=[mine], if_same=True)
    assert before == registry.history.revision
    registry.replace(versioned(1), uuids=[other], if_same=True)
    assert [mine, other] == [one.uuid for one in registry.uuids("alpha")]
    assert first == registry.get("alpha")


def test_another_manifest_is_not_the_same(registry: CapsuleRegistry) -> None:
    """Be it by one blank; nor is the same without being asked for."""
    registry.register(versioned(1))
    other = CapsuleManifest.parse(versioned(1).text + " ")
    with pytest.raises(CapsuleAlreadyRegisteredError):
        registry.register(other, if_same=True)
    with pytest.raises(CapsuleAlreadyRegisteredError):
        registry.register(versioned(1))

    assert 1 < registry.replace(other, if_same=True).generation


def test_a_process_that_starts_again_has_its_object(url: str) -> None:
    """As if it had registered it; who has one already keeps it."""
    mine, again = (SimpleNamespace(manifest=versioned(1)) for _ in range(2))
    with CapsuleRegistry.open(url) as first, CapsuleRegistry.open(url) as second:
        first.register(mine)

        assert again is second.register(again, if_same=True).instance
        assert mine is first.register(again, if_same=True).instance


# Back


def test_what_stood_before_is_registered_again(registry: CapsuleRegistry, clock: Clock) -> None:
    """By default the generation before; text, tools and directory of then, in one revision."""
    moments = []
    for number in range(1, 4):
        moments.append(clock.now)
        capsule = SimpleNamespace(
            manifest=versioned(number),
            source_dir=f"/d{number}",
            tools=[{"name": f"t{number}", "description": "", "input_schema": None}],
        )
        made = registry.replace(capsule) if number > 1 else registry.register(capsule)
        clock.step(timedelta(seconds=10))
    back = registry.rollback("alpha")

    assert ("2.0.0", versioned(2).text, "/d2", made.generation - 1) == (
        back.version,
        back.manifest_text,
        back.source_dir,
        back.restored_generation,
    )
    assert made.generation + 1 == back.generation == registry.history.revision
    assert ["t2"] == [one.name for one in registry.tools("alpha")]
    assert ["k2"] == [one.value for one in registry.grants()]
    assert "3.0.0" == registry.rollback("alpha").version
    assert "1.0.0" == registry.rollback("alpha", to=made.generation - 2).version
    assert "2.0.0" == registry.rollback("alpha", to=moments[1] + timedelta(seconds=5)).version
    assert registry.history.verify().ok


def test_a_capsule_that_is_gone_comes_back(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """With what was filed under its id since, and without its UUIDs of then."""
    registry.register(versioned(1), uuids=[UUID])
    registry.unregister("alpha")
    registry.register_uplink("alpha", make_uplink())
    back = registry.rollback("alpha")

    assert ("1.0.0", 2) == (back.version, back.restored_generation)
    assert [] == registry.uuids()
    assert 1 == len(registry.find_uplinks(capsule_id="alpha"))
    assert live(backend, url) == replayed(backend, url)
    assert_chain_holds(backend, url)
    assert registry.at(revision=back.generation).get("alpha") == back


def test_session_uuids_are_kept_if_asked(registry: CapsuleRegistry) -> None:
    """Otherwise they go, as with a replacement."""
    registry.register(versioned(1))
    registry.replace(versioned(2), uuids=[UUID])
    registry.rollback("alpha", keep_uuids=True)
    assert "alpha" == registry.find_by_uuid(UUID)
    registry.rollback("alpha")

    assert None is registry.find_by_uuid(UUID)


def test_what_cannot_be_gone_back_to_is_told(registry: CapsuleRegistry) -> None:
    """Nothing is done; each in its own way."""
    with pytest.raises(GenerationNotFoundError, match="no generation before"):
        registry.rollback("alpha")
    only = registry.register(versioned(1))
    attempts: list[tuple[type[Exception], Any]] = [
        (GenerationNotFoundError, None),
        (GenerationNotFoundError, only.generation),
        (GenerationNotFoundError, 1),
        (FutureRevisionError, 99),
        (TypeError, "x"),
        (TypeError, True),
    ]
    before = registry.history.revision
    for error, to in attempts:
        with pytest.raises(error):
            registry.rollback("alpha", to=to)
    with pytest.raises(InvalidCapsuleIdError):
        registry.rollback("Alpha")
    assert before == registry.history.revision
    registry.replace(versioned(2))
    registry.history.prune(registry.history.anchor())
    with pytest.raises(RevisionCompactedError):
        registry.rollback("alpha")
    with pytest.raises(RevisionCompactedError):
        registry.rollback("alpha", to=only.generation)


def test_what_comes_back_is_read_by_the_rules_of_now(url: str) -> None:
    """Those of the runtime that the namespace has, not of then."""
    with CapsuleRegistry.open(url) as registry:
        assert "legacy" == registry.register(versioned(1)).rules
        registry.replace(versioned(2))
    with RegistryAdmin.open(url) as admin:
        admin.set_runtime("default", LATEST)
    with CapsuleRegistry.open(url) as registry:
        assert LATEST == registry.rollback("alpha").rules
        assert registry.history.verify().ok


def test_a_rollback_of_an_unreadable_manifest_is_refused(url: str) -> None:
    """A manifest that only an older runtime reads."""
    old = make_text("alpha", '[[tool]]\nname = "t"\ndescription = ""\ninput_schema = {}\n')
    with CapsuleRegistry.open(url) as registry:
        registry.register(CapsuleManifest.parse(old))
        registry.replace(versioned(2))
    with RegistryAdmin.open(url) as admin:
        admin.set_runtime("default", LATEST)
    with CapsuleRegistry.open(url) as registry:
        before = registry.history.revision
        with pytest.raises(InvalidManifestError):
            registry.rollback("alpha")

        assert before == registry.history.revision


def test_two_that_go_back_at_once_do_not_undo_each_other(url: str) -> None:
    """If each names the generation that it has seen."""
    with CapsuleRegistry.open(url) as one, CapsuleRegistry.open(url) as two:
        one.register(versioned(1))
        seen = one.replace(versioned(2)).generation
        one.rollback("alpha", expected_generation=seen)
        with pytest.raises(StaleGenerationError):
            two.rollback("alpha", expected_generation=seen)

        found = two.get("alpha")
        assert found is not None
        assert "1.0.0" == found.version


def test_what_stood_at_a_pruning_can_be_gone_back_to(registry: CapsuleRegistry) -> None:
    """It is kept, and what stood before it is not taken for it."""
    for number in (1, 2, 3):
        (registry.replace if number > 1 else registry.register)(versioned(number))
    registry.history.prune(registry.history.anchor())
    with pytest.raises(RevisionCompactedError):
        registry.rollback("alpha")
    registry.replace(versioned(4))

    assert "3.0.0" == registry.rollback("alpha").version
    assert registry.history.verify().ok


def test_what_is_pruned_meanwhile_is_not_gone_back_to(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept of it is not what stood at that revision."""
    first = registry.register(versioned(1))
    second = registry.replace(versioned(2))
    registry.replace(versioned(3))
    find = registry._past

    def find_and_prune(moment: Any) -> Any:
        found = find(moment)
        registry.history.prune(registry.history.anchor())
        return found

    monkeypatch.setattr(registry, "_past", find_and_prune)
    for generation in (second.generation, first.generation):
        with pytest.raises(RevisionCompactedError):
            registry.rollback("alpha", to=generation)
        monkeypatch.undo()

    found = registry.get("alpha")
    assert found is not None
    assert "3.0.0" == found.version


# What one adds


def by_field(entries: Any) -> dict[str, list[str]]:
    """Return the capabilities among *entries*, as upstream shows them."""
    fields: dict[str, list[str]] = {}
    for one in entries:
        if one.part == "right":
            shown = "enabled" if one.matching == "flag" else one.value
            fields.setdefault(one.name, []).append(shown)
    return dict(sorted(fields.items()))


def test_what_an_upgrade_adds_is_what_upstream_says(registry: CapsuleRegistry) -> None:
    """By text, in order, duplicates kept."""
    for row in rows("today/expansions"):
        old, new = (
            CapsuleManifest.parse(row[side], runtime_version=LATEST) for side in ("old", "new")
        )
        found = registry.compare(old, new)

        assert row["added"] == by_field(found.added), row["name"]
        assert row["removed"] == by_field(found.removed), row["name"]
        assert found == type(found)(
            added=registry.compare(new, old).removed, removed=registry.compare(new, old).added
        )


LATER = """
[publish]
"a.b" = "opaque"
[subscribe]
"tool.v1.execute.t" = { wit = "opaque", handler = "h" }
[imports]
"n:x" = "^1"
[exports]
"n:y" = "1.0.0"
[[command]]
name = "c"
kind = "cli"
"""
#: What `LATER` has.
ENTRIES = [
    ("topic", "ipc_publish", "a.b"),
    ("topic", "ipc_subscribe", "tool.v1.execute.t"),
    ("handler", "tool.v1.execute.t", "h"),
    ("tool", "t", ""),
    ("command", "cli", "c"),
    ("import", "n:x", "^1"),
    ("export", "n:y", "1.0.0"),
]


def shown(comparison: Comparison) -> tuple[list[Any], list[Any]]:
    found = [
        [(one.part, one.name, one.value) for one in side]
        for side in (comparison.added, comparison.removed)
    ]
    return found[0], found[1]


def test_every_part_is_compared(registry: CapsuleRegistry, clock: Clock) -> None:
    """Between manifests, generations, other revisions, times, and nothing."""
    first = registry.register(versioned(1))
    clock.step(timedelta(seconds=9))
    second = registry.replace(versioned(2, LATER))
    expected = ([("right", "kv", "k2"), *ENTRIES], [("right", "kv", "k1")])

    for old, new in (
        (versioned(1), versioned(2, LATER)),
        (first.generation, second.generation),
        (clock.now - timedelta(seconds=5), clock.now),
        (first.manifest, second.generation),
    ):
        assert expected == shown(registry.compare(old, new, capsule_id="alpha"))
    assert expected[0] == shown(registry.compare(None, second.manifest))[0]
    assert [("kv", "k2")] == [
        (one.name, one.value) for one in registry.compare(None, versioned(2)).added_rights
    ]
    with pytest.raises(TypeError):
        registry.compare(1, 2)
    with pytest.raises(CapsuleNotFoundError):
        registry.compare(1, 2, capsule_id="beta")
    with pytest.raises(FutureRevisionError):
        registry.compare(1, 99, capsule_id="alpha")


def test_each_revision_says_what_it_added(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """In its event, hashed with it, and as rows that name who did it."""
    registry.register(versioned(1))
    with registry.transaction(actor="eve", reason="more") as transaction:
        transaction.replace(versioned(2, LATER))
    registry.set_state("alpha", "failed")
    registry.unregister("alpha")
    events = [event for one in registry.history.list() for event in one.events]
    changes = [None if one.changes is None else shown(one.changes) for one in events]

    assert [
        None,
        ([("right", "kv", "k1")], []),
        ([("right", "kv", "k2"), *ENTRIES], [("right", "kv", "k1")]),
        None,
        ([], [("right", "kv", "k2"), *ENTRIES]),
    ] == changes
    found = backend.rows(
        url,
        "SELECT actor, reason, change_kind, value, matching FROM right_changes"
        " WHERE namespace = 'default' AND capsule_id = ? AND capability = ? ORDER BY revision",
        ["alpha", "ipc_publish"],
    )
    assert [
        ("eve", "more", "added", "a.b", "subtree"),
        ("tester", None, "removed", "a.b", "subtree"),
    ] == [tuple(row) for row in found]
    assert_chain_holds(backend, url)


def test_what_a_revision_added_cannot_be_changed_unnoticed(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """The hash covers it; without a change of it, the history verifies."""
    registry.register(versioned(1))
    assert registry.history.verify().ok
    for forged in ("NULL", """'[["added","right","kv","k9",null]]'"""):
        kept = backend.rows(url, "SELECT changes FROM events WHERE revision = 2")
        backend.tamper(url, f"UPDATE events SET changes = {forged} WHERE revision = 2")
        assert not registry.history.verify().ok
        backend.tamper(url, "UPDATE events SET changes = ? WHERE revision = 2", [*kept[0]])
    assert registry.history.verify().ok


def test_a_rederivation_says_what_it_added(url: str) -> None:
    """As any other revision that changes rights."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(versioned(1, '[publish]\n"a.*" = "opaque"\n'))
    with RegistryAdmin.open(url) as admin:
        admin.set_runtime("default", "0.7.0")
    with CapsuleRegistry.open(url) as registry:
        last = registry.history.list(action="capsule.rederived")[-1]
        [changes] = [one.changes for one in last.events if one.changes]

        assert ["segments"] == [one.matching for one in changes.added]
        assert ["subtree"] == [one.matching for one in changes.removed]


def test_nothing_is_gone_back_to_of_what_never_was(registry: CapsuleRegistry) -> None:
    """Nor is a capsule replaced that is not there."""
    registry.register_uuid(UUID, "alpha")
    with pytest.raises(GenerationNotFoundError):
        registry.rollback("alpha")
    with pytest.raises(CapsuleNotFoundError):
        registry.replace(make_manifest("alpha"), if_same=True)
