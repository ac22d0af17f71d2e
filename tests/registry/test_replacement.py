"""Replacing a capsule by another."""

from __future__ import annotations

import gc
import re
import weakref
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    CapsuleNotFoundError,
    CapsuleRegistry,
    CapsuleState,
    DecisionReason,
    InvalidCapsuleIdError,
    InvalidManifestError,
    InvalidTextError,
    InvalidUplinkSourceError,
    InvalidUuidError,
    LeaseLostError,
    StaleGenerationError,
    UuidHeldError,
)
from support.factories import CLI, OriginalCapsule, make_manifest, make_uplink
from support.histories import assert_chain_holds, live, replayed
from support.processes import at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry import CapsuleManifest
    from conftest import Clock
    from support.backends import Backend

# Python warns of a fork beside threads.
pytestmark = [pytest.mark.files_alone, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

KEPT, FIRST, SECOND = (UUID(int=number) for number in range(1, 4))
BY_HAND = make_uplink()


def tables(number: str) -> dict[str, Any]:
    """Return a manifest's tables, in each of which *number* appears."""
    return {
        "uplink": [{"name": f"uplink-{number}", "platform": "cli", "profile": "chat"}],
        "tool": [{"name": f"tool-{number}", "description": "", "input_schema": {}}],
        "interceptor": [{"event": "event.*", "action": f"action-{number}"}],
        "capabilities": {"kv": [number], "ipc_publish": [f"topic.{number}"]},
        "dependencies": {"provides": [f"topic:out.{number}"], "requires": [f"tool:{number}"]},
    }


def manifest(number: str, name: str = "alpha") -> CapsuleManifest:
    return make_manifest(name, package={"version": f"{number}.0.0"}, **tables(number))


def standing(view: Any) -> dict[str, Any]:
    """Return the number shown by everything derived from the manifest, and the UUIDs."""
    found = {
        "version": [capsule.version.removesuffix(".0.0") for capsule in view.values()],
        "tools": [tool.name for tool in view.tools("alpha")],
        "grants": [grant.value for grant in view.grants()],
        "interceptors": [one.action for one in view.interceptors("event.x")],
        "provisions": [one.capability for one in view.providers("topic:out.*")],
        "requirements": [one.requirement for one in view.dependencies()],
        "uplinks": [uplink.descriptor.name for uplink in view.find_uplinks()],
    }
    numbers = {name: [re.split("[-.:]", text)[-1] for text in of] for name, of in found.items()}
    return {**numbers, "uuids": [mapping.uuid for mapping in view.uuids("alpha")]}


def expected(number: str, *uuids: UUID, by_hand: bool = False) -> dict[str, Any]:
    names = ("version", "tools", "interceptors", "provisions", "requirements")
    return {
        **{name: [number] for name in names},
        "grants": [number, number],
        "uplinks": ["hand", number] if by_hand else [number],
        "uuids": [*uuids],
    }


def test_the_tables_are_of_the_new_manifest_alone(registry: CapsuleRegistry, clock: Clock) -> None:
    """All that the old manifest declared is gone; an uplink by hand is unchanged."""
    tool = {"name": "reported", "description": "", "input_schema": {}}
    registry.register(SimpleNamespace(manifest=manifest("1"), tools=[tool]))
    registry.register_uplink("alpha", BY_HAND)
    clock.step(timedelta(seconds=1))
    given = SimpleNamespace(manifest=manifest("2"), source_dir="/srv")
    record = registry.replace(given)

    assert record == registry.get("alpha")
    assert (4, 4, clock.now) == (
        record.generation,
        record.modified_revision,
        record.registered_at,
    )
    assert ("/srv", given.manifest) == (record.source_dir, record.manifest)
    assert expected("2", by_hand=True) == standing(registry)
    assert BY_HAND == registry.get_uplink(BY_HAND.id)


@pytest.mark.parametrize(
    ("named", "stands"),
    [
        ({}, (CapsuleState.FAILED, "why")),
        ({"state": "loading"}, (CapsuleState.LOADING, None)),
        ({"state": "ready", "state_reason": "now"}, (CapsuleState.READY, "now")),
    ],
)
def test_it_keeps_its_state_unless_it_names_one(
    registry: CapsuleRegistry, named: dict[str, str], stands: tuple[CapsuleState, str | None]
) -> None:
    """A new manifest does not make a failed capsule ready; an object's own state does."""
    registry.register(manifest("1"))
    registry.set_state("alpha", "failed", "why")
    record = registry.replace(SimpleNamespace(manifest=manifest("2"), **named))

    assert stands == (record.state, record.state_reason)
    assert record == registry.get("alpha")


def test_it_keeps_its_place_in_every_listing(registry: CapsuleRegistry) -> None:
    """Everything listed by capsule keeps its position, now and in the past."""
    for name in ("zeta", "alpha", "mid"):
        registry.register(manifest("1", name))
    registry.replace(manifest("2"))
    for view in (registry, registry.at(revision=5)):
        assert ["zeta", "alpha", "mid"] == view.list() == [one.id for one in view.values()]
        assert ["tool-1", "tool-2", "tool-1"] == [tool.name for tool in view.tools()]
        assert ["zeta", "alpha", "mid"] == [one.capsule_id for one in view.interceptors("event.x")]


@pytest.mark.parametrize(
    ("keep_uuids", "left"), [(False, [KEPT, SECOND]), (True, [KEPT, FIRST, SECOND])]
)
def test_uuids_are_filed_and_retired(
    registry: CapsuleRegistry, keep_uuids: bool, left: list[UUID]
) -> None:
    """Earlier UUIDs are removed unless given again, or all are kept."""
    registry.register(manifest("1"), uuids=[KEPT, FIRST])
    registry.register_uuid(elsewhere := uuid4(), "beta")
    registry.replace(manifest("2"), uuids=[SECOND, str(KEPT), SECOND], keep_uuids=keep_uuids)

    assert expected("2", *left) == {
        **standing(registry),
        "uuids": [found.uuid for found in registry.uuids("alpha")],
    }
    assert "beta" == registry.find_by_uuid(elsewhere)
    decided = {uuid: registry.check(uuid, "kv", "2").why for uuid in (KEPT, FIRST, SECOND)}
    assert {KEPT, FIRST, SECOND} - {*left} == {
        uuid for uuid, why in decided.items() if why is DecisionReason.UNKNOWN_UUID
    }
    assert {DecisionReason.NOT_GRANTED} == {registry.check(uuid, "kv", "1").why for uuid in left}


def test_new_uuids_belong_to_the_lease(registry: CapsuleRegistry) -> None:
    """With a lease, new UUIDs go with it, and kept ones stay."""
    registry.register(manifest("1"), uuids=[KEPT])
    with registry.leases.open("loader", renew=False) as lease:
        registry.replace(manifest("2"), uuids=[SECOND], keep_uuids=True, lease=lease)
        assert [None, lease.id] == [found.lease_id for found in registry.uuids()]

    assert expected("2", KEPT) == standing(registry)


def test_a_uuid_of_a_reservation_is_taken_along(registry: CapsuleRegistry) -> None:
    """A UUID registered elsewhere is repointed here, and the id left empty is released."""
    registry.register(manifest("1"))
    registry.register_uuid(FIRST, "ghost")
    registry.replace(manifest("2"), uuids=[FIRST])

    assert expected("2", FIRST) == standing(registry)
    assert "capsule.released" == registry.history.list()[-1].events[-1].action


def test_each_row_that_changes_has_its_event(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """One revision has them all, the capsule's with its old row, and it verifies."""
    old = registry.register(manifest("1"), uuids=[FIRST])
    registry.register_uplink("alpha", BY_HAND)
    registry.replace(manifest("2"), uuids=[SECOND])
    registry.set_state("alpha", "failed", "why")
    [revision, change] = registry.history.list(after=3)
    [replaced] = [event for event in revision.events if event.kind == "capsules"]
    before, after = replaced.old_row or {}, replaced.new_row or {}

    assert sorted(event.action for event in revision.events) == [
        "capsule.replaced",
        *("uplink.registered", "uplink.unregistered"),
        *("uuid.registered", "uuid.unregistered"),
    ]
    assert {"alpha"} == {event.capsule_id for event in revision.events}
    assert ("1.0.0", 2) == (before["version"], before["generation"])
    assert ("2.0.0", 4, old.generation) == (
        after["version"],
        after["generation"],
        after["registered_revision"],
    )
    assert ["capsule.state_changed"] == [event.action for event in change.events]
    assert live(backend, url) == replayed(backend, url)
    assert_chain_holds(backend, url)
    assert registry.history.verify().ok


def test_the_past_has_each_generation_whole(registry: CapsuleRegistry) -> None:
    """Before, after, by time and in an older snapshot, each is as it was."""
    old = registry.register(manifest("1"), uuids=[FIRST])
    with registry.snapshot() as snapshot:
        new = registry.replace(manifest("2"), uuids=[SECOND])
        assert expected("1", FIRST) == standing(snapshot)
    registry.unregister("alpha")

    assert expected("1", FIRST) == standing(registry.at(revision=2))
    assert expected("2", SECOND) == standing(registry.at(revision=3))
    assert (old, new) == tuple(registry.at(revision=number).get("alpha") for number in (2, 3))
    assert registry.at(revision=2).is_allowed(FIRST, "kv", "1")
    assert not registry.at(revision=3).is_allowed(FIRST, "kv", "1")


@pytest.mark.parametrize(
    ("verbs", "expected_rows"),
    [
        (["replace"], [(2, 3, "0", "replaced"), (3, None, "1", None)]),
        (["replace", "replace"], [(2, 3, "0", "replaced"), (3, None, "2", None)]),
        (["unregister", "register"], [(2, 3, "0", "replaced"), (3, None, "2", None)]),
        (["unregister", "register", "replace"], [(2, 3, "0", "replaced"), (3, None, "3", None)]),
        (["replace", "unregister", "register"], [(2, 3, "0", "replaced"), (3, None, "3", None)]),
        (["replace", "unregister"], [(2, 3, "0", "removed")]),
        (["unregister", "register", "unregister"], [(2, 3, "0", "removed")]),
        (["replace", "set_state"], [(2, 3, "0", "replaced"), (3, None, "1", None)]),
    ],
)
def test_the_view_of_generations_has_what_a_transaction_left(
    registry: CapsuleRegistry,
    backend: Backend,
    url: str,
    verbs: list[str],
    expected_rows: list[tuple[object, ...]],
) -> None:
    """`capsule_history` shows only a transaction's final result for an id."""
    registry.register(manifest("0"))
    with registry.transaction() as transaction:
        for number, verb in enumerate(verbs, start=1):
            if verb == "set_state":
                transaction.set_state("alpha", "failed")
            else:
                getattr(transaction, verb)(
                    "alpha" if verb == "unregister" else manifest(f"{number}")
                )

    columns = "generation, until_revision, substr(version, 1, 1), ended_how"
    query = f"SELECT {columns} FROM capsule_history WHERE capsule_id = 'alpha' ORDER BY generation"
    assert expected_rows == backend.rows(url, query)
    assert registry.history.verify().ok


def test_a_capsule_that_is_replaced_where_it_was_registered(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """In one transaction the last one stays, as one generation, with its own object."""
    last = OriginalCapsule("alpha", **tables("3"))
    with registry.transaction() as transaction:
        transaction.register(manifest("1"), uuids=[FIRST])
        transaction.replace(OriginalCapsule("alpha"), expected_generation=2)
        record = transaction.replace(last, uuids=[SECOND])
        assert last is record.instance

    assert record == registry.get("alpha")
    assert [last] == [found.instance for found in registry.values()]
    query = "SELECT generation, until_revision, version FROM capsule_history"
    assert [(2, None, "0.0.1")] == backend.rows(url, query)
    assert live(backend, url) == replayed(backend, url)
    assert registry.history.verify().ok


def test_objects_follow_the_replacement(registry: CapsuleRegistry) -> None:
    """The new object is returned and the old one forgotten, unless it was rolled back."""
    first, second = OriginalCapsule("alpha"), OriginalCapsule("alpha")
    registry.register(first)
    with pytest.raises(ZeroDivisionError), registry.transaction() as transaction:
        assert second is transaction.replace(second).instance
        raise ZeroDivisionError
    assert [first] == [found.instance for found in registry.values()]
    assert second is registry.replace(second).instance
    assert second is registry.set_state("alpha", "failed").instance
    forgotten = weakref.ref(first)
    del first
    gc.collect()
    assert forgotten() is None
    registry.replace(make_manifest())
    assert [make_manifest()] == [found.instance for found in registry.values()]


def test_others_see_a_replacement_when_it_is_committed(registry: CapsuleRegistry, url: str) -> None:
    """The transaction sees it at once; others see all of it at the commit."""
    registry.register(manifest("1"), uuids=[FIRST])
    with CapsuleRegistry.open(url) as other:
        with registry.transaction() as transaction:
            transaction.replace(manifest("2"), uuids=[SECOND])
            assert expected("2", SECOND) == standing(transaction)
            assert expected("1", FIRST) == standing(other)
        assert expected("2", SECOND) == standing(other)


Refused = tuple[type[Exception], "Callable[[CapsuleRegistry], object]"]


def replace_through_a_lost_lease(registry: CapsuleRegistry, *uuids: UUID) -> None:
    with registry.leases.open("lost", renew=False) as lease:
        pass
    registry.replace(manifest("2"), uuids=uuids, lease=lease)


REFUSED: dict[str, Refused] = {
    "unregistered": (CapsuleNotFoundError, lambda on: on.replace(manifest("2", "ghost"))),
    "reserved": (CapsuleNotFoundError, lambda on: on.replace(manifest("2", "reserved"))),
    "stale": (
        StaleGenerationError,
        lambda on: on.replace(manifest("2"), uuids=[SECOND], expected_generation=1),
    ),
    "held": (UuidHeldError, lambda on: on.replace(manifest("2"), uuids=[SECOND, KEPT])),
    "lease": (LeaseLostError, lambda on: replace_through_a_lost_lease(on, SECOND)),
    "lease alone": (LeaseLostError, replace_through_a_lost_lease),
    "manifest": (
        InvalidManifestError,
        lambda on: on.replace(make_manifest(capabilities={"kv": ["x" * 513]})),
    ),
    "id": (InvalidCapsuleIdError, lambda on: on.replace(make_manifest("Alpha"))),
    "uplink": (InvalidUplinkSourceError, lambda on: on.replace(make_manifest("-", uplink=[CLI]))),
    "uuid": (InvalidUuidError, lambda on: on.replace(manifest("2"), uuids=["nonsense"])),
    "state": (InvalidTextError, lambda on: on.set_state("alpha", "sleeping")),
    "reason": (InvalidTextError, lambda on: on.set_state("alpha", "failed", "\0")),
    "state of none": (CapsuleNotFoundError, lambda on: on.set_state("reserved", "ready")),
    "state of no id": (InvalidCapsuleIdError, lambda on: on.set_state("Alpha", "ready")),
    "listed state": (InvalidTextError, lambda on: on.list(state="sleeping")),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_refused_changes_nothing(
    registry: CapsuleRegistry, backend: Backend, url: str, why: str
) -> None:
    """After each error, however late, everything is as before."""
    error, attempt = REFUSED[why]
    first = OriginalCapsule("alpha", **tables("1"))
    registry.register(first, uuids=[FIRST])
    registry.register(make_manifest("-"))
    registry.leases.open("other", renew=False).register_uuid(KEPT, "reserved")
    names = ("capsules", "uplinks", "uuid_mappings", "tools", "grants", "provisions")
    before = {name: backend.table(url, name) for name in names}
    with pytest.raises(error):
        attempt(registry)

    assert before == {name: backend.table(url, name) for name in names}
    assert [first] == [found.instance for found in registry.values()][:1]


def test_a_stale_replacement_says_what_stands_there(registry: CapsuleRegistry) -> None:
    """The error has the expected generation and the one found, or none."""
    record = registry.register(manifest("1"))
    registry.set_state("alpha", "failed")
    newer = registry.replace(manifest("2"), expected_generation=record.generation)
    for name, found in (("alpha", newer.generation), ("ghost", None)):
        with pytest.raises(StaleGenerationError) as caught:
            registry.replace(manifest("3", name), expected_generation=record.generation)
        assert (record.generation, found) == (caught.value.expected, caught.value.actual)


def test_of_several_that_replace_one_generation_exactly_one_wins(
    registry: CapsuleRegistry, url: str
) -> None:
    """Four processes race for ten capsules, and the losers' UUIDs are absent."""
    names = [f"contended-{number}" for number in range(10)]
    stands = {name: registry.register(make_manifest(name)).generation for name in names}

    def contend(number: int, say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url) as mine:
            for name, generation in stands.items():
                try:
                    new = manifest(str(number), name)
                    mine.replace(new, expected_generation=generation, uuids=[uuid4()])
                    say(f"won {name}")
                except StaleGenerationError:
                    say(f"lost {name}")

    said = Counter(line for lines in at_once(4, contend) for line in lines)

    assert said == Counter({f"won {n}": 1 for n in names} | {f"lost {n}": 3 for n in names})
    assert (names, 10, 10) == (registry.list(), len(registry.uuids()), len(registry.find_uplinks()))
    assert registry.history.verify().ok
