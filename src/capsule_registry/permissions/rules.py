"""
The rules of each capability, without a database.

Source: the gate of astrid-capsule 0.2.0, restated. The registry does not know the host's
directories, so paths are compared as the manifest writes them; hosts are compared ignoring ASCII
case. A value that is not understood is not covered, and what programs read in two ways is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final
from unicodedata import normalize

from capsule_registry.manifest.matching import lower_ascii, topic_matches
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The levels of `identity`: a higher one includes those below it.
_LEVELS: Final = {"resolve": 1, "link": 2, "admin": 3}
#: The schemes whose URL names one host on a network: those that the WHATWG URL Standard calls
#: special but `file`, and transports read by RFC 3986 alone. Not those of databases, which take
#: further hosts from elsewhere in the URL.
_NETWORK_SCHEMES: Final = frozenset(
    {"ftp", "ftps", "http", "https", "sftp", "ssh", "tcp", "tls", "udp", "ws", "wss"}
)
#: Scheme, user, host or address in brackets, port, and the rest. Stricter than any program that
#: will read the URL. Some end the host at a backslash, some at `/` alone: so no `@` after `?`.
_URL: Final = re.compile(
    r"(?P<scheme>[a-z]+)://(?:(?:[a-z0-9._~:-]|%[0-9a-f]{2})*@)?"
    r"(?:\[(?P<address>[^/?#@\[\]]+)\]|(?P<host>[^/?#@:\[\]]+))"
    r"(?::(?P<port>[0-9]{0,5}))?(?:/[^ \\]*|[?#][^ \\@]*)?",
    re.ASCII | re.IGNORECASE,
)
_LAST_PORT: Final = 65_535
#: Non-ASCII letters may be read as a dot or a slash, and of IDNA there are several versions.
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
#: With such a last label, the WHATWG URL Standard and `inet_aton` read an IPv4 address.
_IPV4_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_DOMAIN: Final = 253
_PATH_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII | re.IGNORECASE)
#: What some systems read as a separator, an escape, the end of a drive's or a file's name, or, as
#: IDNA does, a dot.
_NOT_IN_COMPONENTS: Final = frozenset("/\\%:\u3002")
_WORKSPACE: Final = "workspace"

#: The entries that cover a host.
_Covering = frozenset[str]
#: A scheme, and the path's components.
_Place = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Rule:
    """How to parse a requested value (`None` if malformed), and whether an entry covers it."""

    understand: Callable[[object], Any]
    covers: Callable[[str, Any], bool]


def covering(capability: str, entries: Iterable[str], value: object) -> str | None:
    """
    Return the first of *entries* that covers *value*, or `None`.

    *entries* are the manifest's for *capability*. For a flag, *value* must be `None`.
    """
    covers = asking(capability, value)
    return None if covers is None else next(filter(covers, entries), None)


def is_understood(capability: str, value: object) -> bool:
    """Return whether *value* is well-formed for *capability*."""
    return asking(capability, value) is not None


def asking(capability: str, value: object) -> Callable[[str], bool] | None:
    """Return a test of whether an entry covers *value*; `None` if that is not understood."""
    rule = RULES.get(capability)
    if rule is None or (asked := rule.understand(value)) is None:
        return None
    return lambda entry: bool(entry) and rule.covers(entry, asked)


def _nothing(value: object) -> bool | None:
    return True if value is None else None


def _anything(value: object) -> bool:  # noqa: ARG001 - that is the rule
    return True


def _text(value: object) -> str | None:
    text = plain_text(value)
    return text if text and "\0" not in text else None


def _level(value: object) -> int | None:
    return _LEVELS.get(plain_text(value) or "")


def _host(value: object) -> _Covering | None:
    """Return what covers *value*, a host, or that of *value* as a URL; `None` if malformed."""
    text = _text(value)
    if text is None or not text.isprintable():
        return None
    if "://" not in text:
        return _address(text) if ":" in text else _domain(text)
    url = _URL.fullmatch(text)
    if url is None or int(url["port"] or 0) > _LAST_PORT:
        return None
    if lower_ascii(url["scheme"]) not in _NETWORK_SCHEMES:
        return None
    return _domain(url["host"]) if url["address"] is None else _address(url["address"])


def _address(text: str) -> _Covering | None:
    """Return what covers an IPv6 address, unless it has a zone or stands for an IPv4 one."""
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return None
    if address.scope_id is not None or address.ipv4_mapped is not None:
        return None
    return frozenset({"*", str(address)})


def _domain(text: str) -> _Covering | None:
    """Return what covers a domain, or an IPv4 address in its canonical spelling."""
    name = lower_ascii(text)
    labels = name.split(".")
    if _IPV4_NUMBER.fullmatch(labels[-1]):
        return frozenset({"*", name}) if _is_ipv4(name) else None
    # Programs take what begins with a hyphen for an option.
    if len(name) > _LONGEST_DOMAIN or name.startswith("-"):
        return None
    if not all(map(_LABEL.fullmatch, labels)):
        return None
    return frozenset({"*", *(".".join(labels[start:]) for start in range(len(labels)))})


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _place(value: object) -> _Place | None:
    """Return a path's scheme (empty if it begins with `/`) and components, or `None`."""
    text = _text(value)
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


def _flag_covers(entry: str, asked: object) -> bool:  # noqa: ARG001 - it is asked for without
    return entry == "true"


def _topic_covers(entry: str, topic: str) -> bool:
    return topic_matches(topic, entry)


def _host_covers(entry: str, covering: _Covering) -> bool:
    return lower_ascii(entry) in covering


def _place_covers(entry: str, place: _Place) -> bool:
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


def _command_covers(entry: str, command: str) -> bool:
    return command == entry or command.startswith(f"{entry} ")


def _anything_covers(entry: str, asked: object) -> bool:  # noqa: ARG001 - that is the rule
    return True


def _key_covers(entry: str, key: str) -> bool:
    return entry in ("*", key)


def _level_covers(entry: str, level: int) -> bool:
    return _LEVELS.get(entry, 0) >= level


_FLAG: Final = _Rule(_nothing, _flag_covers)
_TOPIC: Final = _Rule(_text, _topic_covers)
_PATH: Final = _Rule(_place, _place_covers)
#: All capabilities, by name.
RULES: Final[dict[str, _Rule]] = {
    "allow_prompt_injection": _FLAG,
    "uplink": _FLAG,
    "ipc_publish": _TOPIC,
    "ipc_subscribe": _TOPIC,
    "net": _Rule(_host, _host_covers),
    "net_bind": _Rule(_anything, _anything_covers),
    "host_process": _Rule(_text, _command_covers),
    "fs_read": _PATH,
    "fs_write": _PATH,
    "identity": _Rule(_level, _level_covers),
    "kv": _Rule(_text, _key_covers),
}
