"""
Row images: rows as the history stores them, in the same text on every database.

An image is canonical JSON of every column but the namespace and those marked `imaged: False`.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from capsule_registry.canonical_json import canonical_json, json_text
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

#: The tables whose rows have events, and the column that identifies a row.
SUBJECTS: Final[dict[Table, Column[Any]]] = {
    capsules: capsules.c.id,
    leases: leases.c.id,
    uplinks: uplinks.c.id,
    uuid_mappings: uuid_mappings.c.uuid,
}
#: What parsing a row can raise if another program wrote it.
UNREADABLE: Final = (HistoryCorruptError, OverflowError, RecursionError, TypeError, ValueError)
#: Convert values that JSON does not have to text.
_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    CanonicalJson: canonical_json,
    CanonicalUuid: str,
    UtcDateTime: time_text,
}
#: Convert that text back.
_READERS: Final[dict[type, Callable[[str], Any]]] = {
    CanonicalJson: json.loads,
    CanonicalUuid: UUID,
    UtcDateTime: datetime.fromisoformat,
}


def row_image(table: Table, row: Mapping[Any, Any]) -> str:
    """
    Return *row* as canonical JSON, as stored in events.

    Times, UUIDs and JSON columns are text, so only strings, integers, booleans and nulls occur.
    """
    members = []
    for name, write, omitted in _members(table):
        value = row.get(name)
        if value != omitted:
            text = value if write is None or value is None else write(value)
            members.append(f'"{name}":{json_text(text)}')
    return "{" + ",".join(members) + "}"


def row_of_image(table: Table, namespace: str, image: object) -> dict[str, Any]:
    """
    Return the row of *image*, with the Python values that a query of the table returns.

    Raises:
        HistoryCorruptError: *image* is not the image of a row of *table*.
    """
    try:
        values = json.loads(image) if isinstance(image, str) else None
        if not isinstance(values, dict):
            raise TypeError("it is no object")
        values = {**_omitted(table), **values}
        names = [column.name for column in _imaged(table)]
        if not values.keys() >= {*names}:
            raise ValueError("it lacks columns")
        row = {name: _value_of(table.c[name].type, values[name]) for name in names}
    except UNREADABLE as error:
        raise HistoryCorruptError(f"an image of {table.name}", repr(error)) from error
    return {"namespace": namespace, **row}


@cache
def _imaged(table: Table) -> Sequence[Column[Any]]:
    """Return the columns in images."""
    return [
        column
        for column in table.c
        if column.name != "namespace" and column.info.get("imaged", True)
    ]


@cache
def _omitted(table: Table) -> Mapping[str, object]:
    """Return the columns that images omit if they have a value, by name, and the values."""
    marked = (column for column in table.c if "imaged_unless" in column.info)
    return {column.name: column.info["imaged_unless"] for column in marked}


@cache
def _members(table: Table) -> Sequence[tuple[str, Callable[[Any], str] | None, object]]:
    """Return for each member of an image, in order, its name, writer and the value omitted."""
    nothing = object()
    return [
        (
            column.name,
            next(
                (write for kind, write in _WRITERS.items() if isinstance(column.type, kind)), None
            ),
            _omitted(table).get(column.name, nothing),
        )
        for column in sorted(_imaged(table), key=attrgetter("name"))
    ]


def _value_of(kind: object, value: Any) -> Any:  # noqa: ANN401 - any column's value
    read = _READERS.get(type(kind))
    if value is None or read is None:
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return read(value)
