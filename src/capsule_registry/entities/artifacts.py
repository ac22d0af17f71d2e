"""Artifacts: the files that capsules are made of, by their hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from capsule_registry.identifiers import CapsuleId
from capsule_registry.models.declarations import Artifact
from capsule_registry.schema.tables import artifacts
from capsule_registry.unit_of_work.queries import derived, in_order

if TYPE_CHECKING:
    from capsule_registry.unit_of_work.queries import Scope

_by_hash = derived(artifacts, "hash")
_FIELDS: Final = tuple(name for name in Artifact.model_fields if name != "capsule_id")


def find(scope: Scope, digest: str) -> list[Artifact]:
    """Return the artifacts with that hash, in order of registration."""
    return [
        Artifact(capsule_id=CapsuleId(row["capsule_id"]), **{name: row[name] for name in _FIELDS})
        for row in in_order(scope.rows(_by_hash, hash=digest))
    ]
