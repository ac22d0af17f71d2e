"""Directories of capsules for `sync`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.factories import make_text

if TYPE_CHECKING:
    from pathlib import Path

    from capsule_registry import SyncPlan


UPLINK = '[[uplink]]\nname = "u"\nplatform = "p"\nprofile = "chat"\n'


def write(directory: Path, name: str, extra: str = "", *, folder: str = "") -> Path:
    """Write the manifest of the capsule *name*, and return its path."""
    path = directory / (folder or name) / "Capsule.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(make_text(name, extra))
    return path


def told(plan: SyncPlan) -> list[tuple[str, str | None]]:
    return [(step.action.value, step.capsule_id) for step in plan.steps]
