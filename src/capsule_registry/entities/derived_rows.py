"""The rows derived from a manifest, the same whenever they are derived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete

from capsule_registry.manifest.handlers import handlers_of
from capsule_registry.manifest.matching import split_capability
from capsule_registry.models.new_capsule import merged_tools, storable_rights
from capsule_registry.schema.tables import grants, interceptors, provisions, requirements, tools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Table

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.parts import ToolDef
    from capsule_registry.unit_of_work.queries import Row
    from capsule_registry.unit_of_work.unit import Unit

    Values = list[dict[str, Any]]


def _tools(manifest: CapsuleManifest, reported: Sequence[ToolDef]) -> Values:
    return [
        {
            "position": position,
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.input_schema,
        }
        for position, tool in enumerate(merged_tools(manifest.tools, reported))
    ]


def _grants(manifest: CapsuleManifest, _: object) -> Values:
    return [
        {
            "capability": right.capability,
            "position": right.position,
            "value": right.value,
            "matching": right.matching.value,
            "place": right.place,
            "read_by": right.read_by,
            "counts": right.counts,
        }
        for right in storable_rights(manifest)
    ]


def _interceptors(manifest: CapsuleManifest, _: object) -> Values:
    return [
        {"position": position, "event": event, "action": action, "priority": priority}
        for position, (event, action, priority) in enumerate(handlers_of(manifest))
    ]


def _provisions(manifest: CapsuleManifest, _: object) -> Values:
    return _capabilities(manifest.effective_provides)


def _requirements(manifest: CapsuleManifest, _: object) -> Values:
    return _capabilities(manifest.dependencies.requires)


def _capabilities(found: Sequence[str]) -> Values:
    parts = [*map(split_capability, found)]
    return [
        {"position": position, "kind": kind, "capability": found[position]}
        for position, (kind, _) in enumerate(parts)
    ]


#: By table: derives its rows from a manifest and the tools that the object reported.
_MAKERS: Final[dict[Table, Callable[[CapsuleManifest, Sequence[ToolDef]], Values]]] = {
    tools: _tools,
    grants: _grants,
    interceptors: _interceptors,
    provisions: _provisions,
    requirements: _requirements,
}
DERIVED: Final = tuple(_MAKERS)
_of_capsule: Final = {
    table: delete(table).where(
        and_(
            table.c.namespace == bindparam("namespace"),
            table.c.capsule_id == bindparam("capsule_id"),
        )
    )
    for table in DERIVED
}


def derive(
    table: Table, capsule: Row, manifest: CapsuleManifest, reported: Sequence[ToolDef]
) -> list[dict[str, Any]]:
    """
    Return the rows of *table* derived from *manifest* and the tools *reported*.

    Args:
        table: One of `DERIVED`.
        capsule: The namespace, id and generation of the capsule that they belong to.
        manifest: The capsule's.
        reported: The tools that its object reported.
    """
    of_capsule = {"namespace": capsule["namespace"], "capsule_id": capsule["id"]}
    if table is grants:
        of_capsule["generation"] = capsule["generation"]
    return [{**of_capsule, **values} for values in _MAKERS[table](manifest, reported)]


def write(unit: Unit, capsule: Row, manifest: CapsuleManifest, reported: Sequence[ToolDef]) -> None:
    """Write the derived rows of a *capsule*, which has none; see `derive`."""
    owner = {**capsule, "namespace": unit.namespace}
    rows = {table: derive(table, owner, manifest, reported) for table in DERIVED}
    for table, values in rows.items():
        unit.buffer.insert(table, values)


def clear(unit: Unit, capsule_id: str) -> None:
    """Delete the derived rows of a capsule."""
    parameters = {"namespace": unit.namespace, "capsule_id": capsule_id}
    for statement in _of_capsule.values():
        unit.execute(statement, parameters)
