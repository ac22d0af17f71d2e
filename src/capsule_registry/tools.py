"""Tools and grants: what a capsule's manifest says, as rows that can be searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, insert, select

from capsule_registry.candidates import grants_of
from capsule_registry.identifiers import CapsuleId
from capsule_registry.queries import Query, matching
from capsule_registry.records import Tool
from capsule_registry.tables import capsules, grants, tools

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capsule_registry.candidates import Candidate
    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.parts import ToolDef
    from capsule_registry.scope import Row, Scope
    from capsule_registry.unit import Unit

_WITH_ORDER = select(
    tools, capsules.c.registered_revision, capsules.c.position.label("capsule_position")
).join(
    capsules, and_(capsules.c.namespace == tools.c.namespace, capsules.c.id == tools.c.capsule_id)
)


def _unordered(*by: str) -> Query:
    return Query(tools, by, _WITH_ORDER.where(matching(tools, by)))


_all = _unordered()
_named = _unordered("name")
_of_capsule = _unordered("capsule_id")


def list_all(scope: Scope, capsule_id: str | None) -> list[Tool]:
    """Return the tools, or those of one capsule, in order of registration."""
    if capsule_id is None:
        return _records(scope.rows(_all))
    return _records(scope.rows(_of_capsule, capsule_id=capsule_id))


def find(scope: Scope, name: str) -> list[Tool]:
    """Return the tools of that name, in order of their capsules' registration."""
    return _records(scope.rows(_named, name=name))


def tool_rows(namespace: str, capsule_id: str, found: Iterable[ToolDef]) -> list[dict[str, Any]]:
    """Return the rows of the tools *found* of a capsule."""
    return [
        {
            "namespace": namespace,
            "capsule_id": capsule_id,
            "position": position,
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.input_schema,
        }
        for position, tool in enumerate(found)
    ]


def grant_rows(namespace: str, capsule_id: str, manifest: CapsuleManifest) -> list[dict[str, Any]]:
    """Return the rows of what *manifest* asks to be allowed."""
    return [
        {
            "namespace": namespace,
            "capsule_id": capsule_id,
            "capability": capability,
            "position": position,
            "value": value,
        }
        for capability, position, value in grants_of(manifest)
    ]


def project(unit: Unit, candidate: Candidate) -> None:
    """Write the rows of the tools and the grants of a capsule that is being registered."""
    if rows := tool_rows(unit.namespace, candidate.id, candidate.tools):
        unit.conn.execute(insert(tools), rows)
    if rows := grant_rows(unit.namespace, candidate.id, candidate.manifest):
        unit.conn.execute(insert(grants), rows)


def _records(found: Iterable[Row]) -> list[Tool]:
    # Put in order here: ordered by the database, it would walk all capsules for a few tools.
    rows = sorted(
        found,
        key=lambda row: (row["registered_revision"], row["capsule_position"], row["position"]),
    )
    return [
        Tool(
            capsule_id=CapsuleId(row["capsule_id"]),
            name=row["name"],
            description=row["description"],
            input_schema=row["input_schema"],
        )
        for row in rows
    ]
