"""
The rules of `net_connect` and `net_bind`: which hosts and ports an entry covers.

Source: astrid 010d22d, restated; of `net_bind` without a value also astrid-capsule 0.2.0.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

from capsule_registry.manifest.matching import lower_ascii
from capsule_registry.permissions.rule import Rule, is_short, plain_value

_LONGEST_HOST: Final = 255  # Bytes in UTF-8.
#: What programs that read a URL take for the end of a host, or for what stands before it.
_NOT_IN_HOSTS: Final = frozenset("/\\?#@")
_LAST_PORT: Final = 65_535
_PORT: Final = re.compile(r"[0-9]{1,5}")
#: As the runtime reads the port of an entry.
_PORT_OF_ENTRY: Final = re.compile(r"\+?[0-9]+")
_SOCKET: Final = "unix:"


class _Address(NamedTuple):
    """A host and its port; 0 asks to resolve the host, or to bind to any free port."""

    host: str
    port: int


#: What is asked of `net_bind`: an address, or the socket of the command: by name, or by none.
_Bind = _Address | str


def _connection(value: object) -> _Address | None:
    """Return what `HOST:PORT` asks for; a host alone is one to be resolved."""
    text = plain_value(value)
    if text is None:
        return None
    return _address(text) if ":" in text else _checked(text, "0")


def _address(text: str) -> _Address | None:
    host, _, port = text.rpartition(":")
    return _checked(host, port)


def _checked(host: str, port: str) -> _Address | None:
    is_port = bool(_PORT.fullmatch(port)) and int(port) <= _LAST_PORT
    if not (is_port and is_short(host, _LONGEST_HOST)):
        return None
    # So ends what is left of an address of which a part was taken for the port.
    is_host = not host.endswith(":") and _NOT_IN_HOSTS.isdisjoint(host)
    return _Address(host, int(port)) if is_host else None


def _bind(value: object) -> _Bind | None:
    """Return the address, or the name of the socket, which is empty if none is given."""
    if value is None:
        return ""
    text = plain_value(value)
    if text is None:
        return None
    # Where a port follows, `unix` may be the name of a host.
    is_named = text.startswith(_SOCKET) and not _PORT.fullmatch(text.removeprefix(_SOCKET))
    return text if is_named else _address(text)


def _covers(entry: str, asked: _Address) -> bool:
    host, _, port = entry.rpartition(":")  # Without a colon, no host, which nobody asks for.
    if lower_ascii(host) != lower_ascii(asked.host):
        return False
    return port == "*" or bool(_PORT_OF_ENTRY.fullmatch(port) and int(port) == asked.port)


def _key(entry: str) -> str:
    """Return host and port in one spelling."""
    host, _, port = entry.rpartition(":")
    number = int(port) if _PORT_OF_ENTRY.fullmatch(port) else port
    return f"{lower_ascii(host)}:{number}"


def _keys(asked: _Address) -> tuple[str, str]:
    host = lower_ascii(asked.host)
    return f"{host}:{asked.port}", f"{host}:*"


def _bind_covers(entry: str, asked: _Bind) -> bool:
    if isinstance(asked, _Address):
        return _covers(entry, asked)
    return entry.startswith(_SOCKET)


def _any_or_bind_covers(entry: str, asked: _Bind) -> bool:
    return bool(entry) if asked == "" else _bind_covers(entry, asked)


def _socket_covers(entry: str, asked: _Bind) -> bool:
    return bool(entry) and not isinstance(asked, _Address)


def _is_refused(asked: _Bind) -> bool:
    """Return whether that is an address of more than the host itself."""
    return isinstance(asked, _Address) and not is_loopback(asked.host)


def is_loopback(host: str) -> bool:
    """Return whether *host* is `localhost`, in 127.0.0.0/8, or `::1`."""
    if lower_ascii(host) == "localhost":
        return True
    try:
        return IPv4Address(host).is_loopback
    except AddressValueError:
        pass
    try:
        # Not by `is_loopback`, which some versions ask of the IPv4 address that it maps.
        return IPv6Address(host) == IPv6Address("::1")
    except AddressValueError:
        return False


HOST_PORT: Final = Rule(_connection, _covers, keys=_keys, key=_key)
BIND: Final = Rule(_bind, _bind_covers, _is_refused)
ANY_OR_BIND: Final = Rule(_bind, _any_or_bind_covers, _is_refused)
SOCKET: Final = Rule(_bind, _socket_covers)
