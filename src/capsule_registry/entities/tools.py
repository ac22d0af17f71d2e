"""Tools: what the model may call, and which capsule offers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.entities import capsules, derived_rows
from capsule_registry.errors import CapsuleNotFoundError
from capsule_registry.manifest.comparison import compared
from capsule_registry.manifest.tools import ToolCatalogue
from capsule_registry.models.new_capsule import json_of_tools, tools_of_json
from capsule_registry.models.records import Tool
from capsule_registry.schema.tables import capsules as capsules_table
from capsule_registry.schema.tables import tools, unknown_tools
from capsule_registry.unit_of_work.queries import derived

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.manifest.parts import ToolDef
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.unit_of_work.queries import Scope
    from capsule_registry.unit_of_work.unit import Unit

_all = derived(tools)
_named = derived(tools, "name")
_of_capsule = derived(tools, "capsule_id")
_unknown = derived(unknown_tools, "capsule_id")


def list_all(scope: Scope, capsule_id: str | None) -> list[Tool]:
    """Return the tools, or those of one capsule, in order of registration."""
    if capsule_id is None:
        return derived_rows.records(Tool, scope.rows(_all))
    return derived_rows.records(Tool, scope.rows(_of_capsule, capsule_id=capsule_id))


def find(scope: Scope, name: str) -> list[Tool]:
    """Return the tools of that name, in order of their capsules' registration."""
    return derived_rows.records(Tool, scope.rows(_named, name=name))


def catalogue(scope: Scope, capsule_id: str) -> ToolCatalogue:
    """
    Return what is known of the capsule's tools.

    Raises:
        CapsuleNotFoundError: It is not registered.
    """
    if not capsules.is_registered(scope, capsule_id):
        raise CapsuleNotFoundError(capsule_id)
    if scope.rows(_unknown, capsule_id=capsule_id):
        return ToolCatalogue.UNKNOWN
    has_tools = bool(scope.rows(_of_capsule, capsule_id=capsule_id))
    return ToolCatalogue.KNOWN if has_tools else ToolCatalogue.NONE


def report(unit: Unit, capsule_id: CapsuleId, found: Sequence[ToolDef]) -> RegisteredCapsule:
    """
    File the tools that the capsule has reported; the same again changes nothing.

    Raises:
        CapsuleNotFoundError: It is not registered.
    """
    row = capsules.require_row(unit, capsule_id)
    before, text = tools_of_json(row["reported_tools"]), json_of_tools(found)
    record = capsules.restored(row)
    if text == row["reported_tools"]:
        return record
    values = {"reported_tools": text, "modified_revision": unit.revision}
    reported = before, [*found]
    changes = compared(record.manifest, record.manifest, reported=reported).to_json()
    unit.update(capsules_table, row, values, "capsule.tools_reported", changes)
    derived_rows.rewrite_tools(unit, row, record.manifest, found)
    return capsules.restored({**row, **values})
