"""The record of what one manifest says more, and less, than another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict

from capsule_registry.manifest.comparison import RIGHTS, Entry, Part, compared
from capsule_registry.manifest.matchings import Matching

if TYPE_CHECKING:
    from capsule_registry.manifest.comparison import Difference
    from capsule_registry.manifest.manifest import CapsuleManifest


class ManifestEntry(BaseModel):
    """
    An entry of a manifest that came or went.

    `name` and `value` are a right's capability and value, a topic's too; a handler's topic and
    action; the name of a tool; a command's kind and name; an interface and its versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    part: Part
    name: str
    value: str
    #: How a right is compared with what is asked.
    matching: Matching | None = None


class Comparison(BaseModel):
    """The entries that a manifest adds to the one before, and those that it removes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    added: tuple[ManifestEntry, ...] = ()
    removed: tuple[ManifestEntry, ...] = ()

    @classmethod
    def of(cls, found: Difference) -> Self:
        """Return *found* as a record."""
        return cls(added=tuple(map(_entry, found.added)), removed=tuple(map(_entry, found.removed)))

    @classmethod
    def of_manifests(cls, old: CapsuleManifest | None, new: CapsuleManifest | None) -> Self:
        """Return what *new* adds to *old*, and removes; `None` is nothing at all."""
        return cls.of(compared(old, new))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """
        Return what the history has stored as *text*.

        Raises:
            TypeError, ValueError: It is not what `Difference.to_json` writes.
        """
        sides: dict[str, list[ManifestEntry]] = {"added": [], "removed": []}
        for side, part, name, value, matching in json.loads(text):
            sides[side].append(ManifestEntry(part=part, name=name, value=value, matching=matching))
        return cls(added=tuple(sides["added"]), removed=tuple(sides["removed"]))

    @property
    def added_rights(self) -> tuple[ManifestEntry, ...]:
        """The rights that came, topics included: what somebody is to consent to."""
        return tuple(one for one in self.added if one.part in RIGHTS)


def _entry(found: Entry) -> ManifestEntry:
    return ManifestEntry(**found._asdict())
