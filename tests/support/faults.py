"""Faults: SQL that damages stored data so that an allowed check must no longer be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from capsule_registry import (
    CapsuleRegistryError,
    CapsuleState,
    DecisionReason,
    NamespaceNotFoundError,
)
from support.standing import LIVE, PAST, WAYS

_REGISTERED: Final = (
    *("version", "manifest", "manifest_digest", "reported_tools", "source_dir", "state"),
    *("state_reason", "generation", "registered_revision", "position", "registered_at"),
)
_RESERVE: Final = ", ".join(f"{column} = NULL" for column in _REGISTERED)
Expected = DecisionReason | type[CapsuleRegistryError]


@dataclass(frozen=True)
class Fault:
    """What is done to the database, and the answer of the first of *ways*."""

    name: str
    expected: Expected
    statements: tuple[str, ...]
    #: The ways to ask that it affects.
    ways: tuple[str, ...] = WAYS
    #: Statements that restore the tables if it changes more than rows.
    undo: tuple[str, ...] = ()


def image(kind: str, old: str, new: str) -> str:
    """Return the statement that edits the history's row images of *kind*."""
    return f"UPDATE events SET new_row = REPLACE(new_row, '{old}', '{new}') WHERE kind = '{kind}'"


def manifest(old: str, new: str) -> str:
    """Return the statement that edits the manifest texts from which grants follow."""
    return f"UPDATE manifests SET text = REPLACE(text, '{old}', '{new}')"


def state(name: str) -> Fault:
    """Return the fault of a state other than ready, live and in the past."""
    change = image("capsules", '"state":"ready"', f'"state":"{name}"')
    is_known = name in [*CapsuleState]
    expected = DecisionReason.NOT_READY if is_known else DecisionReason.UNREADABLE
    return Fault(f"state {name}", expected, (f"UPDATE capsules SET state = '{name}'", change))


def owned(name: str, expected: Expected, capsule_id: str) -> Fault:
    """Return the fault of a UUID that points to another capsule id."""
    statements = (
        f"UPDATE uuid_mappings SET capsule_id = '{capsule_id}'",
        image("uuid_mappings", '"alpha"', f'"{capsule_id}"'),
    )
    return Fault(name, expected, statements)


def gone(name: str, *statements: str) -> list[Fault]:
    """Return the faults of a UUID whose capsule has no row: live nobody's, in the past an id's."""
    return [
        Fault(f"{name}, live", DecisionReason.UNKNOWN_UUID, statements, LIVE),
        Fault(f"{name}, in the past", DecisionReason.NOT_REGISTERED, statements, PAST),
    ]


def called(name: str, capsule_id: str) -> Fault:
    """Return the fault of a capsule with an invalid id."""
    statements = (
        f"UPDATE uuid_mappings SET capsule_id = '{capsule_id}'",
        f"UPDATE capsules SET id = '{capsule_id}' WHERE id = 'alpha'",
        f"UPDATE grants SET capsule_id = '{capsule_id}'",
        image("uuid_mappings", '"alpha"', f'"{capsule_id}"'),
        image("capsules", '"alpha"', f'"{capsule_id}"'),
        f"UPDATE events SET subject = '{capsule_id}' WHERE subject = 'alpha'",
    )
    return Fault(name, DecisionReason.UNREADABLE, statements)


def lost_table(name: str, ways: tuple[str, ...] = WAYS) -> Fault:
    """Return the fault of a missing table."""
    there, back = f"{name} RENAME TO {name}_gone", f"{name}_gone RENAME TO {name}"
    return renamed(f"no table {name}", there, back, ways)


def lost_column(table: str, name: str, ways: tuple[str, ...] = LIVE) -> Fault:
    """Return the fault of a missing column."""
    there, back = f"RENAME COLUMN {name} TO gone", f"RENAME COLUMN gone TO {name}"
    return renamed(f"no {table}.{name}", f"{table} {there}", f"{table} {back}", ways)


def renamed(name: str, there: str, back: str, ways: tuple[str, ...]) -> Fault:
    """Return the fault of something that is missing under its name."""
    statements, undo = (f"ALTER TABLE {there}",), (f"ALTER TABLE {back}",)
    return Fault(name, DecisionReason.UNREADABLE, statements, ways, undo)


OTHER: Final = "00000000-0000-4000-8000-000000000009"
_DEEP: Final = "[" * 50_000

EVERYWHERE: Final = [
    Fault(
        "UUID deleted",
        DecisionReason.UNKNOWN_UUID,
        ("DELETE FROM uuid_mappings", "DELETE FROM events WHERE kind = 'uuid_mappings'"),
    ),
    Fault(
        "UUID renamed",
        DecisionReason.UNKNOWN_UUID,
        (
            f"UPDATE uuid_mappings SET uuid = '{OTHER}'",
            f"UPDATE events SET subject = '{OTHER}' WHERE kind = 'uuid_mappings'",
        ),
    ),
    owned("UUID of another capsule", DecisionReason.NOT_GRANTED, "beta"),
    *gone("UUID of nobody", *owned("", DecisionReason.NOT_REGISTERED, "ghost").statements),
    called("UUID of an id that is none", "Al pha"),
    called("UUID of an id that is empty", ""),
    Fault(
        "UUID in another namespace",
        DecisionReason.UNKNOWN_UUID,
        (
            "UPDATE uuid_mappings SET namespace = 'other'",
            "UPDATE events SET namespace = 'other' WHERE kind = 'uuid_mappings'",
        ),
    ),
    Fault(
        "UUID of a lease that never was",
        DecisionReason.UNKNOWN_UUID,
        (
            f"UPDATE uuid_mappings SET lease_id = '{OTHER}'",
            image("uuid_mappings", '"lease_id":"', f'"lease_id":"{OTHER}","x":"'),
        ),
    ),
    Fault(
        "lease run out, not reaped",
        DecisionReason.UNKNOWN_UUID,
        ("UPDATE leases SET expires_at = '2001-02-03T04:05:06.000000Z'",),
    ),
    Fault("lease deleted", DecisionReason.UNKNOWN_UUID, ("DELETE FROM leases",)),
    Fault(
        "lease deleted, with its history",
        DecisionReason.UNKNOWN_UUID,
        ("DELETE FROM leases", "DELETE FROM events WHERE kind = 'leases'"),
    ),
    Fault(
        "lease in another namespace",
        DecisionReason.UNKNOWN_UUID,
        ("UPDATE leases SET namespace = 'other'",),
    ),
    *map(state, ("unloaded", "loading", "failed", "unloading", "open", "READY", "ready ", "")),
    Fault(
        "state null",
        DecisionReason.NOT_READY,
        ("UPDATE capsules SET state = NULL", image("capsules", '"state":"ready"', '"state":null')),
    ),
    *gone("capsule deleted", "DELETE FROM capsules", "DELETE FROM events WHERE kind = 'capsules'"),
    *gone(
        "capsule in another namespace",
        "UPDATE capsules SET namespace = 'other'",
        "UPDATE events SET namespace = 'other' WHERE kind = 'capsules'",
    ),
    Fault(
        "capsule made anew",
        DecisionReason.UNKNOWN_UUID,
        ("UPDATE capsules SET created_revision = 99",),
        LIVE,
    ),
    Fault(
        "grant of another generation",
        DecisionReason.NOT_GRANTED,
        ("UPDATE grants SET generation = generation - 1",),
        LIVE,
    ),
    Fault(
        "capsule a mere reservation",
        DecisionReason.NOT_REGISTERED,
        (
            f"UPDATE capsules SET {_RESERVE}",
            image("capsules", '"registered_revision":', '"registered_revision":null,"x":'),
        ),
    ),
    Fault(
        "grants deleted", DecisionReason.NOT_GRANTED, ("DELETE FROM grants", manifest("key", "yek"))
    ),
    Fault(
        "grant changed",
        DecisionReason.NOT_GRANTED,
        ("UPDATE grants SET value = CONCAT(value, 'x')", manifest("key", "keyx")),
    ),
    Fault(
        "grant empty",
        DecisionReason.NOT_GRANTED,
        ("UPDATE grants SET value = ''", manifest('"key"', '""')),
    ),
    Fault(
        "grant of another capability",
        DecisionReason.NOT_GRANTED,
        ("UPDATE grants SET capability = 'net'", manifest('"kv"', '"vk"')),
    ),
    Fault(
        "grant of another capsule",
        DecisionReason.NOT_GRANTED,
        ("UPDATE grants SET capsule_id = 'beta'",),
        LIVE,
    ),
    Fault(
        "grant in another namespace",
        DecisionReason.NOT_GRANTED,
        ("UPDATE grants SET namespace = 'other'",),
        LIVE,
    ),
    Fault("namespace deleted", NamespaceNotFoundError, ("DELETE FROM namespaces",)),
    Fault("namespace renamed", NamespaceNotFoundError, ("UPDATE namespaces SET name = 'other'",)),
    # What only past answers depend on.
    Fault("events deleted", DecisionReason.UNKNOWN_UUID, ("DELETE FROM events",), PAST),
    Fault("manifests deleted", DecisionReason.UNREADABLE, ("DELETE FROM manifests",), PAST),
    Fault("manifests empty", DecisionReason.UNREADABLE, ("UPDATE manifests SET text = ''",), PAST),
    Fault(
        "manifests no JSON", DecisionReason.UNREADABLE, ("UPDATE manifests SET text = '{'",), PAST
    ),
    Fault(
        "manifests of a number",
        DecisionReason.UNREADABLE,
        ("UPDATE manifests SET text = '1'",),
        PAST,
    ),
    Fault(
        "manifests too deep",
        DecisionReason.UNREADABLE,
        (f"UPDATE manifests SET text = '{_DEEP}'",),
        PAST,
    ),
    Fault("grants of a number", DecisionReason.UNREADABLE, (manifest('"key"', "1"),), PAST),
    *(
        Fault(
            f"images {name}",
            DecisionReason.UNREADABLE,
            (f"UPDATE events SET new_row = '{text}'",),
            PAST,
        )
        for name, text in (
            ("empty", ""),
            ("no JSON", "{"),
            ("of a number", "1"),
            ("of a list", "[]"),
            ("of nothing", "{}"),
            ("of null", "null"),
            ("too deep", _DEEP),
        )
    ),
    *(
        Fault(
            f"image with a {column} {name}",
            DecisionReason.UNREADABLE,
            (image(kind, f'"{column}":', f'"{column}":{text},"x":'),),
            PAST,
        )
        for kind, column in (("uuid_mappings", "lease_id"), ("uuid_mappings", "registered_at"))
        for name, text in (("that is a number", "1"), ("that is none", '"x"'), ("in a list", "[]"))
    ),
    lost_table("namespaces"),
    lost_table("uuid_mappings", LIVE),
    lost_table("leases"),
    lost_table("capsules", LIVE),
    lost_table("grants", LIVE),
    lost_table("events", PAST),
    lost_table("manifests", PAST),
    lost_column("namespaces", "revision", WAYS),
    lost_column("namespaces", "last_commit_at", LIVE),
    lost_column("uuid_mappings", "lease_id"),
    lost_column("leases", "expires_at", WAYS),
    lost_column("leases", "boot_id"),
    lost_column("capsules", "state"),
    lost_column("grants", "value"),
    lost_column("events", "new_row", PAST),
]
