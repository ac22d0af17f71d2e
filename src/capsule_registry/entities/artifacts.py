"""Artifacts: the files that capsules are made of, by their hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.entities.derived_rows import records
from capsule_registry.models.declarations import Artifact
from capsule_registry.schema.tables import artifacts
from capsule_registry.unit_of_work.queries import derived

if TYPE_CHECKING:
    from capsule_registry.unit_of_work.queries import Scope

_by_hash = derived(artifacts, "hash")


def find(scope: Scope, digest: str) -> list[Artifact]:
    """Return the artifacts with that hash, in order of registration."""
    return records(Artifact, scope.rows(_by_hash, hash=digest))
