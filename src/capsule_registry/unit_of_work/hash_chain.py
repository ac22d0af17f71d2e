"""
What the history is made of: row images, lines, and the hashes that chain the revisions.

The lines of a revision are what `audit export` prints, and their SHA-256 is its hash, so that an
auditor checks it with `sha256sum`.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from capsule_registry.canonical_json import canonical_json
from capsule_registry.database.dialects.types import (
    CanonicalJson,
    CanonicalUuid,
    UtcDateTime,
    time_text,
)
from capsule_registry.errors import HistoryCorruptError
from capsule_registry.schema.tables import capsules, leases, uplinks, uuid_mappings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Column, Table

#: The tables whose rows have events, and the column that names the row.
SUBJECTS: Final[dict[Table, Column[Any]]] = {
    capsules: capsules.c.id,
    leases: leases.c.id,
    uplinks: uplinks.c.id,
    uuid_mappings: uuid_mappings.c.uuid,
}
#: What reading may end in where somebody wrote what the registry never does.
UNREADABLE: Final = (
    AttributeError,
    HistoryCorruptError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
#: What images show of values that are no JSON.
_TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    CanonicalJson: canonical_json,
    CanonicalUuid: str,
    UtcDateTime: time_text,
}
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
    get = row.get
    image = {name: get(name) for name in _imaged(table)}
    for name, write in _written(table):
        if image[name] is not None:
            image[name] = write(image[name])
    return canonical_json(image)


@cache
def _imaged(table: Table) -> Sequence[str]:
    """Return the names of the columns that images show."""
    return [
        column.name
        for column in table.c
        if column.name != "namespace" and column.info.get("imaged", True)
    ]


@cache
def _written(table: Table) -> Sequence[tuple[str, Callable[[Any], str]]]:
    """Return the columns of those whose values are no JSON, and what makes texts of them."""
    columns = [table.c[name] for name in _imaged(table)]
    return [
        (column.name, write)
        for column in columns
        for kind, write in _TEXTS.items()
        if isinstance(column.type, kind)
    ]


def row_of_image(table: Table, namespace: str, image: str) -> dict[str, Any]:
    """
    Return the row that *image* shows, with the Python values that the table gives.

    Raises:
        HistoryCorruptError: It is no image of a row of *table*.
    """
    try:
        values = json.loads(_text_only(image))
        row = {name: _value_of(table.c[name].type, values[name]) for name in _imaged(table)}
    except UNREADABLE as error:
        raise HistoryCorruptError(f"an image of {table.name}", repr(error)) from error
    return {"namespace": namespace, **row}


def _text_only(image: object) -> str:
    if not isinstance(image, str):
        raise TypeError("it is no text")
    return image


def _value_of(kind: object, value: Any) -> Any:  # noqa: ANN401 - any column's value
    if value is None:
        return None
    if isinstance(kind, CanonicalJson):
        return json.loads(value)
    if isinstance(kind, CanonicalUuid):
        return UUID(value)
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(value)
    return value


def export_lines(
    incarnation: UUID, revision: Mapping[Any, Any], events: Sequence[Mapping[Any, Any]]
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
    return [canonical_json(header), *map(event_line, events)]


def event_line(event: Mapping[Any, Any]) -> str:
    """Return the line of an event: canonical JSON, put together by hand since there are many."""
    return (
        f'{{"action":{_text(event["action"])},"capsule_id":{_text(event["capsule_id"])},'
        f'"kind":{_text(event["kind"])},"new_row":{_text(event["new_row"])},'
        f'"old_row":{_text(event["old_row"])},"position":{event["position"]},'
        f'"revision":{event["revision"]},"subject":{_text(event["subject"])}}}'
    )


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring(value)
