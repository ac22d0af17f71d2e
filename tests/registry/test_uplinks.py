"""Uplinks: declared by a manifest or registered by hand, and found again."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import (
    InvalidTextError,
    InvalidUuidError,
    RegisteredUplink,
    UplinkCapabilities,
    UplinkDescriptor,
    UplinkProfile,
    UplinkSource,
)
from support.factories import CLI, TELEGRAM, make_manifest, make_uplink

if TYPE_CHECKING:
    from capsule_registry import CapsuleRegistry
    from conftest import Clock
    from support.backends import Backend

FLAGS = tuple(UplinkCapabilities.model_fields)


def test_a_declared_uplink_receives_and_comes_from_its_capsule(
    registry: CapsuleRegistry, clock: Clock
) -> None:
    """Its platform is normalised, its source is the capsule, and it can only receive."""
    registry.register(make_manifest(uplink=[TELEGRAM]))
    [uplink] = registry.all_uplink_descriptors()

    expected = UplinkDescriptor(
        id=uplink.id,
        name="u1",
        platform="telegram",
        source=UplinkSource.wasm("alpha"),
        capabilities=UplinkCapabilities.receive_only(),
        profile=UplinkProfile.CHAT,
        registered_at=clock.now,
    )
    assert expected == uplink


def test_an_uplink_filed_by_hand_comes_back_as_it_was_given(registry: CapsuleRegistry) -> None:
    """Every field is kept, and nothing is normalised again."""
    raw = make_uplink(metadata={"ключ": "значение", "a": ""}, source=UplinkSource.openclaw("x"))
    raw = raw.model_copy(update={"platform": " Raw "})
    registry.register_uplink("ghost", raw)

    assert raw == registry.get_uplink(raw.id) == registry.get_uplink(str(raw.id))
    assert raw == registry.find_uplink_by_platform(" Raw ")
    assert registry.find_uplink_by_platform("raw") is None


def test_the_first_uplink_of_a_platform_wins(registry: CapsuleRegistry) -> None:
    """Of several uplinks for a platform, the first registered is found."""
    first = make_uplink(name="first")
    registry.register_uplink("b", first)
    registry.register_uplink("a", make_uplink(name="second"))

    assert first == registry.find_uplink_by_platform("discord")


def test_any_predicate_finds_what_asking_each_uplink_finds(registry: CapsuleRegistry) -> None:
    """All 128 combinations of the flags, against several predicates."""
    filed = [
        make_uplink(capabilities=UplinkCapabilities(**dict(zip(FLAGS, flags, strict=True))))
        for flags in product((False, True), repeat=7)
    ]
    with registry.transaction() as transaction:
        for uplink in filed:
            transaction.register_uplink("alpha", uplink)

    for predicate in (
        lambda able: able.can_send,
        lambda able: able.can_send and not able.supports_threads,
        lambda able: able == UplinkCapabilities.full(),
        lambda able: sum(getattr(able, flag) for flag in FLAGS) == 3,
        lambda able: "truthy",
        lambda able: None,
    ):
        expected = [uplink for uplink in filed if predicate(uplink.capabilities)]
        assert expected == registry.find_uplinks_with_capability(predicate)


def test_conditions_are_combined(registry: CapsuleRegistry) -> None:
    """`find_uplinks` meets all given conditions, normalises the platform, and names the owner."""
    registry.register(make_manifest("alpha", uplink=[TELEGRAM, CLI]))
    able = make_uplink(platform="telegram", profile="notify")
    registry.register_uplink("beta", able)

    assert [RegisteredUplink(capsule_id="beta", descriptor=able)] == registry.find_uplinks(
        can_send=True
    )
    assert ["alpha", "beta"] == [
        found.capsule_id for found in registry.find_uplinks(platform=" TELEGRAM ")
    ]
    assert ["u2"] == [found.descriptor.name for found in registry.find_uplinks(profile="bridge")]
    assert [] == registry.find_uplinks(platform="telegram", profile="chat", can_send=True)
    assert 2 == len(registry.find_uplinks(capsule_id="alpha", can_receive=True, can_send=False))
    assert 3 == len(registry.find_uplinks())
    assert 1 == len(registry.find_uplinks(can_send=1))  # type: ignore[arg-type]


def test_an_uplink_can_be_removed_alone(registry: CapsuleRegistry) -> None:
    """`unregister_uplink` returns whether it existed; the others stay."""
    one, other = make_uplink(), make_uplink()
    registry.register_uplink("ghost", one)
    registry.register_uplink("ghost", other)

    assert [True, False] == [registry.unregister_uplink(one.id) for _ in range(2)]
    assert [other] == registry.all_uplink_descriptors()
    assert 1 == registry.unregister_capsule_uplinks("ghost")
    assert 0 == registry.unregister_capsule_uplinks("ghost")


@pytest.mark.parametrize(
    "values",
    [
        {"name": "n" * 256},
        {"platform": "p" * 256},
        {"name": "a\0"},
        {"metadata": {"k": "\0"}},
        {"metadata": {"\0": "v"}},
    ],
)
def test_what_some_database_cannot_hold_is_refused(
    registry: CapsuleRegistry, values: dict[str, object]
) -> None:
    """A text that is too long or contains NUL is refused on every database."""
    with pytest.raises(InvalidTextError):
        registry.register_uplink("alpha", make_uplink(**values))

    assert [] == registry.all_uplink_descriptors()


@pytest.mark.parametrize("text", ["", "x", "0" * 32, "{" + "0" * 36 + "}"])
def test_a_malformed_uuid_is_refused(registry: CapsuleRegistry, text: str) -> None:
    """Text that is not a canonical UUID is an error wherever a UUID is expected."""
    for verb in (
        registry.get_uplink,
        registry.unregister_uplink,
        registry.find_by_uuid,
        registry.unregister_uuid,
    ):
        with pytest.raises(InvalidUuidError):
            verb(text)


def test_uuids_are_listed_with_their_capsules(registry: CapsuleRegistry, clock: Clock) -> None:
    """`uuids` lists all, or those of one capsule, in registration order."""
    one, two, three = uuid4(), uuid4(), uuid4()
    registry.register(make_manifest(), uuids=[one, two])
    registry.register_uuid(three, "ghost")

    assert [(one, "alpha"), (two, "alpha"), (three, "ghost")] == [
        (found.uuid, found.capsule_id) for found in registry.uuids()
    ]
    assert [(three, clock.now)] == [
        (found.uuid, found.registered_at) for found in registry.uuids("ghost")
    ]
    assert [True, False] == [registry.unregister_uuid(str(three)) for _ in range(2)]


def test_the_mask_that_the_database_computes_is_the_librarys(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """For each of the 128 combinations of capabilities."""
    with registry.transaction() as transaction:
        for mask in range(128):
            capabilities = UplinkCapabilities.from_mask(mask)
            descriptor = make_uplink(name=str(mask), capabilities=capabilities)
            transaction.register_uplink("alpha", descriptor)

    computed = {row["name"]: int(row["capability_mask"]) for row in backend.table(url, "uplinks")}
    assert {str(mask): mask for mask in range(128)} == computed
