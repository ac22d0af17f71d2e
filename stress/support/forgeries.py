"""
Edits that SQL, or a verb, answers by while each row may still read as the history says.

Each takes the rows of all namespaces, changes them, and returns where.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from capsule_registry.canonical_json import canonical_json
from capsule_registry.database.dialects.types import CanonicalJson, Flag, time_text
from support.edits import DERIVED, pick
from support.stores import COLUMNS, TABLES

if TYPE_CHECKING:
    import random

    from support.stores import Contents, Row

#: The namespace that is verified, the other one, and the name of none.
NAMESPACE, OTHER, NOBODY = "default", "other", "nobody"
_JSON: Final = [
    (name, column.name)
    for name, table in TABLES.items()
    for column in table.c
    if isinstance(column.type, CanonicalJson)
]
_FLAGS: Final = [column.name for column in TABLES["uplinks"].c if isinstance(column.type, Flag)]
_FORMS: Final[list[Any]] = [2, -1, 0.5, "true", "yes", "", b"\x01", b"1", b""]
_OWNED: Final = [name for name in TABLES if "namespace" in COLUMNS[name]]
#: Beyond any difference between two clocks.
_TOO_LONG_SECONDS: Final = (60, 10**8)


def event_between(contents: Contents, chance: random.Random) -> str:
    """Put an event, or a whole revision, between two revisions, where `at` finds it."""
    name = chance.choice(["events", "events", "revisions"])
    row = chance.choice(contents[name])
    forged = {**row, "revision": row["revision"] + chance.choice([-0.5, 0.25, 0.5])}
    if name == "revisions":
        forged["request_id"] = str(UUID(int=chance.getrandbits(128)))
    elif chance.random() < 1 / 2:
        alike = [other for other in contents[name] if other["kind"] == row["kind"]]
        forged["new_row"] = chance.choice([None, chance.choice(alike)["new_row"]])
    return f"{name}, {_added_or_moved(contents, name, row, forged, chance)}"


def say_twice(contents: Contents, chance: random.Random) -> str:
    """Give an object in JSON a key that it has already, whose last value the library reads."""
    name, column = chance.choice(_JSON)
    row = chance.choice([row for row in contents[name] if row[column] is not None])
    value = json.loads(row[column])
    objects = [found for found in _objects(value) if found]
    if objects:
        row[column] = _spelled(value, chance.choice(objects), chance)
    return f"{name}.{column}"


def _objects(value: object) -> list[dict[str, Any]]:
    match value:
        case dict():
            return [value, *(found for one in value.values() for found in _objects(one))]
        case list():
            return [found for one in value for found in _objects(one)]
    return []


def _spelled(value: object, target: dict[str, Any], chance: random.Random) -> str:
    match value:
        case dict():
            members = [
                f"{canonical_json(key)}:{_spelled(one, target, chance)}"
                for key, one in value.items()
            ]
            if value is target:
                key = chance.choice([*value])
                escaped = "".join(f"\\u{ord(character):04x}" for character in key)
                spelled = chance.choice([canonical_json(key), f'"{escaped}"'])
                evil = chance.choice(["null", '"evil"', "{}", canonical_json(value[key])])
                members.insert(0, f"{spelled}:{evil}")
            return "{" + ",".join(members) + "}"
        case list():
            return "[" + ",".join(_spelled(one, target, chance) for one in value) + "]"
    return canonical_json(value)


def flag_otherwise(contents: Contents, chance: random.Random) -> str:
    """Make a flag neither of the two numbers that it may be."""
    row, flag = chance.choice(contents["uplinks"]), chance.choice(_FLAGS)
    row[flag] = chance.choice(_FORMS)
    return f"uplinks.{flag} = {row[flag]!r}"


def namespace_as_blob(contents: Contents, chance: random.Random) -> str:
    """Store the namespace of a row as a BLOB: no query of the library finds the row."""
    name, row = pick(contents, chance, [*_OWNED, "namespaces"])
    column = "namespace" if "namespace" in row else "name"
    forged = {**row, column: row[column].encode()}
    if "request_id" in row:
        forged["request_id"] = str(UUID(int=chance.getrandbits(128)))
    return f"{name}, {_added_or_moved(contents, name, row, forged, chance)}"


def move_creation(contents: Contents, chance: random.Random) -> str:
    """Make a capsule older or younger, which decides whose UUIDs and uplinks its id has."""
    row = chance.choice(contents["capsules"])
    row["created_revision"] = chance.randint(0, row["modified_revision"] + 1)
    return "capsules.created_revision"


def give_to_nobody(contents: Contents, chance: random.Random) -> str:
    """Put a row into a namespace that is not there."""
    return _give(contents, chance, NOBODY)


def give_to_another(contents: Contents, chance: random.Random) -> str:
    """Put a row into the other namespace, or one of that into the first."""
    return _give(contents, chance, chance.choice([NAMESPACE, OTHER]))


def _give(contents: Contents, chance: random.Random, namespace: str) -> str:
    name = chance.choice([*DERIVED, *DERIVED, *_OWNED])
    rows = [row for row in contents[name] if row["namespace"] != namespace]
    # A manifest that no row of a history mentions is nobody's loss, wherever it is.
    if not rows or (name == "manifests" and namespace != NOBODY):
        return name
    row = chance.choice(rows)
    forged = {**row, "namespace": namespace}
    owners = [owner["id"] for owner in contents["capsules"] if owner["namespace"] == namespace]
    if "capsule_id" in row and owners and chance.random() < 1 / 2:
        forged["capsule_id"] = chance.choice(owners)
    if "request_id" in row:
        forged["request_id"] = str(UUID(int=chance.getrandbits(128)))
    return f"{name}, {_added_or_moved(contents, name, row, forged, chance)}, to {namespace}"


def _added_or_moved(
    contents: Contents, name: str, row: Row, forged: Row, chance: random.Random
) -> str:
    if chance.random() < 1 / 2:
        contents[name].append(forged)
        return "added"
    row |= forged
    return "moved"


def lengthen(contents: Contents, chance: random.Random) -> str:
    """Let a lease last longer than a renewal could make it."""
    row = _lease(contents, chance)
    more = timedelta(milliseconds=row["ttl_ms"], seconds=chance.randint(*_TOO_LONG_SECONDS))
    ends = ["expires_at"]
    if row["expires_uptime_ms"] is not None:
        ends = chance.choice([ends, ["expires_uptime_ms"], ["expires_at", "expires_uptime_ms"]])
    for end in ends:
        row[end] = _after(more)[end]
    return ", ".join(ends)


def lengthen_within(contents: Contents, chance: random.Random) -> str:
    """Let a lease last longer, as long as a renewal could make it."""
    row = _lease(contents, chance)
    latest = datetime.now(UTC) + timedelta(milliseconds=row["ttl_ms"])
    more = (latest - datetime.fromisoformat(row["expires_at"])) * chance.random()
    row["expires_at"] = time_text(datetime.fromisoformat(row["expires_at"]) + more)
    if row["expires_uptime_ms"] is not None:
        row["expires_uptime_ms"] += more // timedelta(milliseconds=1)
    return "expires_at"


def take_boot_id(contents: Contents, chance: random.Random) -> str:
    """Let a lease outlast its host's boot, and go by the wall clock alone."""
    row = _lease(contents, chance)
    taken = chance.choice([["boot_id"], ["expires_uptime_ms"], ["boot_id", "expires_uptime_ms"]])
    row |= dict.fromkeys(taken)
    return ", ".join(taken)


def _lease(contents: Contents, chance: random.Random) -> Row:
    leases = [row for row in contents["leases"] if row["namespace"] == NAMESPACE]
    return chance.choice([row for row in leases if row["expired_at"] is None])


def _after(time: timedelta) -> dict[str, Any]:
    uptime_ms = clock_gettime_ns(CLOCK_BOOTTIME) // 1_000_000
    return {
        "expires_at": time_text(datetime.now(UTC) + time),
        "expires_uptime_ms": uptime_ms + time // timedelta(milliseconds=1),
    }
