"""Desired state: the changes after which exactly the capsules of some manifests are registered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from capsule_registry.entities import (
    capsules,
    interfaces,
    registration,
    session_uuids,
    unregistration,
)
from capsule_registry.errors import CapsuleRegistryError, InvalidManifestError, NewRightsError
from capsule_registry.identifiers import CapsuleId, is_capsule_id
from capsule_registry.manifest.discovery import dangling, discover
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.manifest.toml_document import parse_document, read_text
from capsule_registry.models.comparison import Comparison
from capsule_registry.models.new_capsule import NewCapsule
from capsule_registry.unit_of_work.prepared_statements import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike
    from pathlib import Path
    from uuid import UUID

    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.unit_of_work.queries import Row, Scope
    from capsule_registry.unit_of_work.unit import Unit

    #: Where a manifest is, or what it is called.
    Place = Path | str


class SyncAction(StrEnum):
    """What a sync does with a capsule."""

    REGISTER = "register"
    REPLACE = "replace"
    UNREGISTER = "unregister"
    KEEP = "keep"
    #: A manifest that cannot be used; its capsule, registered or not, stays as it is.
    REFUSE = "refuse"


class SyncStep(BaseModel):
    """What a sync does with one capsule, and its manifest's digests before and after."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    action: SyncAction
    capsule_id: CapsuleId | None = None
    path: str | None = None
    before: str | None = None
    after: str | None = None
    #: Why a manifest is refused, or why a capsule missing from the directory stays.
    problem: str | None = None
    #: What the manifest adds to the one before, rights first, and removes.
    changes: Comparison = Comparison()


class SyncPlan(BaseModel):
    """What was done, or would be: refusals first, then removals, then the manifests by path."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    steps: tuple[SyncStep, ...]

    @property
    def changes(self) -> tuple[SyncStep, ...]:
        """The steps that change something."""
        idle = (SyncAction.KEEP, SyncAction.REFUSE)
        return tuple(step for step in self.steps if step.action not in idle)

    def refuse_new_rights(self) -> None:
        """
        Refuse the plan if a capsule would have a right that it has not now.

        Raises:
            NewRightsError: Names the capsules.
        """
        names = [str(step.capsule_id) for step in self.changes if step.changes.added_rights]
        if names:
            raise NewRightsError(tuple(names))

    @property
    def ok(self) -> bool:
        """Whether every manifest is usable, and so no removal was held back."""
        return all(step.problem is None for step in self.steps)


@dataclass(slots=True)
class Applied:
    """The result of a sync: its plan, the capsules registered or replaced, and those removed."""

    plan: SyncPlan
    made: list[tuple[RegisteredCapsule, NewCapsule]] = field(default_factory=list)
    removed: list[RegisteredCapsule] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _InDirectory:
    """A capsule as found in a directory."""

    manifest: CapsuleManifest
    source_dir: Path


@dataclass(slots=True)
class Desired:
    """The state that a set of manifests describes."""

    #: The usable capsules, by path.
    capsules: dict[Place, NewCapsule] = field(default_factory=dict)
    #: The unusable manifests: why, and the capsule's id if it is known.
    refused: dict[Place, tuple[str, CapsuleId | None]] = field(default_factory=dict)
    #: The directories of manifests, where there are any.
    source_dirs: dict[Place, Path] = field(default_factory=dict)

    def source_dir_of(self, place: Place) -> str | None:
        """Return the directory of the manifest at *place*, as it is stored with a capsule."""
        found = self.source_dirs.get(place)
        return None if found is None else str(found)

    @property
    def by_id(self) -> Mapping[str, NewCapsule]:
        """The capsules by id."""
        return {one.id: one for one in self.capsules.values()}


def read(directory: str | PathLike[str], runtime_version: str | None = None) -> Desired:
    """
    Read every manifest at *directory* as that runtime does; unusable ones are kept apart.

    Raises:
        OSError: *directory* does not exist or cannot be listed.
    """
    desired = Desired()
    for path in sorted({*discover(directory), *dangling(directory)}):
        desired.source_dirs[path] = path.parent.resolve()
        _add(desired, path, partial(read_text, path), runtime_version)
    _refuse_duplicates(desired)
    return desired


def given(texts: Mapping[str, str], runtime_version: str | None = None) -> Desired:
    """Read manifests of no directory, by what they are called, as `read` does."""
    desired = Desired()
    for name, text in sorted(texts.items()):
        _add(desired, name, partial(str, text), runtime_version)
    _refuse_duplicates(desired)
    return desired


def _add(
    desired: Desired, path: Place, read_it: Callable[[], str], runtime_version: str | None
) -> None:
    """Add a manifest to what is *desired*, or to what is refused."""
    text, source_dir = "", desired.source_dirs.get(path)
    try:
        text = read_it()
        manifest = CapsuleManifest.parse(text, path=path, runtime_version=runtime_version)
        found = NewCapsule.of(
            manifest if source_dir is None else _InDirectory(manifest, source_dir)
        )
        desired.capsules[path] = replace(found, instance=manifest)
    except CapsuleRegistryError as error:
        desired.refused[path] = (str(error), _named(text, path))


def plan(scope: Scope, desired: Desired, *, prune: bool) -> SyncPlan:
    """Return the steps from what is registered in *scope* to what is *desired*."""
    registered = {row["id"]: row for row in capsules.outlines(scope)}
    refusals = [
        SyncStep(action=SyncAction.REFUSE, capsule_id=one, path=str(path), problem=problem)
        for path, (problem, one) in desired.refused.items()
    ]
    removals = [*_removals(registered, desired)] if prune else []
    wanted = [_step(registered.get(new.id), path, new) for path, new in desired.capsules.items()]
    steps = [*_with_changes(scope, desired, wanted)]
    return SyncPlan(steps=(*refusals, *removals, *steps))


def _with_changes(scope: Scope, desired: Desired, steps: Iterable[SyncStep]) -> Iterator[SyncStep]:
    """Yield *steps*, those that change something with what that is."""
    by_id = desired.by_id
    for some in batches([*steps]):
        old = _manifests_of(scope, [one for one in some if one.action is SyncAction.REPLACE])
        for step in some:
            if step.action is SyncAction.KEEP or step.capsule_id is None:
                yield step
                continue
            new = by_id[step.capsule_id].manifest
            changes = Comparison.of_manifests(old.get(step.capsule_id), new)
            yield step.model_copy(update={"changes": changes})


def _manifests_of(scope: Scope, steps: Iterable[SyncStep]) -> dict[str, CapsuleManifest]:
    """Return the registered manifests of those capsules, by id."""
    ids = [one.capsule_id for one in steps if one.capsule_id]
    rows = (row for some in batches(ids) for row in capsules.rows_of(scope, some))
    return {row["id"]: capsules.restored(row).manifest for row in rows}


def apply(
    unit: Unit, desired: Desired, planned: SyncPlan, new_uuid: Callable[[], UUID], *, force: bool
) -> Applied:
    """
    Carry out what is *planned* for the state of this unit.

    Raises:
        SoleProviderError: Others import what nobody would export; unless it is to *force*.
    """
    by_id = desired.by_id
    applied = Applied(planned)
    if not force:
        _require_exported_still(unit, by_id, planned)
    for action, steps in groupby(planned.changes, key=attrgetter("action")):
        ids = [CapsuleId(step.capsule_id or "") for step in steps]
        if action is SyncAction.UNREGISTER:
            applied.removed += [unregistration.unregister(unit, one) for one in ids]
            continue
        new = [by_id[one] for one in ids]
        if action is SyncAction.REGISTER:
            records = registration.register_many(unit, new, new_uuid)
        else:
            records = [_replace(unit, one, new_uuid) for one in new]
        applied.made += zip(records, new, strict=True)
    return applied


def _require_exported_still(unit: Unit, by_id: Mapping[str, NewCapsule], planned: SyncPlan) -> None:
    """Require that nobody is left importing what nobody exports, once all is done."""
    leaving = (SyncAction.UNREGISTER, SyncAction.REPLACE)
    old = _manifests_of(unit, [one for one in planned.changes if one.action in leaving])
    coming = [by_id[one.capsule_id or ""] for one in planned.changes if one.path is not None]
    interfaces.require_other_providers(unit, [*old.values()], [one.manifest for one in coming])


def _replace(unit: Unit, new: NewCapsule, new_uuid: Callable[[], UUID]) -> RegisteredCapsule:
    session_uuids.retire(unit, new.id, ())
    old = registration.Predecessor.of(capsules.require_row(unit, new.id))
    return registration.replace(unit, old, new, new_uuid)


def _named(text: str, path: Place) -> CapsuleId | None:
    """Return the id that an unusable manifest names, if any."""
    try:
        name = parse_document(text, path).values["package"]["name"]
    except (InvalidManifestError, KeyError, TypeError):
        return None
    return CapsuleId(name) if isinstance(name, str) and is_capsule_id(name) else None


def _refuse_duplicates(desired: Desired) -> None:
    """Refuse all manifests that share an id, rather than guess which is meant."""
    paths: dict[str, list[Place]] = {}
    for path, (_, capsule_id) in desired.refused.items():
        if capsule_id is not None:
            paths.setdefault(capsule_id, []).append(path)
    for path, new in desired.capsules.items():
        paths.setdefault(new.id, []).append(path)
    for path, new in [*desired.capsules.items()]:
        others = ", ".join(str(other) for other in paths[new.id] if other != path)
        if others:
            problem = f"{new.id} is at {others} too"
            error = InvalidManifestError(path, "duplicate_id", problem)
            desired.refused[path] = (str(error), new.id)
            del desired.capsules[path]


def _removals(registered: Mapping[str, Row], desired: Desired) -> Iterator[SyncStep]:
    present = {*desired.by_id, *(one for _, one in desired.refused.values() if one)}
    places = {*map(desired.source_dir_of, desired.refused)} - {None}
    # The old directory of a capsule that has moved does not tell whose manifest it now holds.
    known = {row["source_dir"] for one, row in registered.items() if one not in present} - {None}
    nameless = [
        path
        for path, (_, one) in desired.refused.items()
        if one is None and desired.source_dir_of(path) not in known
    ]
    for capsule_id, row in registered.items():
        if capsule_id in present or row["source_dir"] in places:
            continue
        problem = f"it may be what {nameless[0]} is to say" if nameless else None
        yield SyncStep(
            action=SyncAction.KEEP if problem else SyncAction.UNREGISTER,
            capsule_id=CapsuleId(capsule_id),
            before=row["manifest_digest"],
            problem=problem,
        )


def _step(row: Row | None, path: Place, new: NewCapsule) -> SyncStep:
    before, after = row and row["manifest_digest"], new.digest
    if row is None:
        action = SyncAction.REGISTER
    else:
        action = SyncAction.KEEP if before == after else SyncAction.REPLACE
    return SyncStep(action=action, capsule_id=new.id, path=str(path), before=before, after=after)
