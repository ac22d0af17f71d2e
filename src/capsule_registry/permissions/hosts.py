"""
The rules of `net`: which hosts an entry covers.

Source: the gates of astrid-capsule 0.2.0 and of astrid 010d22d, restated. A value that is not
understood is not covered, and what programs read in two ways is not.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from capsule_registry.manifest.matching import lower_ascii
from capsule_registry.permissions.rule import Rule, plain_value

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

#: The entries that cover a host.
_Covering = frozenset[str]


def _host(value: object) -> _Covering | None:
    """Return what covers *value*, a host, or that of *value* as a URL; `None` if malformed."""
    text = plain_value(value)
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


def _covers(entry: str, covering: _Covering) -> bool:
    return entry in covering


def _covers_in_any_case(entry: str, covering: _Covering) -> bool:
    return lower_ascii(entry) in covering


def _host_in_brackets(value: object) -> _Covering | None:
    """Return the same as today's runtime writes it: an IPv6 address in brackets."""
    covering = _host(value)
    if covering is None:
        return None
    return frozenset(f"[{entry}]" if ":" in entry else entry for entry in covering)


def _all(covering: _Covering) -> _Covering:
    return covering


HOST: Final = Rule(_host_in_brackets, _covers, keys=_all)
HOST_ANY_CASE: Final = Rule(_host, _covers_in_any_case, keys=_all, key=lower_ascii)
