"""Reading stored manifests anew: by another runtime's rules, or in their own form."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from capsule_registry.entities import capsules, derived_rows
from capsule_registry.errors import (
    CapsuleNotFoundError,
    InvalidManifestError,
    RuntimeRefusedError,
)
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.comparison import compared
from capsule_registry.manifest.readings import ORIGINAL
from capsule_registry.models.new_capsule import storable_manifest, tools_of_json
from capsule_registry.models.rights_change import RightsChange, changed_rights
from capsule_registry.schema import tables
from capsule_registry.unit_of_work.prepared_statements import batches
from capsule_registry.unit_of_work.queries import page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.unit_of_work.queries import Row, Scope
    from capsule_registry.unit_of_work.unit import Unit


_unread: Final = page(tables.capsules, "rules", columns=("id",))


class _Reread(NamedTuple):
    """A capsule's row, its manifest as it was and is read from now on, and what that changes."""

    row: Row
    before: CapsuleManifest
    manifest: CapsuleManifest
    change: RightsChange


def unread(scope: Scope, most: int) -> list[CapsuleId]:
    """Return the first capsules, at most so many, whose manifests earlier releases have read."""
    first = {"after_revision": 0, "after_position": 0, "most": most}
    return [CapsuleId(row["id"]) for row in scope.rows(_unread, rules=ORIGINAL, **first)]


def plan(
    scope: Scope, runtime_version: str | None, ids: Sequence[CapsuleId] | None = None
) -> list[RightsChange]:
    """
    Return what changes if the manifests are read anew by that runtime, in order of registration.

    Capsules that are read so already are left out.

    Args:
        scope: In which the capsules are registered.
        runtime_version: If `None`, each is read in its own form.
        ids: Of these capsules alone.

    Raises:
        CapsuleNotFoundError: One of *ids* is not registered.
        HistoryCorruptError: A row is not as the registry writes it.
    """
    return [one.change for one in _read_anew(scope, runtime_version, ids)]


def apply(unit: Unit, ids: Sequence[CapsuleId] | None = None) -> list[RightsChange]:
    """
    Carry out what `plan` returns, by the runtime of the unit's namespace.

    Raises:
        RuntimeRefusedError: That runtime refuses a manifest, or its own form does, so nothing was
            changed. Only what an earlier release has read stays as it is then.
    """
    found = [*_read_anew(unit, unit.runtime_version, ids)]
    refused = [one.change for one in found if one.change.problem is not None]
    # What an earlier release has read may stay as it was read; no other reading is left behind.
    lost = [one for one in refused if unit.runtime_version or one.rules != ORIGINAL]
    if lost:
        names = tuple(str(one.capsule_id) for one in lost)
        raise RuntimeRefusedError(unit.runtime_version, names, lost[0].problem)
    for one in found:
        if one.change.problem is None:
            _rewrite(unit, one)
    return [one.change for one in found]


def _read_anew(
    scope: Scope, runtime_version: str | None, ids: Sequence[CapsuleId] | None
) -> Iterator[_Reread]:
    wanted = capsules.ids(scope) if ids is None else ids
    for batch in batches(wanted):
        rows = {row["id"]: row for row in capsules.rows_of(scope, batch)}
        for capsule_id in batch:
            if capsule_id not in rows:
                raise CapsuleNotFoundError(str(capsule_id))
            found = _reread(rows[capsule_id], runtime_version)
            if found is not None:
                yield found


def _reread(row: Row, runtime_version: str | None) -> _Reread | None:
    """Return the capsule of *row* with its manifest read anew, unless it is read so already."""
    before = capsules.restored(row).manifest
    of_capsule = {"capsule_id": CapsuleId(row["id"]), "form": before.form, "rules": before.rules}
    try:
        after = storable_manifest(before.read_anew(runtime_version))
    except InvalidManifestError as error:
        problem = f"{error.message} [{error.rule}]"
        return _Reread(row, before, before, RightsChange(**of_capsule, problem=problem))
    if (after.form, after.rules) == (before.form, before.rules):
        return None
    gained, lost = changed_rights(before, after)
    read_as = {**of_capsule, "form": after.form, "rules": after.rules}
    return _Reread(row, before, after, RightsChange(**read_as, gained=gained, lost=lost))


def _rewrite(unit: Unit, found: _Reread) -> None:
    """Write the row and the derived rows of a capsule, whose generation stays."""
    row, manifest = found.row, found.manifest
    values: dict[str, Any] = {
        "manifest": manifest.to_json(),
        "form": manifest.form.value,
        "rules": manifest.rules,
        "modified_revision": unit.revision,
    }
    reported = tools_of_json(row["reported_tools"])
    difference = compared(found.before, manifest, reported=(reported, reported))
    unit.update(tables.capsules, row, values, "capsule.rederived", difference.to_json())
    derived_rows.rewrite(unit, row, manifest, reported)
    unit.log(logging.INFO, "Read capsule anew", capsule_id=str(row["id"]))
