"""The rule of paths: what lies below an entry, and what only seems to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_registry.manifest.matchings import Matching
from capsule_registry.permissions.judgement import DecisionReason
from support.rules import covering, is_understood, verdict


def covers(capability: str, entry: str, value: str) -> bool:
    """Return whether *entry* alone covers *value*."""
    return covering(capability, [entry], value) is not None


PATH_ROWS = [
    ("workspace://src", "workspace://src", True),
    ("workspace://src", "workspace://src/a", True),
    ("workspace://src", "workspace://src/box", True),
    ("workspace://src", "workspace://src/a/b.c", True),
    ("workspace://src/a", "workspace://src/a/b", True),
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
    ("workspace://..a", "workspace://..a/.b", True),
    ("workspace://", "workspace://a b/Jun 1, 10\u202fAM.png", True),
    ("workspace://", "workspace://r\u00e9sum\u00e9/\u6587\u4ef6/\u00bd", True),
    ("workspace://", "workspace://~/#a/b?c/$d/a@b", True),
    ("x+y.z-1://a", "x+y.z-1://a/b", True),
    ("X://a", "X://a", True),
    ("workspace://...", "workspace://.../.a", False),
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
    ("workspace://a\uff0fb", "workspace://a\uff0fb", False),
    ("workspace://a:b", "workspace://a:b", False),
    # Nor does what has no scheme before `://`.
    ("/a://b", "/a://b", False),
    ("../a://b", "../a://b", False),
    ("a b://c", "a b://c", False),
    ("1://a", "1://a", False),
    ("\uff41://b", "\uff41://b", False),
    ("\u017f://b", "\u017f://b", False),
]
#: Suffixes of the granted path.
DETOURS = [
    *("..", "../b", "a/..", "a/../b", "a/../../b", ".", "./a", "a/.", "a//b", "/a", "a/", ""),
    *("%2e%2e", "%2e%2e/b", "a%2fb", "%", "a/%00", "..%2f", "\\", "..\\b", "a\\..\\b", "a\0", "\0"),
    # What is read as a dot, a slash, a backslash, a percent sign or a colon once it is normalised.
    *("\uff0e\uff0e", "\uff0e\uff0e/b", ".\uff0e", "\u2024\u2024", "\u2025", "\u2025/b", "\u2026"),
    *(
        "\ufe30",
        "\ufe52\ufe52",
        "a\uff0eb",
        "\u2024a",
        "\u2488",
        "\u3002\u3002",
        "a\u3002b",
        "\uff61\uff61/b",
    ),
    *(
        "a\uff0fb",
        "..\uff0fb",
        "a\u2100b",
        "a\uff3cb",
        "..\ufe68b",
        "\uff052e\uff052e",
        "a\ufe6a2fb",
    ),
    *("a\uff1ab", "a\ufe55b", "\uff23\uff1a"),
    # What some systems drop: final dots, blanks, invisible characters.
    *(
        "...",
        "... /b",
        "a.",
        "a./b",
        ".. ",
        ".. /b",
        "a ",
        " ..",
        " a",
        "a\u00a0",
        "\u3000..",
        "a\uff0e",
    ),
    *("a\tb", "..\n", "..\r/b", "a\x7f", "a\x85", "a\u2028b"),
    *(
        "..\u200b",
        ".\u200d./b",
        "\ufeff..",
        "\u202ea",
        ".\u00ad.",
        "..\ue029",
        "a\ud800",
        "..\ufffe",
    ),
    # What Windows reads as a drive or a stream.
    *("C:", "C:/b", "c:b", "a:b", "a::$DATA", ":", "..:b"),
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
    """Not even the root covers `..`, `.`, an empty component, or what some system reads as such."""
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


TODAY_ROWS = [
    ("home://a", "home://a", True),
    ("home://a/", "home://a/b", True),
    ("home://a//", "home://a/b", True),
    ("home:////", "home://a", True),
    ("home://", "home://a..b/..c", True),
    ("cwd://a", "workspace://a", True),
    ("cwd:///a//", "workspace://a/b", True),
    ("cwd://x", "workspace://x/b", True),
    ("cwd://", "workspace://", True),
    ("*", "workspace://", True),
    ("*", "workspace://a", True),
    ("/", "/", True),
    ("/", "/a", True),
    ("//a/.//b/", "/./a//b/./c", True),
    ("/a", "/a/b..c", True),
    ("/a", "/a/..b", True),
    ("x://a", "x://a/b", True),
    ("x://", "x://a", True),
    ("x://.//a/", "x://a/./b", True),
    ("X+y.z-1://a", "X+y.z-1://a/b", True),
    ("HOME://a", "HOME://a/b", True),  # No scheme of the host.
    # A name without `://` is none of a scheme.
    ("home", "home://a", False),
    ("home:", "home://a", False),
    ("home:/", "home://a", False),
    ("cwd", "workspace://a", False),
    ("cwd:/", "workspace://a", False),
    ("workspace", "workspace://a", False),
    ("", "home://a", False),
    ("", "workspace://a", False),
    ("", "/a", False),
    ("a", "/a", False),
    ("a", "x://a", False),
    ("/", "x://a", False),
    ("x://", "/a", False),
    ("x://a", "y://a", False),
    ("x://a", "X://a", False),
    ("x://a", "x://ab", False),
    ("x://a/b", "x://a", False),
    ("/a/b", "/a", False),
    ("/a/b", "/b", False),
    # The host's own schemes: each by its own entries.
    ("workspace://a", "workspace://a", False),
    ("workspace://", "workspace://a", False),
    ("home://a", "workspace://a", False),
    ("cwd://a", "home://a", False),
    ("/home://a", "home://a", False),
    ("home:///a", "home://a", False),
    ("home://a/b", "home://a", False),
    ("home://a", "home://ab", False),
    ("cwd://x", "workspace://a", False),
    ("cwd://a/b", "workspace://a", False),
    ("cwd://./a", "workspace://a", False),
    ("cwd://a/..", "workspace://a", False),
    ("*", "home://a", False),
    ("*", "/a", False),
    ("*", "x://a", False),
    ("*", "cwd://a", False),
    # What the manifest calls so is not what a capsule asks for.
    ("cwd://a", "cwd://a", False),
    ("cwd://", "cwd://a", False),
    ("cwd://", "cwd://", False),
    ("home://", "cwd://a", False),
]
#: Paths that the gate takes for none, and what would cover them.
TODAY_MALFORMED = [
    *(("home://", f"home://{one}") for one in ("..", ".", "a/..", "a/../b", "a//b", "/a", "a/")),
    *(("cwd://", f"workspace://{one}") for one in ("..", "./a", "a/../b", "a//b", "/a", "a/")),
    *(("/", f"/{one}") for one in ("..", "a/..", "../a", "a/../b", "a\0")),
    *(("x://", f"x://{one}") for one in ("..", "a/..", "../a", "a/../b")),
    ("*", "*"),
    ("a", "a"),
    ("a", "a/b"),
    ("a:b", "a:b"),
    ("://a", "://a"),
    ("1://a", "1://a"),
    ("a b://c", "a b://c"),
    ("a/b://c", "a/b://c"),
    ("../a://b", "../a://b"),
    ("\uff41://b", "\uff41://b"),
    ("\u017f://b", "\u017f://b"),
    ("", ""),
]


@pytest.mark.parametrize("capability", ["fs_read", "fs_write"])
@pytest.mark.parametrize(("entry", "path", "expected"), TODAY_ROWS)
def test_todays_host_compares_paths_below_the_same_root(
    capability: str, entry: str, path: str, expected: bool
) -> None:
    """By whole components; `cwd://` and `*` name the workspace, and no entry its own scheme."""
    why = DecisionReason.GRANTED if expected else DecisionReason.NOT_GRANTED
    assert why is verdict(capability, Matching.PATH, [entry], path).why


@pytest.mark.parametrize("capability", ["fs_read", "fs_write"])
@pytest.mark.parametrize(("entry", "path"), TODAY_MALFORMED, ids=ascii)
def test_todays_host_takes_no_path_that_goes_up_or_has_no_root(
    capability: str, entry: str, path: str
) -> None:
    """Whatever the entry; below its own schemes it takes no detour at all."""
    expected = DecisionReason.MALFORMED_VALUE
    assert expected is verdict(capability, Matching.PATH, [entry], path).why
