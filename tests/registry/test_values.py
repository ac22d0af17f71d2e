"""Values and errors: their forms, and how they cross process boundaries."""

from __future__ import annotations

import inspect
import json
import pickle
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

import capsule_registry
from capsule_registry import (
    CapsuleId,
    CapsuleRegistryError,
    InvalidInputError,
    InvalidManifestError,
    NotFoundError,
    UplinkCapabilities,
    UplinkDescriptor,
    UplinkId,
    UplinkSource,
    errors,
)
from capsule_registry.identifiers import uuid7
from support.factories import make_uplink


def test_an_id_is_text(subtests: pytest.Subtests) -> None:
    """A capsule id is a `str` everywhere, also through pickle and JSON."""
    capsule_id = CapsuleId("a-1")
    for copy in (pickle.loads(pickle.dumps(capsule_id)), json.loads(json.dumps(capsule_id))):
        with subtests.test():
            assert "a-1" == copy
    assert isinstance(capsule_id, str)


def test_an_uplink_in_json_is_the_originals() -> None:
    """The field names, the bare id, the source and the seven capabilities."""
    uplink = make_uplink(
        id=UplinkId(int=1),
        registered_at=datetime(2026, 1, 2, tzinfo=UTC),
        source=UplinkSource.openclaw("x"),
        capabilities=UplinkCapabilities.notify_only(),
    )
    flags = dict.fromkeys(UplinkCapabilities.model_fields, False) | {"can_send": True}

    assert {
        "id": "00000000-0000-0000-0000-000000000001",
        "name": "by-hand",
        "platform": "discord",
        "source": {"open_claw": {"capsule_id": "x"}},
        "capabilities": flags,
        "profile": "chat",
        "registered_at": "2026-01-02T00:00:00Z",
        "metadata": {},
    } == json.loads(uplink.model_dump_json())
    assert uplink == UplinkDescriptor.model_validate_json(uplink.model_dump_json())


def test_an_uplink_is_normalised_when_built_and_not_when_read() -> None:
    """Code gets a normalised platform; JSON keeps its own."""
    built = UplinkDescriptor(name="n", platform="  TeleGram ")
    text = built.model_dump_json().replace("telegram", " Raw ")

    assert "telegram" == built.platform
    assert " Raw " == UplinkDescriptor.model_validate_json(text).platform
    assert built != UplinkDescriptor(name="n", platform="telegram")


def test_capabilities_in_json_need_all_seven() -> None:
    """A document without one is refused; in code they default to false."""
    text = json.dumps({"can_send": True})
    with pytest.raises(ValidationError, match="missing: can_receive"):
        UplinkCapabilities.model_validate_json(text)

    assert UplinkCapabilities.notify_only() == UplinkCapabilities(can_send=True)
    assert UplinkCapabilities.full() == UplinkCapabilities.from_mask(127)


def test_every_mask_is_one_combination() -> None:
    """Masks and capabilities convert into each other."""
    assert [*range(128)] == [UplinkCapabilities.from_mask(mask).mask for mask in range(128)]


@pytest.mark.parametrize("text", ['"other"', "{}", '{"wasm": 1}', '{"wasm": {}}', '{"native": {}}'])
def test_a_source_of_another_shape_is_refused(text: str) -> None:
    """JSON in none of the three forms is not a source."""
    with pytest.raises(ValidationError):
        UplinkSource.model_validate_json(text)


def test_a_source_in_json_is_not_checked() -> None:
    """As in the original, reading skips the grammar; the text form truncates a long id."""
    source = UplinkSource.model_validate_json('{"wasm": {"capsule_id": "-É" }}')
    long = UplinkSource.model_validate({"wasm": {"capsule_id": "é" * 33}})

    assert "-É" == source.capsule_id
    assert f"wasm({'é' * 32})" == str(long)


def test_made_uuids_are_time_ordered() -> None:
    """They are version 7, and later ones are greater, to the millisecond."""
    made = [uuid7() for _ in range(1000)]

    assert {7} == {uuid.version for uuid in made}
    assert {"specified in RFC 4122"} == {uuid.variant for uuid in made}
    milliseconds = [uuid.int >> 80 for uuid in made]
    assert sorted(milliseconds) == milliseconds
    assert 1000 == len(set(made))


def all_errors() -> list[type[CapsuleRegistryError]]:
    return [
        error
        for error in vars(errors).values()
        if inspect.isclass(error) and issubclass(error, CapsuleRegistryError)
    ]


FACTS: dict[str, Any] = {
    "names": ("a", "b"),
    "fallback": (0, 1),
    "expected": 3,
    "actual": 4,
    "uplink_id": uuid4(),
    "lease_id": uuid4(),
    "uuid": uuid4(),
}


@pytest.mark.parametrize("error", all_errors())
def test_every_error_survives_pickling(error: type[CapsuleRegistryError]) -> None:
    """Attributes and message are unchanged."""
    original = error(*(FACTS.get(name, f"the {name}") for name in error.facts))
    copy = pickle.loads(pickle.dumps(original))

    assert type(original) is type(copy)
    assert (str(original), vars(original)) == (str(copy), vars(copy))
    assert str(original) or error in abstract_errors()


def abstract_errors() -> set[type[CapsuleRegistryError]]:
    return {error for error in all_errors() if not error.facts and not error.template}


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """The module's docstring has each error with its attributes, under its branch."""
    drawing = errors.__doc__ or ""
    for error in all_errors():
        shown = f"{error.__name__}({', '.join(error.facts)})"
        assert shown in drawing or (not error.facts and error.__name__ in drawing), shown
    assert issubclass(NotFoundError, LookupError)
    assert issubclass(InvalidInputError, ValueError)


def test_a_manifest_error_names_the_place() -> None:
    """The message has the path, the problem and the rule."""
    error = InvalidManifestError("/x/Capsule.toml", "wrong_type", "package.name: …")

    assert "Failed to parse manifest at /x/Capsule.toml: package.name: … [wrong_type]" == str(error)


def test_the_public_names_are_sorted_and_there() -> None:
    """`__all__` is sorted, resolves, and is what `dir` shows; an unknown name is an error."""
    names = capsule_registry.__all__

    assert sorted(names) == names
    assert names == dir(capsule_registry)
    assert all(getattr(capsule_registry, name) is not None for name in names)
    exported = {error.__name__ for error in all_errors()}
    assert exported <= set(names)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        getattr(capsule_registry, "nothing_of_the_kind")  # noqa: B009 - mypy knows it is not there


def test_every_public_thing_is_documented() -> None:
    """Every public name, and every public member of a public class, has a docstring."""
    missing = []
    for name in capsule_registry.__all__:
        thing = getattr(capsule_registry, name)
        if not inspect.isclass(thing) and not callable(thing):
            continue
        if not inspect.getdoc(thing):
            missing.append(name)
        if inspect.isclass(thing):
            missing += [
                f"{name}.{member}"
                for member, value in vars(thing).items()
                if not member.startswith("_")
                and (inspect.isfunction(value) or isinstance(value, (property, classmethod)))
                and not inspect.getdoc(getattr(thing, member))
            ]

    assert [] == missing


def test_a_uuid_keeps_its_type() -> None:
    """An uplink id is a UUID, equal to one, and comes back as an `UplinkId`."""
    uplink = make_uplink(id=UUID(int=5))

    assert UUID(int=5) == uplink.id
    assert isinstance(uplink.id, UplinkId)
