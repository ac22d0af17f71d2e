"""The rows derived from a manifest, the same whenever they are derived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import bindparam, delete, select, update

from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.artifacts import artifacts_of
from capsule_registry.manifest.handlers import handlers_of
from capsule_registry.manifest.matching import split_capability
from capsule_registry.manifest.readings import ORIGINAL
from capsule_registry.manifest.routes import routes_of
from capsule_registry.manifest.tools import ToolCatalogue, catalogue_of, tools_of
from capsule_registry.models.new_capsule import storable_rights
from capsule_registry.schema.tables import (
    artifacts,
    commands,
    exports,
    grants,
    imports,
    interceptors,
    provisions,
    requirements,
    routes,
    tools,
    unknown_tools,
)
from capsule_registry.unit_of_work.queries import Query, in_order, matching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pydantic import BaseModel
    from sqlalchemy import Table

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.parts import ToolDef
    from capsule_registry.unit_of_work.queries import Row
    from capsule_registry.unit_of_work.unit import Unit

    Values = list[dict[str, Any]]
    #: The tools that the object has reported, if it has.
    Reported = Sequence[ToolDef] | None

M = TypeVar("M", bound="BaseModel")


def _tools(manifest: CapsuleManifest, reported: Reported) -> Values:
    return _placed(tool._asdict() for tool in tools_of(manifest, reported))


def _unknown_tools(manifest: CapsuleManifest, reported: Reported) -> Values:
    return [{}] if catalogue_of(manifest, reported) is ToolCatalogue.UNKNOWN else []


def _routes(manifest: CapsuleManifest, _: object) -> Values:
    return _placed(
        {**route._asdict(), "matching": route.matching.value} for route in routes_of(manifest)
    )


def _commands(manifest: CapsuleManifest, _: object) -> Values:
    return _placed(
        {"name": one.name, "kind": one.kind.value, "description": one.description}
        for one in manifest.commands
        if manifest.rules != ORIGINAL
    )


def _imports(manifest: CapsuleManifest, _: object) -> Values:
    return _placed(
        {"interface": name, "requirement": one.version, "optional": one.optional}
        for name, one in manifest.all_imports
        if manifest.rules != ORIGINAL
    )


def _exports(manifest: CapsuleManifest, _: object) -> Values:
    return _placed(
        {"interface": name, "version": one.version}
        for name, one in manifest.all_exports
        if manifest.rules != ORIGINAL
    )


def _artifacts(manifest: CapsuleManifest, _: object) -> Values:
    return _placed(one._asdict() for one in artifacts_of(manifest))


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
    return _placed(handler._asdict() for handler in handlers_of(manifest))


def _provisions(manifest: CapsuleManifest, _: object) -> Values:
    return _capabilities(manifest.effective_provides)


def _requirements(manifest: CapsuleManifest, _: object) -> Values:
    return _capabilities(manifest.dependencies.requires)


def _capabilities(found: Sequence[str]) -> Values:
    return _placed({"kind": split_capability(one)[0], "capability": one} for one in found)


def _placed(rows: Iterable[dict[str, Any]]) -> Values:
    """Return *rows*, each with its place among them."""
    placed = [*rows]
    for position, row in enumerate(placed):
        row["position"] = position
    return placed


#: By table: derives its rows from a manifest and the tools that the object reported.
_MAKERS: Final[dict[Table, Callable[[CapsuleManifest, Reported], Values]]] = {
    tools: _tools,
    unknown_tools: _unknown_tools,
    grants: _grants,
    routes: _routes,
    interceptors: _interceptors,
    commands: _commands,
    imports: _imports,
    exports: _exports,
    artifacts: _artifacts,
    provisions: _provisions,
    requirements: _requirements,
}
DERIVED: Final = tuple(_MAKERS)
#: Those that depend on what the object has reported.
_OF_TOOLS: Final = (tools, unknown_tools)
_of_capsule: Final = {
    table: delete(table).where(matching(table, ["capsule_id"])) for table in DERIVED
}
_of_generation: Final = {
    table: update(table)
    .where(
        table.c.namespace == bindparam("of_namespace"),
        table.c.capsule_id == bindparam("of_capsule"),
    )
    .values(generation=bindparam("new_generation"))
    for table in DERIVED
    if "generation" in table.c
}
#: By table: the columns that a manifest decides.
_decided: Final = {
    table: [column for column in table.c if column.name not in ("namespace", "generation")]
    for table in DERIVED
}
#: The rows of a capsule, in the order in which they are derived.
_stored: Final = {
    table: Query(
        table,
        ("capsule_id",),
        select(*columns).where(matching(table, ["capsule_id"])).order_by(*table.primary_key),
    )
    for table, columns in _decided.items()
}


def records(kind: type[M], found: Iterable[Row]) -> list[M]:
    """Return derived rows as records of that *kind*, in order of registration."""
    names = [name for name in kind.model_fields if name != "capsule_id"]
    return [
        kind(capsule_id=CapsuleId(row["capsule_id"]), **{name: row[name] for name in names})
        for row in in_order(found)
    ]


def derive(
    table: Table, capsule: Row, manifest: CapsuleManifest, reported: Reported
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
    if "generation" in table.c:
        of_capsule["generation"] = capsule["generation"]
    rows = _MAKERS[table](manifest, reported)
    for row in rows:
        row.update(of_capsule)
    return rows


def write(unit: Unit, capsule: Row, manifest: CapsuleManifest, reported: Reported) -> None:
    """Write the derived rows of a *capsule*, which has none; see `derive`."""
    owner = {**capsule, "namespace": unit.namespace}
    rows = {table: derive(table, owner, manifest, reported) for table in DERIVED}
    for table, values in rows.items():
        unit.buffer.insert(table, values)


def rewrite(
    unit: Unit,
    capsule: Row,
    manifest: CapsuleManifest,
    reported: Reported,
    tables: Sequence[Table] = DERIVED,
) -> None:
    """
    Make the derived rows of a *capsule* those of its new *manifest*.

    A table whose rows are what they are to be, but for their generation, is left as it is: most of
    many rights stay. Whatever else stands there goes.
    """
    owner = {**capsule, "namespace": unit.namespace}
    wanted = {table: derive(table, owner, manifest, reported) for table in tables}
    # All reads come first, and then all deletions, so that the rest is written together.
    others = [table for table, rows in wanted.items() if not _is_there(unit, table, owner, rows)]
    clear(unit, owner["id"], others)
    for table in others:
        unit.buffer.insert(table, wanted[table])
    for table, statement in _of_generation.items():
        if wanted.get(table) and table not in others:
            names = ("of_namespace", "of_capsule", "new_generation")
            values = (unit.namespace, owner["id"], owner["generation"])
            unit.execute(statement, dict(zip(names, values, strict=True)))


def clear(unit: Unit, capsule_id: str, tables: Iterable[Table]) -> None:
    """Delete the derived rows of a capsule from *tables*."""
    for table in tables:
        unit.execute(_of_capsule[table], {"namespace": unit.namespace, "capsule_id": capsule_id})


def rewrite_tools(unit: Unit, capsule: Row, manifest: CapsuleManifest, reported: Reported) -> None:
    """Make the rows of the tools those that a *capsule* has reported."""
    rewrite(unit, capsule, manifest, reported, _OF_TOOLS)


def _is_there(unit: Unit, table: Table, capsule: Row, wanted: Values) -> bool:
    """Return whether the rows of the table are the *wanted* ones, but for their generation."""
    names = [column.name for column in _decided[table]]
    found = unit.values(_stored[table], capsule_id=capsule["id"])
    return found == [[row.get(name) for name in names] for row in wanted]
