"""What to export, and what to compare it by."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from capsule_registry import (
    CapsuleManifest,
    CapsuleRegistry,
)
from support.factories import CLI, TELEGRAM, make_manifest, make_text, make_uplink

if TYPE_CHECKING:
    from capsule_registry import RegistryReader


BY_HAND = make_uplink(metadata={"ключ": "\u202e\u2028\x85"}, name='"\\')


RESERVED = UUID(int=1)


REPORTED = [{"name": "extra", "description": "\r\n", "input_schema": {"x": [1.0, None]}}]


def furnish(registry: CapsuleRegistry) -> None:
    """Register one of everything that an export keeps, and a lease, which it does not."""
    text = make_text("odd", "# \u2028 ü\r\n[extra]\r\nx = 1.0")
    odd = CapsuleManifest.parse(f"\ufeff{text}")
    registry.register(SimpleNamespace(manifest=odd, source_dir="/srv/\u202eodd"), uuids=[uuid4()])
    registry.register_uplink("odd", BY_HAND)
    registry.register(make_manifest("declared", uplink=[TELEGRAM, CLI]), uuids=[uuid4(), uuid4()])
    [first, _] = registry.find_uplinks(capsule_id="declared")
    registry.unregister_uplink(first.descriptor.id)
    registry.register_uuid(RESERVED, "reserved")
    registry.register_uplink("reserved", make_uplink())
    tools = make_manifest("tools", tool=[{"name": "t", "description": "", "input_schema": True}])
    registry.register(SimpleNamespace(manifest=tools, tools=REPORTED))
    registry.set_state("tools", "failed", "\t because")
    registry.replace(make_manifest("odd", dependencies={"requires": ["tool:t"]}), keep_uuids=True)
    registry.replace(SimpleNamespace(manifest=odd, state="loading"), keep_uuids=True)
    lease = registry.leases.open("host", timedelta(hours=1), renew=False)
    registry.register_uuid(uuid4(), "odd", lease=lease)
    registry.register_uuid(uuid4(), "leased", lease=lease)


def listing(reader: RegistryReader) -> dict[str, Any]:
    """Return all that can be read, except each registry's own counters and times."""
    own = {"generation", "modified_revision", "registered_at"}
    return {
        "capsules": [one.model_dump(mode="json", exclude=own) for one in reader.values()],
        "uplinks": reader.find_uplinks(),
        "uuids": [(one.uuid, one.capsule_id) for one in reader.uuids() if not one.lease_id],
        "derived": [reader.tools(), reader.grants(), reader.dependencies(), reader.boot_order()],
    }


def elsewhere() -> CapsuleRegistry:
    """Return an empty registry in memory, so not on a server."""
    return CapsuleRegistry.open("sqlite://")


def body(registry: CapsuleRegistry) -> list[str]:
    """Return the export without its first line, which names the source."""
    return [*registry.export_lines()][1:]
