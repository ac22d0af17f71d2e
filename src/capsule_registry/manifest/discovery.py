"""Finding manifests. Source: astrid-capsule 0.2.0 `discovery`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

#: The name of a manifest's file; other spellings are ignored.
MANIFEST_NAME: Final = "Capsule.toml"


def discover(place: str | PathLike[str]) -> Iterator[Path]:
    """
    Yield the paths of the manifests at *place*, sorted by path.

    *place* is a manifest file, a capsule's directory, or a directory of capsules' directories
    (one level, symbolic links followed, hidden ones included). Nothing is read or checked; no
    manifest found yields nothing.

    Raises:
        OSError: *place* does not exist or cannot be listed.
    """
    path = Path(place)
    if not path.is_dir():
        path.stat()
        yield path
        return
    candidates = [path, *(entry for entry in path.iterdir() if entry.is_dir())]
    yield from sorted(
        manifest for entry in candidates if _may_be_file(manifest := entry / MANIFEST_NAME)
    )


def dangling(place: str | PathLike[str]) -> Iterator[Path]:
    """Yield the dangling symbolic links at *place* where manifests would be."""
    path = Path(place)
    if path.is_dir():
        for entry in (path, *path.iterdir()):
            manifest = entry / MANIFEST_NAME
            if manifest.is_symlink() and not manifest.exists():
                yield manifest


def _may_be_file(path: Path) -> bool:
    """Return whether *path* is a file, or cannot be examined: then reading it says why."""
    try:
        return path.is_file()
    except OSError:
        return True
