"""The original's own tests and its scenario table, translated."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleNotFoundError,
    InvalidUplinkSourceError,
    UplinkAlreadyRegisteredError,
)
from support.factories import CLI, TELEGRAM, OriginalCapsule, make_uplink

if TYPE_CHECKING:
    from capsule_registry import CapsuleRegistry


def test_unregistering_what_is_not_there_names_it(registry: CapsuleRegistry) -> None:
    """`unregister` of an unknown id raises not-found with the id in its message."""
    with pytest.raises(CapsuleNotFoundError, match="nonexistent") as caught:
        registry.unregister("nonexistent")

    assert "Not found: capsule nonexistent" == str(caught.value)


def test_a_uuid_is_found_though_nothing_is_registered(registry: CapsuleRegistry) -> None:
    """A UUID can be registered for an id without a capsule; another is not found."""
    uuid = uuid4()
    registry.register_uuid(uuid, "test-capsule")

    assert "test-capsule" == registry.find_by_uuid(uuid)
    assert registry.find_by_uuid(uuid4()) is None


def test_a_uuid_is_repointed_silently(registry: CapsuleRegistry) -> None:
    """Registering a UUID again points it to the second capsule."""
    uuid = uuid4()
    registry.register_uuid(uuid, "first")
    registry.register_uuid(uuid, "second")

    assert "second" == registry.find_by_uuid(uuid)


def test_unregistering_takes_the_uuids_along(registry: CapsuleRegistry) -> None:
    """A capsule's UUID is found until the capsule is unregistered."""
    uuid = uuid4()
    registry.register(OriginalCapsule("removable"))
    registry.register_uuid(uuid, "removable")
    assert "removable" == registry.find_by_uuid(uuid)

    registry.unregister("removable")

    assert registry.find_by_uuid(uuid) is None


def test_draining_takes_orphan_uuids_along(registry: CapsuleRegistry) -> None:
    """`drain` removes a UUID of an id that was never registered."""
    uuid = uuid4()
    registry.register_uuid(uuid, "test")

    registry.drain()

    assert registry.find_by_uuid(uuid) is None


def test_the_scenario_table(registry: CapsuleRegistry) -> None:
    """The steps of the original's scenario table have its results, in order."""
    a = OriginalCapsule("a", uplink=[TELEGRAM, TELEGRAM, CLI])
    registry.register(a)
    assert ["telegram", "telegram", "cli"] == [
        uplink.platform for uplink in registry.all_uplink_descriptors()
    ]
    assert ["wasm(a)"] * 3 == [str(uplink.source) for uplink in registry.all_uplink_descriptors()]

    platforms = ("telegram", " Telegram ", "Telegram", "cli", "CLI")
    found = [registry.find_uplink_by_platform(text) is not None for text in platforms]
    assert [True, False, False, True, False] == found
    assert [] == registry.find_uplinks_with_capability(lambda able: able.can_send)
    assert 3 == len(registry.find_uplinks_with_capability(lambda able: able.can_receive))

    with pytest.raises(CapsuleAlreadyRegisteredError) as refused:
        registry.register(a)
    assert "Already registered: a" == str(refused.value)
    assert 3 == len(registry.all_uplink_descriptors())

    registry.register(OriginalCapsule("-b-"))
    with pytest.raises(InvalidUplinkSourceError, match="Failed to create source"):
        registry.register(OriginalCapsule("-c", uplink=[CLI]))
    assert "-c" not in registry

    moving, orphan = uuid4(), uuid4()
    registry.register_uuid(moving, "ghost")
    registry.register_uuid(moving, "a")
    registry.register_uuid(orphan, "ghost")
    assert "a" == registry.find_by_uuid(moving)

    by_hand = make_uplink()
    registry.register_uplink("ghost", by_hand)
    with pytest.raises(UplinkAlreadyRegisteredError) as taken:
        registry.register_uplink("a", by_hand)
    assert f"Uplink already registered: {by_hand.id}" == str(taken.value)

    returned = registry.unregister("a")
    assert a is returned.instance
    assert registry.find_by_uuid(moving) is None
    assert "ghost" == registry.find_by_uuid(orphan)
    assert [by_hand] == registry.all_uplink_descriptors()

    with pytest.raises(CapsuleNotFoundError, match="Not found: capsule ghost"):
        registry.unregister("ghost")
    assert by_hand == registry.get_uplink(by_hand.id)
    assert "ghost" == registry.find_by_uuid(orphan)

    registry.register(OriginalCapsule("ghost"))
    assert "ghost" == registry.find_by_uuid(orphan)

    assert 1 == registry.unregister_capsule_uplinks("ghost")
    assert registry.get_uplink(by_hand.id) is None

    registry.register(a)
    assert ["-b-", "ghost", "a"] == [capsule.id for capsule in registry.drain()]
    assert registry.is_empty()
    assert [] == registry.all_uplink_descriptors()
    assert registry.find_by_uuid(orphan) is None
    assert [] == registry.drain()
    registry.register(a)
    assert ["a"] == registry.list()


def test_more_than_thirty_two_uplinks_are_accepted(registry: CapsuleRegistry) -> None:
    """The limit of 32 uplinks is the host's, not the registry's."""
    registry.register(OriginalCapsule("many", uplink=[TELEGRAM] * 40))

    assert 40 == len(registry.find_uplinks(capsule_id="many"))
