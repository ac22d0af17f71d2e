"""Desired state: what has to change so that exactly the capsules of a directory are registered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from capsule_registry.entities import capsules
from capsule_registry.errors import CapsuleRegistryError, InvalidManifestError
from capsule_registry.identifiers import CapsuleId, is_capsule_id
from capsule_registry.manifest.discovery import dangling, discover
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.manifest.toml_document import parse_document, read_text
from capsule_registry.models.new_capsule import Candidate
from capsule_registry.models.uplink import UplinkSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike
    from pathlib import Path

    from capsule_registry.unit_of_work.scope import Row, Scope


class SyncAction(StrEnum):
    """What is to be done with a capsule, or was."""

    REGISTER = "register"
    REPLACE = "replace"
    UNREGISTER = "unregister"
    KEEP = "keep"
    #: A manifest that cannot be used; its capsule, registered or not, stays as it is.
    REFUSE = "refuse"


class SyncStep(BaseModel):
    """One capsule, what becomes of it, and the digests of its manifest before and after."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: SyncAction
    capsule_id: CapsuleId | None = None
    path: str | None = None
    before: str | None = None
    after: str | None = None
    #: Why a manifest is refused, or why a capsule that is not in the directory stays.
    problem: str | None = None


class SyncPlan(BaseModel):
    """What was done, or would be: refusals first, then removals, then the manifests by path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: tuple[SyncStep, ...]

    @property
    def changes(self) -> tuple[SyncStep, ...]:
        """The steps that change something."""
        idle = (SyncAction.KEEP, SyncAction.REFUSE)
        return tuple(step for step in self.steps if step.action not in idle)

    @property
    def ok(self) -> bool:
        """Say whether every manifest could be used, and nothing was held back for one that not."""
        return all(step.problem is None for step in self.steps)


@dataclass(frozen=True, slots=True)
class _Lying:
    """A capsule as it lies in a directory."""

    manifest: CapsuleManifest
    source_dir: Path


@dataclass(slots=True)
class Desired:
    """What a directory says."""

    #: The capsules, by path.
    candidates: dict[Path, Candidate] = field(default_factory=dict)
    #: The manifests that cannot be used, why, and whose they are as far as that can be told.
    refused: dict[Path, tuple[str, CapsuleId | None]] = field(default_factory=dict)

    @property
    def by_id(self) -> Mapping[str, Candidate]:
        """The candidates by id."""
        return {one.id: one for one in self.candidates.values()}


def read(directory: str | PathLike[str]) -> Desired:
    """
    Read every manifest at *directory*; those that cannot be used are kept apart.

    Raises:
        OSError: *directory* cannot be listed.
    """
    desired = Desired()
    for path in sorted({*discover(directory), *dangling(directory)}):
        try:
            manifest = CapsuleManifest.load(path)
            found = Candidate.of(_Lying(manifest, path.parent.resolve()))
            if manifest.uplinks:
                UplinkSource.wasm(found.id)
            desired.candidates[path] = replace(found, instance=manifest)
        except CapsuleRegistryError as error:
            desired.refused[path] = (str(error), _named(path))
    _refuse_duplicates(desired)
    return desired


def plan(scope: Scope, desired: Desired, *, prune: bool) -> SyncPlan:
    """Return what has to be done to what is registered in *scope*."""
    registered = {row["id"]: row for row in capsules.outlines(scope)}
    refusals = [
        SyncStep(action=SyncAction.REFUSE, capsule_id=one, path=str(path), problem=problem)
        for path, (problem, one) in desired.refused.items()
    ]
    removals = [*_removals(registered, desired)] if prune else []
    wanted = [
        _step(registered.get(candidate.id), path, candidate)
        for path, candidate in desired.candidates.items()
    ]
    return SyncPlan(steps=(*refusals, *removals, *wanted))


def _named(path: Path) -> CapsuleId | None:
    """Return the id that a manifest names, though it cannot be used."""
    try:
        name = parse_document(read_text(path), path)["package"]["name"]
    except (InvalidManifestError, KeyError, TypeError):
        return None
    return CapsuleId(name) if isinstance(name, str) and is_capsule_id(name) else None


def _refuse_duplicates(desired: Desired) -> None:
    """Refuse all manifests of one id: which of them is meant is not guessed."""
    paths: dict[str, list[Path]] = {}
    for path, (_, capsule_id) in desired.refused.items():
        if capsule_id is not None:
            paths.setdefault(capsule_id, []).append(path)
    for path, candidate in desired.candidates.items():
        paths.setdefault(candidate.id, []).append(path)
    for path, candidate in [*desired.candidates.items()]:
        others = ", ".join(str(other) for other in paths[candidate.id] if other != path)
        if others:
            problem = f"{candidate.id} is at {others} too"
            error = InvalidManifestError(path, "duplicate_id", problem)
            desired.refused[path] = (str(error), candidate.id)
            del desired.candidates[path]


def _removals(registered: Mapping[str, Row], desired: Desired) -> Iterator[SyncStep]:
    present = {*desired.by_id, *(one for _, one in desired.refused.values() if one)}
    places = {str(path.parent.resolve()) for path in desired.refused}
    # A directory that a capsule has left tells nothing of whose the manifest there is.
    known = {row["source_dir"] for one, row in registered.items() if one not in present}
    nameless = [
        path
        for path, (_, one) in desired.refused.items()
        if one is None and str(path.parent.resolve()) not in known
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


def _step(row: Row | None, path: Path, candidate: Candidate) -> SyncStep:
    before, after = row and row["manifest_digest"], candidate.digest
    if row is None:
        action = SyncAction.REGISTER
    else:
        action = SyncAction.KEEP if before == after else SyncAction.REPLACE
    return SyncStep(
        action=action, capsule_id=candidate.id, path=str(path), before=before, after=after
    )
