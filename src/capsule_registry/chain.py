"""
What the history is made of: row images, lines, and the hashes that chain the revisions.

The lines of a revision are what `audit export` prints, and their SHA-256 is its hash, so that an
auditor checks it with `sha256sum`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from capsule_registry.canonical import canonical_json
from capsule_registry.dialects.types import CanonicalJson, time_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Table

#: The hash before revision 1.
GENESIS_HASH: Final = "0" * 64


def row_image(table: Table, row: Mapping[Any, Any] | None) -> str | None:
    """
    Return *row* as canonical JSON, as events hold it.

    Every column but the namespace and those marked `imaged: False`; times and UUIDs as text, and
    JSON columns as the text that they hold, so that only strings, integers, booleans and nulls
    are left and the bytes are the same everywhere.
    """
    if row is None:
        return None
    return canonical_json(
        {
            column.name: _image_value(column.type, row.get(column.name))
            for column in table.c
            if column.name != "namespace" and column.info.get("imaged", True)
        }
    )


def _image_value(kind: object, value: Any) -> Any:  # noqa: ANN401 - any column's value
    if isinstance(kind, CanonicalJson):
        return canonical_json(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return time_text(value)
    return value


def export_lines(
    incarnation: UUID, revision: Mapping[str, Any], events: Sequence[Mapping[str, Any]]
) -> list[str]:
    """
    Return the lines of a revision whose SHA-256, each line ended by a newline, is its hash.

    The header first, then one line per event, each canonical JSON. Row images stand in them as
    the texts that the table holds, so that what is hashed is what is stored.
    """
    header = {
        "actor": revision["actor"],
        "committed_at": time_text(revision["committed_at"]),
        "database_user": revision["database_user"],
        "event_count": revision["event_count"],
        "incarnation": str(incarnation),
        "namespace": revision["namespace"],
        "previous_hash": revision["previous_hash"],
        "reason": revision["reason"],
        "request_id": str(revision["request_id"]),
        "revision": revision["revision"],
    }
    names = (
        "revision",
        "position",
        "action",
        "kind",
        "subject",
        "capsule_id",
        "old_row",
        "new_row",
    )
    return [
        canonical_json(header),
        *(canonical_json({name: event[name] for name in names}) for event in events),
    ]
