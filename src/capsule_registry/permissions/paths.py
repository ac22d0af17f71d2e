"""
The rules of `fs_read` and `fs_write`: which paths an entry covers.

The registry does not know the host's directories, so paths are compared as they are written: by the
first rule as the manifest writes them, by the second as today's gate sees them. Source: the gates
of astrid-capsule 0.2.0 and of astrid 010d22d, restated; where the latter takes a path by accident
for one of the host itself, nothing is covered.
"""

from __future__ import annotations

import re
from typing import Final
from unicodedata import normalize

from capsule_registry.permissions.rule import Rule, plain_value

#: A root: `/`, or a scheme with its slashes.
_ROOT: Final = re.compile(r"/|[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)
#: What some systems read as a separator, an escape, the end of a drive's or a file's name, or, as
#: IDNA does, a dot.
_NOT_IN_COMPONENTS: Final = frozenset("/\\%:\u3002")
_WORKSPACE: Final = "workspace://"
_HOME: Final = "home://"
_CWD: Final = "cwd://"

#: A root, and the path's components below it.
_Place = tuple[str, tuple[str, ...]]


def _parted(text: str) -> tuple[str, str] | None:
    """Return the root and the rest of a path; `None` if it has no root."""
    root = _ROOT.match(text)
    return None if root is None else (root[0], text[root.end() :])


def _split(below: str) -> tuple[str, ...]:
    return tuple(below.split("/")) if below else ()


def _named(below: str) -> tuple[str, ...]:
    """Return the components but those that lead nowhere else."""
    return tuple(one for one in below.split("/") if one not in ("", "."))


def _is_within(place: _Place, granted: _Place) -> bool:
    """Return whether *place* begins with what is *granted*, each component as a whole."""
    root, components = place
    return granted == (root, components[: len(granted[1])])


def _text(place: _Place) -> str:
    root, components = place
    return root + "/".join(components)


def _keys(place: _Place) -> list[str]:
    root, components = place
    return ["*", *(_text((root, components[:end])) for end in range(len(components) + 1))]


def _written(value: object) -> _Place | None:
    """Return the place of a path that all systems read as it is written."""
    text = plain_value(value)
    parted = None if text is None else _parted(text)
    if parted is None:
        return None
    root, below = parted
    components = _split(below)
    return None if any(map(_is_ambiguous, components)) else (root, components)


def _is_ambiguous(component: str) -> bool:
    """Return whether some system reads *component* as another one, as several, or as none."""
    # Some read the compatible ASCII character for another one.
    read = normalize("NFKC", component)
    # Some drop blanks, final dots and invisible characters.
    return (
        not read.isprintable()
        or read != read.strip(" ")
        or read[-1:] in ("", ".")
        or not _NOT_IN_COMPONENTS.isdisjoint(read)
        or read.count(".") != component.count(".")
    )


def _without_slash(entry: str) -> str:
    """Return an entry without the slash that one for a directory, but not for a root, may have."""
    shorter = entry.removesuffix("/")
    return entry if not shorter or shorter.endswith("/") else shorter


def _written_covers(entry: str, asked: _Place) -> bool:
    if entry == "*":
        return asked[0] == _WORKSPACE
    granted = _written(_without_slash(entry))
    return granted is not None and _is_within(asked, granted)


def _logical(value: object) -> _Place | None:
    """Return the place of a path as today's gate sees it."""
    text = plain_value(value)
    parted = None if text is None else _parted(text)
    if parted is None:
        return None
    root, below = parted
    if root in (_HOME, _WORKSPACE):
        components = _split(below)
        is_plain = {"", ".", ".."}.isdisjoint(components)
    else:
        components = _named(below)
        is_plain = ".." not in components
    return (root, components) if is_plain else None


def _logical_entry(entry: str) -> _Place | None:
    """Return the place of an entry, which names the workspace by another scheme."""
    parted = _parted(entry)
    if parted is None or parted[0] == _WORKSPACE:
        return None
    root, below = parted
    if root == _HOME:
        return root, _split(below.rstrip("/"))
    return (_WORKSPACE, _split(below.strip("/"))) if root == _CWD else (root, _named(below))


def _logical_covers(entry: str, asked: _Place) -> bool:
    if entry == "*":
        return asked[0] == _WORKSPACE
    granted = _logical_entry(entry)
    return granted is not None and _is_within(asked, granted)


def _logical_key(entry: str) -> str:
    granted = _logical_entry(entry)
    return entry if granted is None else _text(granted)


WRITTEN_PATH: Final = Rule(_written, _written_covers, keys=_keys, key=_without_slash)
PATH: Final = Rule(_logical, _logical_covers, keys=_keys, key=_logical_key)
