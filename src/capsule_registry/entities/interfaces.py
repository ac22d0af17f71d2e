"""Interfaces: which capsules export them to others, and which import them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from capsule_registry.entities.derived_rows import records
from capsule_registry.errors import HistoryCorruptError, SoleProviderError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.exporters import Exporters
from capsule_registry.manifest.readings import ORIGINAL
from capsule_registry.manifest.semver import SemverError
from capsule_registry.models.declarations import Export
from capsule_registry.models.records import Dependency, SharedInterface
from capsule_registry.schema.tables import exports, imports
from capsule_registry.unit_of_work.prepared_statements import batches
from capsule_registry.unit_of_work.queries import derived, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from capsule_registry.manifest.interfaces import ExportDef
    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.unit_of_work.queries import Query, Row, Scope

_imports = derived(imports)
_exports = derived(exports)
_imports_of = derived(imports, among=("interface",))
_exports_of = derived(exports, among=("interface",))


def all_rows(scope: Scope) -> tuple[list[Row], list[Row]]:
    """Return the rows of all imports, and of all exports, in order of registration."""
    return in_order(scope.rows(_imports)), in_order(scope.rows(_exports))


def exports_of(scope: Scope, interfaces: list[str]) -> Sequence[Row]:
    """Return the rows of the exports of *interfaces*."""
    return scope.rows(_exports_of, interface=interfaces)


def list_exports(scope: Scope) -> list[Export]:
    """Return the exports, in order of registration."""
    return records(Export, scope.rows(_exports))


def met(needs: Iterable[Row], offers: Sequence[Row]) -> list[Dependency]:
    """
    Return each import with the other capsules that export it in a version that it can use.

    Raises:
        HistoryCorruptError: A row has no version, or none of requirements.
    """
    with reading_versions():
        exporters = Exporters(
            (place, row["interface"], row["version"]) for place, row in enumerate(offers)
        )
        return [_met(row, exporters, offers) for row in needs]


def _met(row: Row, exporters: Exporters, offers: Sequence[Row]) -> Dependency:
    found = exporters.meeting(row["interface"], row["requirement"])
    others = dict.fromkeys(offers[place]["capsule_id"] for place in found)
    return Dependency(
        capsule_id=CapsuleId(row["capsule_id"]),
        requirement=row["interface"],
        providers=tuple(CapsuleId(one) for one in others if one != row["capsule_id"]),
        version=row["requirement"],
        optional=row["optional"],
    )


@contextmanager
def reading_versions() -> Iterator[None]:
    """Raise `HistoryCorruptError` if a row has no version where one should be."""
    try:
        yield
    except SemverError as error:
        raise HistoryCorruptError("imports and exports", str(error)) from error


def shared(offers: Iterable[Row]) -> Iterator[SharedInterface]:
    """Yield the interfaces that several capsules export, in order of registration."""
    by_interface: dict[str, dict[CapsuleId, None]] = {}
    for row in offers:
        by_interface.setdefault(row["interface"], {})[CapsuleId(row["capsule_id"])] = None
    for interface, capsule_ids in by_interface.items():
        if len(capsule_ids) > 1:
            yield SharedInterface(interface=interface, exporters=tuple(capsule_ids))


def require_other_providers(
    scope: Scope, leaving: Sequence[CapsuleManifest], coming: Sequence[CapsuleManifest] = ()
) -> None:
    """
    Require that nobody is left importing what only *leaving* capsules export.

    Whether an import is optional, and which version it wants, does not count. Source: astrid
    010d22d.

    Args:
        scope: In which they are registered still.
        leaving: The manifests of those that are removed or replaced.
        coming: The manifests that take their places, or are new.

    Raises:
        SoleProviderError: Somebody is; names the first interface.
    """
    ids = {manifest.package.name for manifest in leaving}
    lost = _lost(leaving, coming)
    for row in _rows(scope, _exports_of, lost):
        if row["capsule_id"] not in ids:
            lost.pop(row["interface"], None)
    importers = [
        (row["interface"], str(row["capsule_id"]))
        for row in in_order(_rows(scope, _imports_of, lost))
        if row["capsule_id"] not in ids
    ]
    importers += [
        (name, manifest.package.name) for manifest in coming for name, _ in manifest.all_imports
    ]
    for interface, capsule_id in lost.items():
        left = tuple(who for name, who in importers if name == interface and who != capsule_id)
        if left:
            raise SoleProviderError(capsule_id, interface, left)


def _lost(leaving: Iterable[CapsuleManifest], coming: Iterable[CapsuleManifest]) -> dict[str, str]:
    """Return what *leaving* ones export and *coming* ones do not, with the first who does."""
    lost: dict[str, str] = {}
    for manifest in leaving:
        for name, _ in _exported(manifest):
            lost.setdefault(name, manifest.package.name)
    for manifest in coming:
        for name, _ in manifest.all_exports:
            lost.pop(name, None)
    return lost


def _rows(scope: Scope, query: Query, interfaces: Iterable[str]) -> list[Row]:
    """Return the rows of *interfaces*."""
    return [row for some in batches([*interfaces]) for row in scope.rows(query, interface=[*some])]


def _exported(manifest: CapsuleManifest) -> list[tuple[str, ExportDef]]:
    """Return the exports that have rows: not those that an earlier release has read."""
    return [] if manifest.rules == ORIGINAL else manifest.all_exports
