"""
The rules of `fs_read` and `fs_write`: which paths an entry covers.

The registry does not know the host's directories, so paths are compared as they are written: by the
first rule as the manifest writes them, by the second as today's gate sees them. Source: the gates
of astrid-capsule 0.2.0 and of astrid 010d22d, restated; where the latter takes a path by accident
for one of the host itself, nothing is covered.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from unicodedata import normalize

from capsule_registry.permissions.rule import Rule, plain_value

_PATH_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII | re.IGNORECASE)
#: What some systems read as a separator, an escape, the end of a drive's or a file's name, or, as
#: IDNA does, a dot.
_NOT_IN_COMPONENTS: Final = frozenset("/\\%:\u3002")
_WORKSPACE: Final = "workspace"
_HOME: Final = "home://"

#: A scheme, and the path's components.
_Place = tuple[str, tuple[str, ...]]


def _place(value: object) -> _Place | None:
    """Return a path's scheme (empty if it begins with `/`) and components, or `None`."""
    text = plain_value(value)
    if text is None:
        return None
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text.removeprefix("/")
    if not separator and rest == text:
        return None
    components = tuple(rest.split("/")) if rest else ()
    if (separator and not _PATH_SCHEME.fullmatch(scheme)) or any(map(_is_ambiguous, components)):
        return None
    return scheme, components


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


def _written_covers(entry: str, place: _Place) -> bool:
    scheme, components = place
    if entry == "*":
        return scheme == _WORKSPACE
    # An entry for a directory, but not for a root, may end with a slash.
    stripped = entry.removesuffix("/")
    is_root = stripped.endswith("/") or not stripped
    covered = _place(entry if is_root else stripped)
    if covered is None:
        return False
    return covered == (scheme, components[: len(covered[1])])


class _Logical(NamedTuple):
    """A path as today's gate sees it: below `home` or `workspace`, or by its components."""

    scheme: str
    path: str


def _logical(value: object) -> _Logical | None:
    text = plain_value(value)
    if text is None:
        return None
    root = _root(text)
    if root in (_HOME, f"{_WORKSPACE}://"):
        path = text.removeprefix(root)
        is_plain = not path or not {"", ".", ".."}.intersection(path.split("/"))
        return _Logical(root.removesuffix("://"), path) if is_plain else None
    if root is None or ".." in text.split("/"):
        return None
    is_known = root == "/" or _PATH_SCHEME.fullmatch(root.removesuffix("://"))
    return _Logical("", text) if is_known else None


def _logical_covers(entry: str, asked: _Logical) -> bool:
    match asked.scheme:
        case "home":
            scheme, _, below = entry.partition("://")
            return scheme == "home" and "://" in entry and _is_below(asked.path, below.rstrip("/"))
        case "workspace":
            scheme, _, below = entry.partition("://")
            is_cwd = scheme == "cwd" and "://" in entry
            return entry == "*" or (is_cwd and _is_below(asked.path, below.strip("/")))
        case _:
            return _is_prefix(entry, asked.path)


def _is_below(path: str, directory: str) -> bool:
    return not directory or path == directory or path.startswith(f"{directory}/")


def _is_prefix(entry: str, path: str) -> bool:
    """Return whether the components of *entry* begin those of *path*."""
    if entry.startswith(("home://", "cwd://")) or _root(entry) != _root(path):
        return False
    wanted = _components(entry)
    return wanted == _components(path)[: len(wanted)]


def _root(path: str) -> str | None:
    """Return `/`, or the scheme with its slashes; `None` if the path has neither."""
    if path.startswith("/"):
        return "/"
    scheme, separator, _ = path.partition("://")
    return scheme + separator if separator else None


def _components(path: str) -> list[str]:
    """Return the components, the first of which says whether *path* is absolute."""
    first, *others = path.split("/")
    return [first, *(one for one in others if one not in ("", "."))]


def _written_key(entry: str) -> str:
    return entry if entry == "*" else entry.removesuffix("/").removesuffix("/")


def _written_keys(place: _Place) -> list[str]:
    scheme, components = place
    root = f"{scheme}://" if scheme else "/"
    paths = ["/".join(components[:length]) for length in range(len(components) + 1)]
    return ["*", *(_written_key(f"{root}{path}") for path in paths)]


def _logical_key(entry: str) -> str:
    scheme, separator, below = entry.partition("://")
    if separator and scheme == "home":
        return f"home://{below.rstrip('/')}"
    if separator and scheme == "cwd":
        return f"{_WORKSPACE}://{below.strip('/')}"
    return "/".join(_components(entry))


def _logical_keys(asked: _Logical) -> list[str]:
    if not asked.scheme:
        components = _components(asked.path)
        return ["/".join(components[:length]) for length in range(1, len(components) + 1)]
    components = asked.path.split("/")
    paths = ["/".join(components[:length]) for length in range(len(components) + 1)]
    return ["*", *(f"{asked.scheme}://{path}" for path in paths)]


WRITTEN_PATH: Final = Rule(_place, _written_covers, keys=_written_keys, key=_written_key)
PATH: Final = Rule(_logical, _logical_covers, keys=_logical_keys, key=_logical_key)
