"""Steps of a history, and the questions asked after each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from capsule_registry import CapsuleManifest, CapsuleRegistry
from support.factories import CLI, TELEGRAM, make_manifest, make_text, make_uplink

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry.api.reads import RegistryReader


BY_HAND = make_uplink(metadata={"ключ": "\u202e"})


TOOL = {"name": "search", "description": "d", "input_schema": {"type": "object"}}


class Reporting:
    """A capsule whose object reports a tool that its manifest does not declare."""

    manifest = make_manifest("reporting", tool=[TOOL])

    def tools(self) -> list[Any]:
        return [{"name": "extra", "description": "", "input_schema": None}]


ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))

STEPS: list[Callable[[CapsuleRegistry], object]] = [
    lambda r: r.register(make_manifest("alpha", uplink=[TELEGRAM, CLI], tool=[TOOL]), uuids=[ONE]),
    lambda r: r.register_uuid(TWO, "ghost"),
    lambda r: r.register_uuid(ONE, "ghost"),
    lambda r: r.register_uplink("ghost", BY_HAND),
    lambda r: r.register(CapsuleManifest.parse(make_text("beta", "# kept\n[extra]\nx = 1.0\n"))),
    lambda r: r.register(Reporting(), uuids=[THREE]),
    lambda r: r.register(make_manifest("ghost")),
    lambda r: r.unregister("alpha"),
    lambda r: r.register(make_manifest("alpha", package={"version": "0.2.0"}, uplink=[CLI])),
    lambda r: r.unregister_uplink(BY_HAND.id),
    lambda r: r.unregister_uuid(THREE),
    lambda r: r.drain(),
    lambda r: r.register(make_manifest("after", tool=[TOOL]), uuids=[TWO]),
]


def answers(reader: RegistryReader) -> dict[str, Any]:
    """Return the answers of the read verbs."""
    ids = ("alpha", "beta", "ghost", "reporting", "after", "never")
    return {
        "list": [reader.list(), reader.list(limit=2), reader.list(limit=1, state="ready")],
        "page": [reader.list(after=name, limit=1) for name in reader],
        "values": [*reader.values()],
        "texts": [capsule.manifest_text for capsule in reader.values()],
        "get": [reader.get(name) for name in ids],
        "in": [name in reader for name in ids],
        "len": (len(reader), reader.is_empty(), [*reader]),
        "find_by_uuid": [reader.find_by_uuid(uuid) for uuid in (ONE, TWO, THREE, uuid4())],
        "uuids": [reader.uuids(), *(reader.uuids(name) for name in ids)],
        "uplinks": [reader.all_uplink_descriptors(), reader.get_uplink(BY_HAND.id)],
        "platform": [reader.find_uplink_by_platform(name) for name in ("cli", "telegram", "x")],
        "able": reader.find_uplinks_with_capability(lambda able: able.can_send),
        "find_uplinks": [
            reader.find_uplinks(),
            reader.find_uplinks(platform="CLI"),
            reader.find_uplinks(capsule_id="alpha"),
            reader.find_uplinks(profile="chat", can_receive=True),
        ],
        "tools": [reader.tools(), *(reader.tools(name) for name in ids)],
        "find_tool": [reader.find_tool("search"), reader.find_tool("extra")],
    }
