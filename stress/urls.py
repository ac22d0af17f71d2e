"""
A differential fuzz of the rule of hosts: do all parsers of URLs read the host that was allowed?

    python stress/urls.py --cases 200000

Makes URLs and hosts by changing valid ones. Where an entry covers one, every parser that accepts it
must connect to that entry, or below it; parsers that are not installed are named and left out.
Prints what each read, refused and read otherwise; exits with 1 if any read otherwise. That must
happen with `--without`, which takes out a part of the rule.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.permissions import hosts
from support.url_parsers import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from capsule_registry.permissions.rule import Rule
    from support.url_parsers import Parser

_ENTRIES: Final = (
    *("good.com", "com", "evil.com", "localhost", "fa\u00df.de", "de", "xn--fa-hia.de", "k", "1"),
    *("127.0.0.1", "0.1", "::1", "::ffff:7f00:1", "0x7f", "good", "a.good.com"),
)
_HOSTS: Final = (
    *("good.com", "evil.com", "good.com", "evil.com", "a.good.com", "b.evil.com", "127.0.0.1"),
    *("good.com", "evil.com", "a.good.com", "localhost", "xn--fa-hia.de", "fa\u00df.de", "1", "k"),
    *("127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"),
    *("[fe80::1%25eth0]", "[1:2:3:4:5:6:7:8]", "a_b.good.com", "evil.com.", "evil.com.good.com"),
)
_SCHEMES: Final = (
    *("http", "https", "http", "https", "http", "https", "http", "https", "HTTP"),
    *("ws", "wss", "ftp", "ftps", "ssh", "sftp", "tcp", "udp", "tls"),
    *("file", "data", "evil.com", "unix", "javascript", "x-http", "http+unix", "127.0.0.1"),
)
_USERS: Final = ("", "", "", "user@", "user:pass@", "evil.com@", "evil.com:80@", "a%40b@", "%2f@")
_PORTS: Final = ("", "", "", ":", ":80", ":0", ":00080", ":65535", ":65536", ":@80")
_RESTS: Final = (
    *("", "/", "/", "/path", "/@evil.com", "?x=1", "?@evil.com", "#a", "#@evil.com", "/a?b#c"),
    *(
        "/://evil.com",
        "?x=http://evil.com",
        ";a",
        "/%2e%2e/",
        "//evil.com/",
        "/\u00e9",
        "\\evil.com",
    ),
)
#: What a change puts in: delimiters, escapes, and characters that some read as such.
_PIECES: Final = (
    *("/", "//", "://", ":", "@", "?", "#", "\\", ";", ",", "&", "=", "+", "!", "$", "*", "'", "|"),
    *("%", "%2e", "%2f", "%40", "%23", "%3f", "%3a", "%5c", "%00", "%0a", "%25", "%E3%80%82"),
    *(
        ".",
        "..",
        "-",
        "--",
        "_",
        "~",
        "[",
        "]",
        "(",
        "<",
        '"',
        "^",
        "`",
        "{",
        " ",
        "\t",
        "\n",
        "\r",
    ),
    *("\0", "\x7f", "\x85", "\u00a0", "\u00ad", "\u200b", "\u200d", "\u2028", "\u202e", "\ufeff"),
    *("\uff0e", "\u3002", "\uff61", "\u2024", "\uff0f", "\u2044", "\uff1a", "\uff20", "\uff03"),
    *("\uff1f", "\uff3c", "\uff05", "\u2100", "\u212a", "\u017f", "\u0130", "\u00df", "\u03c2"),
    *("\uff41", "\u2460", "\uff11", "\u0661", "\u00e9", "\U0001f98a", "0", "1", "0x", "a", "xn--"),
    *("good.com", ".good.com", "evil.com", "evil.com.", "localhost", "127.0.0.1", "::1", "com"),
)
_SHOWN: Final = 20
_AT_ONCE: Final = 500

#: Parts of the rule by name: what takes each of them out.
_GUARDS: Final[dict[str, dict[str, Any]]] = {
    "schemes": {
        "_URL": re.compile(hosts._URL.pattern.replace("[a-z]+", "[^:/]+", 1), hosts._URL.flags),  # noqa: SLF001 - that is the guard
        "_NETWORK_SCHEMES": type("Any", (), {"__contains__": lambda *_: True})(),
    },
    "numbers": {"_IPV4_NUMBER": re.compile(r"(?!)")},
    "labels": {"_LABEL": re.compile(r".*", re.DOTALL)},
}


def spellings(chance: random.Random) -> Iterator[str]:
    """Yield URLs and hosts, most of them with a few changes."""
    pick = chance.choice
    while True:
        host = pick(_HOSTS)
        is_bare = chance.random() < 0.1  # noqa: PLR2004 - one in ten
        parts = [pick(_SCHEMES), "://", pick(_USERS), host, pick(_PORTS), pick(_RESTS)]
        text = host.strip("[]") if is_bare else "".join(parts)
        for _ in range(pick((0, 1, 1, 2, 3, 5))):
            text = changed(text, chance)
        yield text


def changed(text: str, chance: random.Random) -> str:
    """Return *text* with a change at one place."""
    start = chance.randrange(len(text) + 1)
    end = min(start + chance.choice((0, 0, 0, 1, 1, 2, 8)), len(text))
    part, piece = text[start:end], chance.choice(_PIECES)
    new = (
        piece,
        piece,
        f"{part}{piece}{part}",
        part.swapcase(),
        "".join(f"%{byte:02x}" for byte in part.encode()),
        "",
    )
    return f"{text[:start]}{chance.choice(new)}{text[end:]}"


def connected(host: str) -> str | None:
    """Return the address or name that a connection to *host* is made to; `None` if to none."""
    bare = host.removeprefix("[").removesuffix("]").lower()
    if not bare.isascii():
        try:
            bare = bare.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    with suppress(OSError, ValueError):
        return socket.inet_ntoa(socket.inet_aton(bare))
    with suppress(ValueError):
        address = IPv6Address(bare)
        return str(address.ipv4_mapped or address)
    return bare.removesuffix(".")


def is_covered(host: str, entry: str) -> bool:
    """Return whether *host*, as `connected` returns it, is *entry* or lies below it."""
    with suppress(ValueError):
        return str(ip_address(host)) == str(ip_address(entry))
    with suppress(ValueError):
        ip_address(host)
        return False  # An address lies below no domain.
    return host == entry or host.endswith(f".{entry}")


class Tally:
    """What was allowed, and what each parser made of it."""

    def __init__(self) -> None:
        self.cases = self.allowed = 0
        self.read: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.otherwise: Counter[str] = Counter()

    def compare(self, asked: list[tuple[str, list[str]]], parsers: dict[str, Parser]) -> None:
        """Let all *parsers* read what is allowed for some entries, and compare."""
        urls = [text if "://" in text else f"http://{bracketed(text)}/" for text, _ in asked]
        for name, parse in parsers.items():
            for url, (_, entries), host in zip(urls, asked, parse(urls), strict=True):
                found = None if host is None else connected(host)
                self.read[name] += found is not None
                self.refused[name] += found is None
                wrong = [entry for entry in entries if found and not is_covered(found, entry)]
                self.otherwise[name] += bool(wrong)
                if wrong and self.otherwise.total() <= _SHOWN:
                    print(f"{name} reads {host!a} in {url!a}, allowed for {wrong[0]!a}")

    def report(self) -> None:
        """Print the counts."""
        print(f"{self.cases} cases, of which {self.allowed} are allowed for an entry")
        print(f"{'':18} {'read':>8} {'refused':>8} {'read otherwise':>15}")
        for name in self.read:
            counts = (self.read[name], self.refused[name], self.otherwise[name])
            print("{:18} {:8} {:8} {:15}".format(name, *counts))


def bracketed(host: str) -> str:
    """Return a bare host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _allowing(rule: Rule) -> Callable[[str, str], bool]:
    """Return whether an entry allows a text by that rule."""

    def allows(text: str, entry: str) -> bool:
        asked = rule.understand(text)
        return asked is not None and rule.covers(entry, asked)

    return allows


#: By today's rule and by that of 0.2.0; what either allows is compared.
_ALLOWING: Final = (_allowing(hosts.HOST), _allowing(hosts.HOST_ANY_CASE))


def allowed(texts: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each text that the rule covers, with the entries that do."""
    for text in texts:
        entries = [entry for entry in _ENTRIES if any(allow(text, entry) for allow in _ALLOWING)]
        if entries:
            yield text, entries


def main() -> int:
    """Run the cases, and print what each parser made of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=600, help="stop after so long")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--without", choices=_GUARDS, help="a guard to take out, as a control")
    options = parser.parse_args()

    for name, value in _GUARDS.get(options.without, {}).items():
        setattr(hosts, name, value)
    there = dict(installed())
    parsers = {name: found for name, found in there.items() if not isinstance(found, str)}
    for name, found in there.items():
        if isinstance(found, str):
            print(f"skipped {name}: {found}")
    chance, tally = random.Random(options.seed), Tally()  # noqa: S311 - nothing secret
    end = time.monotonic() + options.seconds
    made = spellings(chance)
    while tally.cases < options.cases and time.monotonic() < end:
        some = [next(made) for _ in range(min(_AT_ONCE, options.cases - tally.cases))]
        asked = [*allowed(some)]
        tally.cases += len(some)
        tally.allowed += len(asked)
        tally.compare(asked, parsers)
    tally.report()
    return 1 if tally.otherwise.total() else 0


if __name__ == "__main__":
    sys.exit(main())
