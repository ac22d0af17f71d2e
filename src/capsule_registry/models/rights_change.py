"""What a capsule may do more and less when its manifest is read anew, or is another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.comparison import meaning
from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.manifest.matchings import Matching
from capsule_registry.manifest.rights import rights_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.rights import Right

    #: What an entry allows: two of the same meaning allow the same.
    Meaning = tuple[str, str, str]


class ChangedRight(BaseModel):
    """An entry of a manifest that comes to count, or ceases to."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capability: str
    value: str
    matching: Matching


class RightsChange(BaseModel):
    """
    What a capsule gains and loses, in the order of the manifest.

    `form` and `rules` are those by which its manifest is read from then on. If that refuses it,
    `problem` says why, and nothing changes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    form: ManifestForm
    rules: str
    gained: tuple[ChangedRight, ...] = ()
    lost: tuple[ChangedRight, ...] = ()
    problem: str | None = None


def changed_rights(
    before: CapsuleManifest, after: CapsuleManifest
) -> tuple[tuple[ChangedRight, ...], tuple[ChangedRight, ...]]:
    """Return the rights that *after* has more than *before*, and those that it has not."""
    old, new = _counting(before), _counting(after)
    return _only_in(new, old), _only_in(old, new)


def _counting(manifest: CapsuleManifest) -> dict[Meaning, Right]:
    rights = (right for right in rights_of(manifest) if right.counts and not _is_void(right))
    return {(one.capability, one.value, meaning(one.matching, one.value)): one for one in rights}


def _only_in(
    these: Mapping[Meaning, Right], those: Mapping[Meaning, Right]
) -> tuple[ChangedRight, ...]:
    return tuple(
        ChangedRight(capability=one.capability, value=one.value, matching=one.matching)
        for meaning, one in these.items()
        if meaning not in those
    )


def _is_void(right: Right) -> bool:
    """Return whether the entry counts and yet covers nothing, compared as it is."""
    match right.matching:
        case Matching.BIND | Matching.HOST_PORT:
            return ":" not in right.value
        case Matching.PATH:
            return right.value.startswith("workspace://") or not right.value
        case _:
            return not right.value
