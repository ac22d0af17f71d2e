"""Faults of columns that hold values the registry would never write there."""

from __future__ import annotations

from typing import Final

from capsule_registry import DecisionReason
from support.faults import OTHER, Expected, Fault
from support.standing import LIVE, PAST, WAYS


def stored(
    place: str, values: dict[str, str], expected: Expected, ways: tuple[str, ...]
) -> list[Fault]:
    """Return faults of a column that holds values the registry would never write there."""
    table, _, column = place.partition(".")
    return [
        Fault(f"{place} {name}", expected, (f"UPDATE {table} SET {column} = {value}",), ways)
        for name, value in values.items()
    ]


_WRONG_TYPES: Final = {"a number": "1e300", "a blob": "x'00'", "a word": "'never'", "empty": "''"}
_OTHER_TEXTS: Final = {"a number": "1e300", "a word": "'never'", "empty": "''"}
_BLOBS: Final = {"a blob": "x'00'", "a blob of it": "x'6b6579'"}
_WRONG_TIMES: Final = {
    **_WRONG_TYPES,
    "with a blank": "'2999-01-02 03:04:05.678901Z'",
    "without a zone": "'2999-01-02T03:04:05.678901'",
    "in another zone": "'2999-01-02T03:04:05.678901+00:00'",
    "in milliseconds": "'2999-01-02T03:04:05.678Z'",
    "a day": "'2999-01-02'",
    "beyond the calendar": "'9999-12-31T23:59:59.999999-14:00'",
    "before the calendar": "'0001-01-01T00:00:00.000000+14:00'",
    "of Arabic digits": "'\u0662999-01-02T03:04:05.678901Z'",
}
_ENDLESS: Final = {"endless": "'infinity'", "too late": "'20000-01-01'"}
_ZEROS: Final = {"zero": "'0000-00-00 00:00:00'", "no day": "'2999-02-00 00:00:00'"}
_WRONG_IDS: Final = {**_WRONG_TYPES, "a word": "'Never'", "a blob of it": "x'616c706861'"}
_OTHER_BOOTS: Final = {
    "another": f"'{OTHER}'",
    "a blob": "CAST(boot_id AS BLOB)",
}
_RESPELLED_LEASES: Final = {
    "in capitals": "UPPER(lease_id)",
    "in braces": "'{' || lease_id || '}'",
}
_RESPELLED_UUIDS: Final = {"in capitals": "UPPER(uuid)", "a blob": "CAST(uuid AS BLOB)"}
_NO_TEXT: Final = {"no UTF-8": "CAST(x'6b6579ff' AS TEXT)"}

#: Values that a file accepts once its tables are no longer strict.
ONLY_IN_FILES: Final = [
    Fault(
        "capsule gone alone",
        DecisionReason.UNKNOWN_UUID,
        ("DELETE FROM capsules WHERE id = 'alpha'",),
        LIVE,
    ),
    *stored("leases.expires_at", _WRONG_TIMES, DecisionReason.UNREADABLE, WAYS),
    *stored("namespaces.last_commit_at", _WRONG_TIMES, DecisionReason.UNREADABLE, LIVE),
    *stored(
        "leases.expires_uptime_ms",
        {**_WRONG_TYPES, "null": "NULL"},
        DecisionReason.UNREADABLE,
        LIVE,
    ),
    *stored(
        "leases.expires_uptime_ms", {"over": "0", "below": "-1"}, DecisionReason.UNKNOWN_UUID, LIVE
    ),
    *stored("leases.boot_id", _OTHER_BOOTS, DecisionReason.UNKNOWN_UUID, LIVE),
    *stored("namespaces.revision", _WRONG_TYPES, DecisionReason.UNREADABLE, WAYS),
    *stored("namespaces.revision", {"a blob of it": "x'35'"}, DecisionReason.UNREADABLE, WAYS),
    *stored("capsules.registered_revision", _WRONG_TYPES, DecisionReason.UNREADABLE, LIVE),
    *stored("capsules.state", _WRONG_TYPES, DecisionReason.UNREADABLE, LIVE),
    *stored("capsules.state", {"a blob of it": "x'7265616479'"}, DecisionReason.UNREADABLE, LIVE),
    *stored("grants.value", _OTHER_TEXTS, DecisionReason.NOT_GRANTED, LIVE),
    *stored("grants.value", _BLOBS, DecisionReason.UNREADABLE, LIVE),
    *stored(
        "uuid_mappings.lease_id", _WRONG_TYPES | _RESPELLED_LEASES, DecisionReason.UNREADABLE, LIVE
    ),
    *stored("uuid_mappings.capsule_id", _WRONG_IDS, DecisionReason.UNKNOWN_UUID, LIVE),
    *stored("uuid_mappings.uuid", _RESPELLED_UUIDS, DecisionReason.UNKNOWN_UUID, LIVE),
    *stored("capsules.state", _NO_TEXT, DecisionReason.UNREADABLE, LIVE),
    *stored("grants.value", _NO_TEXT, DecisionReason.UNREADABLE, LIVE),
    *stored("uuid_mappings.capsule_id", _NO_TEXT, DecisionReason.UNKNOWN_UUID, LIVE),
    *stored("leases.boot_id", _NO_TEXT, DecisionReason.UNREADABLE, LIVE),
    *stored("leases.expires_at", _NO_TEXT, DecisionReason.UNREADABLE, WAYS),
    *stored("manifests.text", _NO_TEXT, DecisionReason.UNREADABLE, PAST),
    *stored("manifests.text", {"a blob": "CAST(text AS BLOB)"}, DecisionReason.UNREADABLE, PAST),
    *stored("events.new_row", _NO_TEXT, DecisionReason.UNREADABLE, PAST),
    *stored("events.new_row", {"a blob": "CAST(new_row AS BLOB)"}, DecisionReason.UNREADABLE, PAST),
]


def retyped(place: str, kind: str, expected: Expected, ways: tuple[str, ...] = LIVE) -> Fault:
    """Return the fault of a column with a changed type, which cannot be undone."""
    table, _, column = place.partition(".")
    change = f"MODIFY {column} {kind}" if kind.isupper() else f"ALTER {column} TYPE {kind}"
    using = "" if kind.isupper() else f" USING {column}::{kind}"
    views = [f"DROP VIEW IF EXISTS {view} CASCADE" for view in ("live_uuids", "capability_grants")]
    return Fault(
        f"{place} as {kind}", expected, (*views, f"ALTER TABLE {table} {change}{using}"), ways
    )


#: Values that one server or the other accepts.
ONLY_ON_SERVERS: Final = {
    "postgresql": [
        *stored("leases.expires_at", _ENDLESS, DecisionReason.UNREADABLE, WAYS),
        *stored("namespaces.last_commit_at", _ENDLESS, DecisionReason.UNREADABLE, LIVE),
    ],
    "mariadb": [
        *stored("leases.expires_at", _ZEROS, DecisionReason.UNREADABLE, WAYS),
        *stored("namespaces.last_commit_at", _ZEROS, DecisionReason.UNREADABLE, LIVE),
    ],
}
#: Faults that cannot be undone there.
FOR_GOOD: Final = {
    "postgresql": [
        retyped("leases.expires_at", "text", DecisionReason.UNREADABLE, WAYS),
        retyped("namespaces.revision", "text", DecisionReason.UNREADABLE, ("registry",)),
        retyped("grants.value", "bytea", DecisionReason.UNREADABLE),
        retyped("uuid_mappings.uuid", "text", DecisionReason.UNREADABLE),
    ],
    "mariadb": [
        retyped("leases.expires_at", "VARCHAR(40)", DecisionReason.UNREADABLE, WAYS),
        retyped("namespaces.revision", "TEXT", DecisionReason.UNREADABLE, ("registry",)),
        retyped("grants.value", "VARBINARY(512)", DecisionReason.UNREADABLE),
        retyped("namespaces.last_commit_at", "TEXT", DecisionReason.UNREADABLE),
    ],
}
