"""The rows derived from a manifest, the same whenever they are derived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete

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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Table

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.parts import ToolDef
    from capsule_registry.unit_of_work.queries import Row
    from capsule_registry.unit_of_work.unit import Unit

    Values = list[dict[str, Any]]
    #: The tools that the object has reported, if it has.
    Reported = Sequence[ToolDef] | None


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
    return [{"position": position, **row} for position, row in enumerate(rows)]


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
    table: delete(table).where(
        and_(
            table.c.namespace == bindparam("namespace"),
            table.c.capsule_id == bindparam("capsule_id"),
        )
    )
    for table in DERIVED
}


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
    return [{**of_capsule, **values} for values in _MAKERS[table](manifest, reported)]


def write(unit: Unit, capsule: Row, manifest: CapsuleManifest, reported: Reported) -> None:
    """Write the derived rows of a *capsule*, which has none; see `derive`."""
    _write(unit, DERIVED, capsule, manifest, reported)


def rewrite_tools(unit: Unit, capsule: Row, manifest: CapsuleManifest, reported: Reported) -> None:
    """Write the rows of the tools anew that a *capsule* has reported."""
    _clear(unit, _OF_TOOLS, capsule["id"])
    _write(unit, _OF_TOOLS, capsule, manifest, reported)


def clear(unit: Unit, capsule_id: str) -> None:
    """Delete the derived rows of a capsule."""
    _clear(unit, DERIVED, capsule_id)


def _write(
    unit: Unit,
    tables: Sequence[Table],
    capsule: Row,
    manifest: CapsuleManifest,
    reported: Reported,
) -> None:
    owner = {**capsule, "namespace": unit.namespace}
    rows = {table: derive(table, owner, manifest, reported) for table in tables}
    for table, values in rows.items():
        unit.buffer.insert(table, values)


def _clear(unit: Unit, tables: Sequence[Table], capsule_id: str) -> None:
    parameters = {"namespace": unit.namespace, "capsule_id": capsule_id}
    for table in tables:
        unit.execute(_of_capsule[table], parameters)
