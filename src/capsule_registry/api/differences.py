"""What differs between two moments of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from capsule_registry.models.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry.api.point_in_time import View
    from capsule_registry.models.comparison import ManifestEntry

Change = Literal["added", "removed", "changed"]


class Difference(BaseModel):
    """
    What is at one moment and not, or otherwise, at another.

    `kind` is `capsule`, `uplink` or `uuid`, `id` its key; or `kind` is a part of a manifest, such
    as `right`, and `id` its capsule and name. `before` and `after` are short descriptions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    change: Change
    kind: str
    id: str
    before: str | None
    after: str | None


def differences(old: View, new: View) -> list[Difference]:
    """Return what *new* has more, less or otherwise than *old*, by kind and id, manifests last."""
    return [*_of_contents(_contents(old), _contents(new)), *_of_manifests(old, new)]


def _contents(view: View) -> dict[tuple[str, str], str]:
    """Return a short description of everything registered, by kind and id."""
    capsules = {
        ("capsule", str(one.id)): (
            f"{one.version} {one.state} generation {one.generation} rules {one.rules}"
        )
        for one in view.summaries()
    }
    uplinks = {
        ("uplink", str(one.descriptor.id)): (
            f"{one.descriptor.name} ({one.descriptor.platform}) of {one.capsule_id}"
        )
        for one in view.find_uplinks()
    }
    uuids = {("uuid", str(one.uuid)): str(one.capsule_id) for one in view.uuids()}
    return {**capsules, **uplinks, **uuids}


def _of_contents(
    old: dict[tuple[str, str], str], new: dict[tuple[str, str], str]
) -> Iterator[Difference]:
    for kind, name in sorted({*old, *new}):
        before, after = old.get((kind, name)), new.get((kind, name))
        if before != after:
            change: Change = (
                "added" if before is None else "removed" if after is None else "changed"
            )
            yield Difference(change=change, kind=kind, id=name, before=before, after=after)


def _of_manifests(old: View, new: View) -> Iterator[Difference]:
    """Yield what the manifests of capsules that are at both moments have more and less."""
    manifests = {one.id: one.manifest for one in old.values()}
    for one in new.values():
        found = Comparison.of_manifests(manifests.get(one.id, one.manifest), one.manifest)
        for entry in found.added:
            yield _of_entry("added", one.id, entry, after=entry.value)
        for entry in found.removed:
            yield _of_entry("removed", one.id, entry, before=entry.value)


def _of_entry(
    change: Change,
    capsule_id: str,
    entry: ManifestEntry,
    *,
    before: str | None = None,
    after: str | None = None,
) -> Difference:
    name = f"{capsule_id} {entry.name}"
    return Difference(change=change, kind=entry.part, id=name, before=before, after=after)
