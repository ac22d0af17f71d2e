"""Grants: which capsules may do what, as their manifests say."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from capsule_registry.errors import HistoryCorruptError, InvalidTextError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.rights import CAPABILITIES
from capsule_registry.models.records import CapsuleState, Grant
from capsule_registry.models.storable import storable_text
from capsule_registry.permissions.judgement import DecisionReason, Entry, judge
from capsule_registry.permissions.rules import RULES, is_understood
from capsule_registry.plain_values import plain_text
from capsule_registry.schema.tables import grants
from capsule_registry.unit_of_work.queries import Query, derived

if TYPE_CHECKING:
    from capsule_registry.unit_of_work.queries import Row, Scope


@cache
def _filtered(by: tuple[str, ...]) -> Query:
    return derived(grants, *by)


def _place(row: Row) -> tuple[int, ...]:
    """Return the sort key: the order of registration, then that in the manifest."""
    in_manifest = (CAPABILITIES.index(row["capability"]), row["position"])
    return (row["registered_revision"], row["capsule_position"], *in_manifest)


def askable(capability: str | None, value: str | None) -> tuple[str | None, str | None]:
    """
    Return the question, unless nothing can match it: an empty answer would read as "nobody may".

    Raises:
        InvalidTextError: *capability* is unknown, or *value* is malformed for it or not storable.
    """
    name = plain_text(capability)
    if capability is not None and name not in RULES:
        raise InvalidTextError("capability", "unknown", f"there is no {capability!r}")
    if name is not None and value is not None and not is_understood(name, value):
        raise InvalidTextError("value", "malformed", f"{value!r} is none of {name}")
    return name, storable_text("value", value)


def find(
    scope: Scope, *, capability: str | None, value: str | None, capsule_id: CapsuleId | None
) -> list[Grant]:
    """
    Return the grants, optionally of one capability or capsule, or that allow *value*.

    Raises:
        HistoryCorruptError: A row is not as the registry writes it.
    """
    wanted = {"capability": capability, "capsule_id": capsule_id}
    given = {name: text for name, text in wanted.items() if text is not None}
    found = scope.rows(_filtered(tuple(given)), **given)
    try:
        if value is not None:
            found = [row for row in found if _allows(row, value)]
        return [_grant(row) for row in sorted(found, key=_place)]
    except (KeyError, ValueError) as error:
        raise HistoryCorruptError("grants", f"a row cannot be read: {error}") from error


def _grant(row: Row) -> Grant:
    return Grant(
        capsule_id=CapsuleId(row["capsule_id"]),
        capability=row["capability"],
        value=row["value"],
        state=CapsuleState(row["state"]),
        matching=row["matching"],
        place=row["place"],
        read_by=row["read_by"],
        counts=row["counts"],
    )


def _allows(row: Row, value: str) -> bool:
    """Return whether that grant alone would allow a ready capsule the *value*."""
    entry = Entry(row["value"], row["matching"], row["counts"])
    return judge(row["capability"], [entry], value).why is DecisionReason.GRANTED
