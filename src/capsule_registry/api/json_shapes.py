"""
The documented JSON objects (`docs/command.md`), for the command and for services.

Each function returns one object, its members in documented order. Times are ISO 8601 in UTC; ids
and UUIDs are strings.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from pathlib import Path

    from capsule_registry import (
        Call,
        CapsuleId,
        CapsuleManifest,
        CapsuleSummary,
        Comparison,
        Discrepancy,
        Finding,
        Interceptor,
        NamespaceStatus,
        RegisteredCapsule,
        RegisteredUplink,
        RightsChange,
        SchemaStatus,
        Verification,
    )

    Json = dict[str, Any]


def by_fields(found: BaseModel | Discrepancy | Finding | SchemaStatus | Verification) -> Json:
    """
    Return *found* as an object of its fields.

    For a tool, command, route, export, artifact, session UUID, lease, decision, grant, change of
    rights, provision, dependency, boot order, revision, difference, sync step, verification or
    discrepancy of one, finding about a database or status of its schema.
    """
    if isinstance(found, BaseModel):
        return found.model_dump(mode="json")
    return asdict(found)


def capsule_summary(found: CapsuleSummary | RegisteredCapsule) -> Json:
    """Return a capsule without its manifest."""
    return found.model_dump(mode="json", exclude={"manifest", "manifest_text"})


def capsule(found: RegisteredCapsule) -> Json:
    """Return a capsule with its manifest, keyed as in the TOML file, and the manifest's text."""
    return found.model_dump(mode="json", by_alias=True)


def uplink(found: RegisteredUplink) -> Json:
    """Return an uplink and the capsule id it is filed under."""
    return {"capsule_id": found.capsule_id, **found.descriptor.model_dump(mode="json")}


def interceptor(found: Interceptor) -> Json:
    """Return a capsule's action for an event."""
    return {"capsule_id": found.capsule_id, "action": found.action}


def call(found: Call) -> Json:
    """Return a handler to call for a topic."""
    return {
        "capsule_id": found.capsule_id,
        "handler": found.handler,
        "priority": found.priority,
        "topic": found.topic,
        "mode": found.mode.value,
        "is_gated": found.is_gated,
    }


def party(capsule_id: CapsuleId) -> Json:
    """Return a capsule that publishes or hears a topic."""
    return {"capsule_id": capsule_id}


def comparison(found: Comparison) -> list[Json]:
    """Return a row for each entry that was added or removed."""
    sides = [("added", one) for one in found.added] + [("removed", one) for one in found.removed]
    return [{"change": side, **one.model_dump(mode="json")} for side, one in sides]


def registration(path: Path, manifest: CapsuleManifest | None, error: str | None) -> Json:
    """Return the outcome of registering one manifest."""
    return {
        "path": str(path),
        "id": manifest.package.name if manifest else None,
        "version": manifest.package.version if manifest else None,
        "error": error,
    }


def namespace(found: NamespaceStatus) -> Json:
    """Return a namespace and the head of its history."""
    return {
        "name": found.name,
        "revision": found.revision,
        "capsule_count": found.capsule_count,
        "head_hash": found.head_hash,
        "incarnation": str(found.incarnation),
        "runtime_version": found.runtime_version,
    }


def changed_rights(change: RightsChange) -> list[Json]:
    """Return a row for each right that a capsule gains or loses, or for what is refused."""
    rights = [("gained", one) for one in change.gained] + [("lost", one) for one in change.lost]
    rows = [{"change": word, **one.model_dump(mode="json")} for word, one in rights]
    if change.problem is not None:
        nothing = {"capability": None, "matching": None}
        rows.append({"change": "refused", "value": change.problem, **nothing})
    return [{"capsule_id": change.capsule_id, **row} for row in rows]
