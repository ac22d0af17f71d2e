"""Tools and grants: what a capsule's manifest says, as rows that can be searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, insert, select

from capsule_registry.candidates import grants_of
from capsule_registry.identifiers import CapsuleId
from capsule_registry.records import Tool
from capsule_registry.tables import capsules, grants, tools

if TYPE_CHECKING:
    from sqlalchemy import Select

    from capsule_registry.candidates import Candidate
    from capsule_registry.unit import Scope, Unit

_unordered = (
    select(tools, capsules.c.registered_revision, capsules.c.position.label("capsule_position"))
    .join(
        capsules,
        and_(capsules.c.namespace == tools.c.namespace, capsules.c.id == tools.c.capsule_id),
    )
    .where(tools.c.namespace == bindparam("namespace"))
)
_named = _unordered.where(tools.c.name == bindparam("name"))
_of_capsule = _unordered.where(tools.c.capsule_id == bindparam("capsule_id"))


def list_all(scope: Scope, capsule_id: str | None) -> list[Tool]:
    """Return the tools, or those of one capsule, in order of registration."""
    if capsule_id is None:
        return _records(scope, _unordered)
    return _records(scope, _of_capsule, capsule_id=capsule_id)


def find(scope: Scope, name: str) -> list[Tool]:
    """Return the tools of that name, in order of their capsules' registration."""
    return _records(scope, _named, name=name)


def project(unit: Unit, candidate: Candidate) -> None:
    """Write the rows of the tools and the grants of a capsule that is being registered."""
    tool_rows = [
        {
            "namespace": unit.namespace,
            "capsule_id": candidate.id,
            "position": position,
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.input_schema,
        }
        for position, tool in enumerate(candidate.tools)
    ]
    grant_rows = [
        {
            "namespace": unit.namespace,
            "capsule_id": candidate.id,
            "capability": capability,
            "position": position,
            "value": value,
        }
        for capability, position, value in grants_of(candidate.manifest)
    ]
    if tool_rows:
        unit.conn.execute(insert(tools), tool_rows)
    if grant_rows:
        unit.conn.execute(insert(grants), grant_rows)


def _records(scope: Scope, statement: Select[Any], **parameters: str) -> list[Tool]:
    parameters["namespace"] = scope.namespace
    found = scope.conn.execute(statement, parameters).mappings()
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
