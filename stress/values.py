"""
A differential fuzz of the rules of ports, paths and topics: is what they allow what was granted?

    python stress/values.py --cases 2000000

Makes entries and values by changing valid ones. Where an entry covers a value, a reader that is not
ours must find it there: the standard library's parsers of URLs, addresses and paths (of both kinds
of systems, for what is compared as it is written), and regular expressions for topics. Prints what
was allowed and what was refused, by rule; exits with 1 if a reader disagrees. That must happen with
`--without`, which takes a part of a rule out. For hosts see `urls.py`.
"""

from __future__ import annotations

import argparse
import ntpath
import posixpath
import random
import re
import sys
import time
from collections import Counter
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from capsule_registry.permissions import paths, ports, topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from capsule_registry.permissions.rule import Rule

_SHOWN: Final = 20
_ENTRIES_AT_ONCE: Final = 12

_TOPICS: Final = (
    *("a.b", "a.*", "*", "*.*", "a.*.c", "a.b.*", "tool.v1.execute.*", "a.b.c.d.e", "**", "a*"),
    *("a", "b.a", "*.b", "a.b.c", "user.v1.prompt", "a.*.*", "*.*.*"),
)
_ADDRESSES: Final = (
    *("a.example:443", "A.example:443", "a.example:*", "a.example:0", "127.0.0.1:80", "::1:443"),
    *("[::1]:443", "localhost:8080", "a.example:+443", "a.example:0443", "*:443", "unix:*"),
    *("unix:/run/x", "0.0.0.0:80", "127.1:80", "a.example", "evil.example:443", "127.0.0.2:80"),
)
_PATHS: Final = (
    *(
        "home://notes",
        "home://notes/",
        "home://",
        "home://a/b",
        "cwd://src",
        "cwd:///src/",
        "cwd://",
    ),
    *("workspace://src", "*", "/etc", "/etc/", "/", "/etc/x", "home://notes2", "cwd://src2", ""),
    *(
        "workspace://",
        "workspace://src/a",
        "home://notes/a",
        "workspace://src2",
        "/etcx",
        "cwd:////",
    ),
)
_PIECES: Final = (
    *(".", "..", "/", "//", "/../", "/./", "*", ".*", ":", "://", "\\", "%2e", "%2f", "%00", " "),
    *("a", "b", "A", "x", "0", "80", "443", "+", "-", "_", "[", "]", "::", "1", "127.0.0.1", "@"),
    *("home", "cwd", "workspace", "\0", "\n", "\u00a0", "\u2024", "\uff0f", "\u0661", "\u00e9"),
    *("C:", "c:\\", "file://", "notes", "src", "etc"),
)


def _is_topic_below(entry: str, value: str) -> bool:
    segments = [r"[^.]*" if one == "*" else re.escape(one) for one in entry.split(".")]
    wanted = r"\.".join(segments)
    if entry.endswith(".*"):
        wanted += r"(?:\.[^.]*)*"
    return re.fullmatch(wanted, value, re.DOTALL) is not None


def _is_topic_alike(entry: str, value: str) -> bool:
    segments = [r"[^.]+" if one == "*" else re.escape(one) for one in entry.split(".")]
    return re.fullmatch(r"\.".join(segments), value, re.DOTALL) is not None


def _read(address: str) -> tuple[str | None, int | None]:
    """Return what a parser of URLs reads as host and port; an IPv6 address gets its brackets."""
    host, _, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    with suppress(ValueError):
        found = urlsplit(f"tcp://[{bare}]:{port}" if ":" in bare else f"tcp://{address}")
        return found.hostname, found.port
    return None, None


def _is_address(entry: str, value: str) -> bool:
    """Return whether both name one host and port; what no parser reads is told by its texts."""
    asked = value if ":" in value else f"{value}:0"
    granted, _, port = entry.rpartition(":")
    host, number = _read(asked)
    if host is None:
        return asked.rpartition(":")[0].lower() == granted.lower()
    is_host = granted.removeprefix("[").removesuffix("]").lower() == host
    return is_host and (port == "*" or int(port) == number)


def _is_local(entry: str, value: str) -> bool:
    if value.startswith("unix:") and not re.fullmatch("unix:[0-9]{1,5}", value):
        return entry.startswith("unix:")
    host = _read(value)[0] or value.rpartition(":")[0]
    is_loopback = host.lower() == "localhost"
    with suppress(ValueError):
        is_loopback = ip_address(host).is_loopback
    return is_loopback and _is_address(entry, value)


def _is_within(entry: str, value: str) -> bool:
    """Return whether the path lies in what the entry names, by names of directories."""
    root, path = _rooted(value)
    if entry == "*":
        return root == "workspace" and _is_inside(posixpath, "/workspace", path)
    scheme, separator, path_of = entry.partition("://")
    if separator and scheme == "cwd":
        entry = f"workspace://{path_of.strip('/')}"
    granted, directory = _rooted(entry)
    return root == granted and _is_inside(posixpath, directory, path)


def _rooted(text: str) -> tuple[str, str]:
    scheme, separator, path = text.partition("://")
    if text.startswith("/") or not separator:
        return "", re.sub("^/+", "/", text)
    return scheme, f"/{scheme}/{path}"


def _is_inside(system: Any, directory: str, path: str) -> bool:  # noqa: ANN401 - a module
    outer, inner = system.normpath(directory), system.normpath(path)
    with suppress(ValueError):
        return bool(system.commonpath([outer, inner]) == outer)
    return False


def _is_written_within(entry: str, value: str) -> bool:
    """Return the same for systems of both kinds, which read other separators and drives."""
    if entry == "*":
        return value.startswith("workspace://")
    granted, outer = _rooted(entry)
    asked, inner = _rooted(value)
    return granted == asked and all(
        _is_inside(system, f"{drive}{outer}", f"{drive}{inner}")
        for system, drive in ((posixpath, ""), (ntpath, "C:"))
    )


#: By name: the rule, what entries and values are made of, and the reader that must agree.
_RULES: Final[dict[str, tuple[Rule, Sequence[str], Callable[[str, str], bool]]]] = {
    "topics": (topics.PUBLISH_SUBTREE, _TOPICS, _is_topic_below),
    "topics of 0.2.0": (topics.PUBLISH_SEGMENTS, _TOPICS, _is_topic_alike),
    "subscriptions": (topics.SUBSCRIBE_SUBTREE, _TOPICS, _is_topic_below),
    "connections": (ports.HOST_PORT, _ADDRESSES, _is_address),
    "binds": (ports.BIND, _ADDRESSES, _is_local),
    "paths": (paths.PATH, _PATHS, _is_within),
    "paths of 0.2.0": (paths.WRITTEN_PATH, _PATHS, _is_written_within),
}
#: Parts of the rules by name: where each stands, and what takes it out.
_GUARDS: Final[dict[str, tuple[Any, str, Any]]] = {
    "components": (
        paths,
        "_is_within",
        lambda place, granted: paths._text(place).startswith(paths._text(granted)),  # noqa: SLF001 - that is the guard
    ),
    "ambiguous": (paths, "_is_ambiguous", lambda _: False),
    "loopback": (ports, "is_loopback", lambda _: True),
    "segments": (topics, "subtree_matches", lambda topic, entry: topic.startswith(entry[:-2])),
}


def texts(known: Sequence[str], chance: random.Random) -> Iterator[str]:
    """Yield texts, most of them with a few changes."""
    while True:
        text = chance.choice(known)
        if chance.random() < 0.3:  # noqa: PLR2004 - three in ten
            text = text.replace("cwd://", "workspace://").rstrip("*") + chance.choice(_PIECES)
        for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
            start = chance.randrange(len(text) + 1)
            end = min(start + chance.choice((0, 0, 1, 3)), len(text))
            text = f"{text[:start]}{chance.choice(_PIECES)}{text[end:]}"
        yield text


def disagreements(name: str, cases: int, chance: random.Random, end: float) -> Counter[str]:
    """Try so many values, each with some entries; count what is allowed, refused and wrong."""
    rule, known, agrees = _RULES[name]
    made, tally = texts(known, chance), Counter[str]()
    while tally["values"] < cases and time.monotonic() < end:
        entries = [*known, *(next(made) for _ in range(_ENTRIES_AT_ONCE))]
        for value in (next(made) for _ in range(100)):
            tally["values"] += 1
            asked = rule.understand(value)
            if asked is None:
                tally["malformed"] += 1
                continue
            for entry in entries:
                if not rule.covers(entry, asked) or rule.refuses(asked):
                    continue
                tally["allowed"] += 1
                if not agrees(entry, value):
                    tally["wrong"] += 1
                    if tally["wrong"] <= _SHOWN:
                        print(f"{name}: {value!a} is allowed by {entry!a}")
    return tally


def main() -> int:
    """Run the cases of each rule, and print what was allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000, help="values for each rule")
    parser.add_argument("--seconds", type=float, default=3_600, help="stop after so long")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rule", choices=_RULES, action="append", help="by default all")
    parser.add_argument("--without", choices=_GUARDS, help="a part to take out, as a control")
    options = parser.parse_args()

    if options.without:
        module, name, value = _GUARDS[options.without]
        setattr(module, name, value)
    end, wrong = time.monotonic() + options.seconds, 0
    print(f"{'':16} {'values':>9} {'malformed':>9} {'allowed':>9} {'wrong':>6}")
    for name in options.rule or _RULES:
        chance = random.Random(options.seed)  # noqa: S311 - nothing secret
        tally = disagreements(name, options.cases, chance, end)
        counts = [tally[one] for one in ("values", "malformed", "allowed", "wrong")]
        print("{:16} {:9} {:9} {:9} {:6}".format(name, *counts), flush=True)
        wrong += tally["wrong"]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
