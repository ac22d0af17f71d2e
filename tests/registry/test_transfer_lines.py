"""Lines that no export wrote: truncated, out of order, edited by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleRegistry,
    InvalidInputError,
    InvalidTextError,
)
from support.exports import body, elsewhere, furnish, listing
from support.factories import make_manifest, make_uplink

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.files_alone


FIRST: dict[str, Any] = {"format": 1, "kind": "registry"}
CAPSULE: dict[str, Any] = {
    "kind": "capsule",
    "id": "alpha",
    "manifest_format": "json",
    "manifest_text": make_manifest().text,
    "reported_tools": None,
    "source_dir": None,
    "state": "ready",
    "state_reason": None,
}
DESCRIPTOR = make_uplink().model_dump(mode="json")
UPLINK: dict[str, Any] = {
    "kind": "uplink",
    "capsule_id": "alpha",
    "declared": False,
    "descriptor": DESCRIPTOR,
}
UUID: dict[str, Any] = {
    "kind": "uuid",
    "capsule_id": "alpha",
    "uuid": "00000000-0000-0000-0000-000000000001",
}

#: Replacements for the second line of an export.
EDITED: dict[str, str | dict[str, Any]] = {
    "no JSON": "{",
    "blank": "",
    "no object": "[]",
    "a list too deep": "[" * 100_000,
    "no kind": {"id": "alpha"},
    "another kind": {**CAPSULE, "kind": "lease"},
    "a kind that is no text": {**CAPSULE, "kind": []},
    "a second beginning": FIRST,
    "a member too many": {**CAPSULE, "extra": 1},
    "a member too few": {name: value for name, value in CAPSULE.items() if name != "state"},
    "another id": {**CAPSULE, "id": "beta"},
    "an id that is none": {**CAPSULE, "id": None},
    "a state that is none": {**CAPSULE, "state": "human"},
    "a surrogate": {**CAPSULE, "state_reason": "\ud800"},
    "a text too many": {**CAPSULE, "source_dir": 1},
    "tools that are none": {**CAPSULE, "reported_tools": [{"name": "t"}]},
    "a number of tools": {**CAPSULE, "reported_tools": 1},
    "a manifest that is no text": {**CAPSULE, "manifest_text": 1},
    "a manifest in a language unknown": {**CAPSULE, "manifest_format": "yaml"},
    "JSON that is said to be TOML": {**CAPSULE, "manifest_format": "toml"},
    "a manifest cut off": {**CAPSULE, "manifest_text": CAPSULE["manifest_text"][:-1]},
    "a manifest too deep": {**CAPSULE, "manifest_text": "[" * 100_000},
    "a number too long": {**CAPSULE, "manifest_text": '{"x":' + "9" * 5000 + "}"},
    "a manifest that breaks a rule": {
        **CAPSULE,
        "manifest_text": make_manifest(package={"version": "1"}).text,
    },
    "an uplink that is none": {**UPLINK, "descriptor": 1},
    "an uplink with a member too many": {**UPLINK, "descriptor": {**DESCRIPTOR, "extra": 1}},
    "an uplink of nobody": {**UPLINK, "capsule_id": None},
    "an uplink with a text too long": {**UPLINK, "descriptor": {**DESCRIPTOR, "name": "n" * 256}},
    "a UUID that is none": {**UUID, "uuid": 1},
    "a UUID of an id that is none": {**UUID, "capsule_id": "A"},
}


def text(*values: str | dict[str, Any]) -> list[str]:
    """Return *values* as lines."""
    return [value if isinstance(value, str) else json.dumps(value) for value in values]


def end(count: int) -> dict[str, Any]:
    return {"count": count, "kind": "end"}


def test_lines_made_by_hand_are_taken(registry: CapsuleRegistry) -> None:
    """The control: the lines that are edited below can be imported, and verify."""
    assert 3 == registry.import_lines(text(FIRST, CAPSULE, UPLINK, UUID, end(3)))
    assert (["alpha"], 1, 1) == (
        registry.list(),
        len(registry.find_uplinks(capsule_id="alpha")),
        len(registry.uuids("alpha")),
    )
    assert registry.history.verify().ok


@pytest.mark.parametrize("what", EDITED)
def test_an_edited_line_is_refused(registry: CapsuleRegistry, what: str) -> None:
    """Whatever it contains, the error is typed, and nothing of the lines is registered."""
    lines = text(FIRST, EDITED[what], UUID, end(2))

    with pytest.raises(InvalidInputError):
        registry.import_lines(lines)
    assert (1, [], []) == (registry.history.revision, registry.list(), registry.uuids())


@pytest.mark.parametrize(
    "said", [f" {CAPSULE['manifest_text']}", json.dumps(json.loads(CAPSULE["manifest_text"]))]
)
def test_what_is_imported_verifies(registry: CapsuleRegistry, said: str) -> None:
    """JSON written differently is refused, or stored so that verification finds nothing."""
    try:
        registry.import_lines(text(FIRST, {**CAPSULE, "manifest_text": said}, end(1)))
    except InvalidInputError:
        assert [] == registry.list()
    assert () == registry.history.verify().discrepancies


def test_what_was_cut_off_is_refused(registry: CapsuleRegistry) -> None:
    """Wherever it ends, the error names the next line, and nothing is registered."""
    furnish(registry)
    lines = [*registry.export_lines()]
    with elsewhere() as found:
        for length in range(len(lines)):
            with pytest.raises(InvalidTextError) as caught:
                found.import_lines(lines[:length])
            assert (f"line {length + 1}", "export") == (caught.value.field, caught.value.rule)
        with pytest.raises(InvalidTextError) as caught:
            found.import_lines([*lines[:2], lines[2][:-1], *lines[3:]])
        assert "line 3" == caught.value.field
        assert (1, []) == (found.history.revision, found.list())


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (lambda lines: lines[1:], 1),
        (lambda lines: lines[::-1], 1),
        (lambda lines: ["", *lines], 1),
        (lambda lines: [lines[0].replace('"format":1', '"format":2'), *lines[1:]], 1),
        (lambda lines: [*lines, lines[-1]], 13),
        (lambda lines: [*lines, lines[1]], 13),
        (lambda lines: [*lines[:-2], lines[-1]], 11),
        (lambda lines: [*lines[:-1], lines[-1].replace("10", "9")], 12),
        (lambda lines: [lines[0], lines[-1], *lines[1:-1]], 2),
        (lambda lines: [lines[0], *lines], 2),
        (lambda lines: [*lines[:-1], *lines], 12),
    ],
)
def test_lines_that_are_missing_or_too_many_are_refused(
    registry: CapsuleRegistry, change: Callable[[list[str]], list[str]], number: int
) -> None:
    """The first line that cannot be right is named, and nothing is registered."""
    furnish(registry)
    lines = change([*registry.export_lines()])
    with elsewhere() as found:
        with pytest.raises(InvalidTextError) as caught:
            found.import_lines(lines)
        assert f"line {number}" == caught.value.field
        assert (1, []) == (found.history.revision, found.list())


def test_a_line_that_is_there_twice_is_a_conflict(registry: CapsuleRegistry) -> None:
    """The count is right, but the capsule is already registered."""
    with pytest.raises(CapsuleAlreadyRegisteredError):
        registry.import_lines(text(FIRST, CAPSULE, CAPSULE, end(2)))
    assert [] == registry.list()


def test_what_hangs_on_a_capsule_may_come_before_it(registry: CapsuleRegistry) -> None:
    """Kinds may come in any order: an id is reserved until its capsule comes."""
    furnish(registry)
    first, *lines, last = registry.export_lines()
    capsules = [line for line in lines if json.loads(line)["kind"] == "capsule"]
    others = [line for line in lines if line not in capsules]
    with elsewhere() as found:
        found.import_lines([first, *others, *capsules, last])

        assert listing(registry) == listing(found)
        assert body(registry) == body(found)
        assert found.history.verify().ok


def test_the_order_of_lines_is_that_of_registration(registry: CapsuleRegistry) -> None:
    """Capsules whose lines were swapped are registered in the swapped order."""
    for name in ("a", "b", "c"):
        registry.register(make_manifest(name))
    first, *lines, last = registry.export_lines()
    with elsewhere() as found:
        found.import_lines([first, *reversed(lines), last])
        assert ["c", "b", "a"] == found.list()
