"""The rule of paths: what lies below an entry, and what only seems to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_registry.permissions.rules import covering, is_understood


def covers(capability: str, entry: str, value: str) -> bool:
    """Return whether *entry* alone covers *value*."""
    return covering(capability, [entry], value) is not None


PATH_ROWS = [
    ("workspace://src", "workspace://src", True),
    ("workspace://src", "workspace://src/a", True),
    ("workspace://src", "workspace://src/a/b.c", True),
    ("workspace://src/", "workspace://src/a", True),
    ("workspace://src/", "workspace://src", True),
    ("workspace://", "workspace://src", True),
    ("workspace://", "workspace://", True),
    ("*", "workspace://src", True),
    ("*", "workspace://", True),
    ("home://", "home://a", True),
    ("/etc", "/etc", True),
    ("/etc", "/etc/passwd", True),
    ("/etc/", "/etc/passwd", True),
    ("/", "/etc", True),
    ("/", "/", True),
    ("workspace://a*", "workspace://a*/b", True),
    ("workspace://...", "workspace://.../.a", True),
    ("workspace://src", "workspace://srcx", False),
    ("workspace://src", "workspace://sr", False),
    ("workspace://src", "workspace://", False),
    ("workspace://src/a", "workspace://src", False),
    ("workspace://src", "workspace://Src", False),
    ("workspace://src", "WORKSPACE://src", False),
    ("workspace://src", "home://src", False),
    ("workspace://src", "://src", False),
    ("://src", "://src", False),
    ("://", "://", False),
    ("workspace://src", "src", False),
    ("src", "src", False),
    ("src", "/src", False),
    ("x://src", "/src", False),
    ("workspace://src", "/src", False),
    ("/src", "workspace://src", False),
    ("workspace://", "/", False),
    ("/", "workspace://", False),
    ("/", "workspace://a", False),
    ("/etc", "/", False),
    ("/etc", "etc", False),
    ("*", "home://a", False),
    ("*", "/etc", False),
    ("*", "/", False),
    ("*", "*", False),
    ("workspace://*", "workspace://a", False),
    ("workspace://src/*", "workspace://src/a", False),
    ("/*", "/etc", False),
    ("", "workspace://a", False),
    # An invalid entry covers nothing.
    ("workspace://src/../b", "workspace://b", False),
    ("workspace://./src", "workspace://src", False),
    ("workspace://src//", "workspace://src", False),
    ("workspace:///", "workspace://src", False),
    ("//", "/etc", False),
    ("//", "/", False),
    ("/..", "/", False),
]
#: Suffixes of the granted path.
DETOURS = [
    *("..", "../b", "a/..", "a/../b", "a/../../b", ".", "./a", "a/.", "a//b", "/a", "a/", ""),
    *("%2e%2e", "%2e%2e/b", "a%2fb", "%", "a/%00", "..%2f", "\\", "..\\b", "a\\..\\b", "a\0", "\0"),
]


@pytest.mark.parametrize("capability", ["fs_read", "fs_write"])
@pytest.mark.parametrize(("entry", "path", "expected"), PATH_ROWS)
def test_a_path_is_the_entry_or_below_it(
    capability: str, entry: str, path: str, expected: bool
) -> None:
    """Scheme and components begin with the entry's, each compared as a whole."""
    assert expected == covers(capability, entry, path)


@pytest.mark.parametrize("capability", ["fs_read", "fs_write"])
@pytest.mark.parametrize("root", ["workspace://", "workspace://src/", "/", "/src/"])
@pytest.mark.parametrize("detour", DETOURS, ids=ascii)
def test_a_path_that_goes_astray_is_denied(capability: str, root: str, detour: str) -> None:
    """Not even the root covers `..`, `.`, an empty component, `%`, a backslash or NUL."""
    scheme = root.removesuffix("src/")
    assert covers(capability, root, f"{root}a/b")  # The control.
    if (root, detour) not in ((scheme, ""), ("workspace://", "")):
        assert not covers(capability, root, f"{root}{detour}")
        assert not is_understood(capability, f"{root}{detour}")


STEPS = ["src", "srcx", "..", ".", "a", "*", "%2e", "\\", "", "\n", "\u2024\u2024"]
TRAILS = st.builds(
    str.__add__,
    st.sampled_from(["workspace://", "home://", "/", "://", "", "//"]),
    st.lists(st.sampled_from(STEPS), max_size=4).map("/".join),
)


@given(TRAILS, TRAILS)
def test_a_covered_path_begins_with_the_entry(entry: str, path: str) -> None:
    """It has the entry's text up to a slash, and never goes up."""
    if entry != "*" and covers("fs_read", entry, path):
        root = entry if entry.endswith("/") else f"{entry}/"
        assert path == entry or f"{path}/".startswith(root)
        assert not {"..", "."} & set(path.split("/"))
        assert not set(path) & set("%\\\0")
