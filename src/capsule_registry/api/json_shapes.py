"""
The documented JSON of everything (`docs/command.md`): the command prints it, and so may a service.

Each function returns one object, whose members stand in the order of the documentation. Times are
ISO 8601 in UTC; ids and UUIDs are texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from capsule_registry import (
        BootOrder,
        CapsuleManifest,
        CapsuleSummary,
        Decision,
        Discrepancy,
        Finding,
        Grant,
        Interceptor,
        Lease,
        NamespaceStatus,
        Provision,
        RegisteredCapsule,
        RegisteredUplink,
        RegisteredUuid,
        Revision,
        SchemaStatus,
        SyncStep,
        Tool,
    )

    Json = dict[str, Any]


def capsule_summary(found: CapsuleSummary | RegisteredCapsule) -> Json:
    """Return a capsule without its manifest."""
    return found.model_dump(mode="json", exclude={"manifest", "manifest_text"})


def capsule(found: RegisteredCapsule) -> Json:
    """Return a capsule with its manifest, under the names of the TOML file, and its text."""
    return found.model_dump(mode="json", by_alias=True)


def uplink(found: RegisteredUplink) -> Json:
    """Return an uplink and the capsule that it is filed under."""
    return {"capsule_id": found.capsule_id, **found.descriptor.model_dump(mode="json")}


def tool(found: Tool) -> Json:
    """Return a tool and the capsule that offers it."""
    return found.model_dump(mode="json")


def session_uuid(found: RegisteredUuid) -> Json:
    """Return a session UUID, the capsule that it is filed under, and its lease."""
    return found.model_dump(mode="json")


def lease(found: Lease) -> Json:
    """Return a lease."""
    return found.model_dump(mode="json")


def decision(found: Decision) -> Json:
    """Return whether a sender may, why, and as of which revision."""
    return found.model_dump(mode="json")


def grant(found: Grant) -> Json:
    """Return one thing that a capsule may do."""
    return found.model_dump(mode="json")


def interceptor(found: Interceptor) -> Json:
    """Return an action that an event calls for."""
    return {"capsule_id": found.capsule_id, "action": found.action}


def provision(found: Provision) -> Json:
    """Return a capability that a capsule offers to others."""
    return found.model_dump(mode="json")


def boot_order(found: BootOrder) -> Json:
    """Return in which order capsules start, what nobody provides, and any circle."""
    return found.model_dump(mode="json")


def revision(found: Revision) -> Json:
    """Return a revision with its events."""
    return found.model_dump(mode="json")


def difference(change: str, kind: str, name: str, before: str | None, after: str | None) -> Json:
    """Return what differs between two moments in one thing that is registered."""
    return {"change": change, "kind": kind, "id": name, "before": before, "after": after}


def discrepancy(found: Discrepancy) -> Json:
    """Return one thing that is not as the history says."""
    return {"where": found.where, "problem": found.problem}


def registration(path: Path, manifest: CapsuleManifest | None, error: str | None) -> Json:
    """Return what became of a manifest that was to be registered."""
    return {
        "path": str(path),
        "id": manifest.package.name if manifest else None,
        "version": manifest.package.version if manifest else None,
        "error": error,
    }


def sync_step(found: SyncStep) -> Json:
    """Return what becomes of one capsule in a sync."""
    return found.model_dump(mode="json")


def schema_status(found: SchemaStatus) -> Json:
    """Return the schema version of a database and of this library."""
    return {"found": found.found, "library": found.library, "is_usable": found.is_usable}


def finding(found: Finding) -> Json:
    """Return one thing that was read back of a database."""
    return {"name": found.name, "value": found.value, "problem": found.problem}


def namespace(found: NamespaceStatus) -> Json:
    """Return a namespace and the head of its history."""
    return {
        "name": found.name,
        "revision": found.revision,
        "capsule_count": found.capsule_count,
        "head_hash": found.head_hash,
        "incarnation": str(found.incarnation),
    }
