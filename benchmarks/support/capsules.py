"""The capsules and session UUIDs to register: new objects each time, equal in every run."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from capsule_registry import CapsuleManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TOOLS: Final = [
    {
        "name": f"tool_{number}",
        "description": f"Does the {number}th of the things that this capsule can do.",
        "input_schema": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "count": {"type": "integer"}},
            "required": ["path"],
        },
    }
    for number in range(2)
]
#: What every capsule may publish to.
TOPICS: Final = ("notes.changed", "notes.*.opened")
#: Session UUIDs per capsule.
SESSIONS: Final = 10


def capsule_id(number: int, kind: str = "capsule") -> str:
    """Return the id of a capsule; all ids of a kind have one length."""
    return f"{kind}-{number:07d}"


def manifest(
    number: int, kind: str = "capsule", *, uplinks: int = 2, tools: int = 2
) -> CapsuleManifest:
    """Return a manifest, by default with two uplinks and two tools."""
    given: dict[str, Any] = {
        "package": {
            "name": capsule_id(number, kind),
            "version": "1.0.0",
            "description": "A capsule that is registered to see how long it takes.",
        },
        "capabilities": {"ipc_publish": [*TOPICS][:tools]},
        "uplink": [
            {"name": f"uplink_{uplink}", "platform": "telegram", "profile": "chat"}
            for uplink in range(uplinks)
        ],
        "tool": _TOOLS[:tools],
    }
    return CapsuleManifest.model_validate(given)


def session(number: int) -> UUID:
    """Return a session UUID, spread like a random one."""
    return UUID(bytes=hashlib.blake2b(number.to_bytes(8), digest_size=16).digest(), version=4)


def sessions_of(number: int) -> list[UUID]:
    """Return the session UUIDs of capsule *number*."""
    return [session(number * SESSIONS + each) for each in range(SESSIONS)]


def fresh(known: Sequence[UUID]) -> Callable[[int], list[UUID]]:
    """Return a function that repeats the *known* UUIDs, each time as new objects."""
    numbers = [one.int for one in known]
    place = 0

    def give(size: int) -> list[UUID]:
        nonlocal place
        chosen = [numbers[(place + step) % len(numbers)] for step in range(size)]
        place = (place + size) % len(numbers)
        return [UUID(int=number) for number in chosen]

    return give
