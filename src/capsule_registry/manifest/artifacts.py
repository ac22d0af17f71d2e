"""The files that a capsule is made of, by the hashes that its manifest writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from capsule_registry.manifest.readings import ORIGINAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.parts import ComponentDef


class ManifestArtifact(NamedTuple):
    """A component or asset whose hash the manifest writes."""

    kind: str
    name: str
    file: str
    #: As written, such as `blake3:…`.
    hash: str


def artifacts_of(manifest: CapsuleManifest) -> Iterator[ManifestArtifact]:
    """
    Yield the components, each followed by its assets, that have a hash, in their order.

    Assets are no key that a runtime reads: what is not written as one is left out.
    """
    if manifest.rules == ORIGINAL:
        return
    for component in manifest.components:
        if component.hash is not None:
            yield ManifestArtifact("component", component.id, component.file, component.hash)
        yield from _assets(component)


def _assets(component: ComponentDef) -> Iterator[ManifestArtifact]:
    found: Any = (component.model_extra or {}).get("asset")
    for asset in found if isinstance(found, list) else ():
        if not isinstance(asset, dict):
            continue
        name, file, digest = asset.get("id", ""), asset.get("file"), asset.get("hash")
        if isinstance(name, str) and isinstance(file, str) and isinstance(digest, str):
            yield ManifestArtifact("asset", name, file, digest)
