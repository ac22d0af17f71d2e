"""
The rules of each capability, without a database.

Source: the gate of astrid-capsule 0.2.0, restated. The registry does not know the host's
directories, so paths are compared as the manifest writes them; hosts are compared ignoring ASCII
case. A value that is not understood is not covered.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.manifest.matching import lower_ascii, topic_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The levels of `identity`: a higher one includes those below it.
_LEVELS: Final = {"resolve": 1, "link": 2, "admin": 3}
#: What no host contains; programs disagree on how to read `%` and `\\`.
_NOT_IN_HOSTS: Final = frozenset(" \t\r\n\"#%&'()*+,/:;<=>?@[\\]^`{|}")
#: Scheme, user, host or address in brackets, port, and the rest. Stricter than any program that
#: will read the URL, and it changes no letter.
_URL: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._~:%-]*@)?"
    r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<host>[^/?#@:\[\]]+))"
    r"(?::(?P<port>[0-9]{0,5}))?(?:[/?#].*)?",
    re.ASCII | re.IGNORECASE,
)
_LAST_PORT: Final = 65_535
_WORKSPACE: Final = "workspace"

#: A host, and whether it can lie below a domain.
_Host = tuple[str, bool]
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


def plain_text(value: object) -> str | None:
    """Return the text *value* as a plain `str`, without a subclass's methods, or `None`."""
    return str.__str__(value) if isinstance(value, str) else None


def _text(value: object) -> str | None:
    text = plain_text(value)
    return text if text and "\0" not in text else None


def _level(value: object) -> int | None:
    return _LEVELS.get(plain_text(value) or "")


def _host(value: object) -> _Host | None:
    """Return *value* as a host, or the host of *value* as a URL; `None` if malformed."""
    text = _text(value)
    # Programs disagree on the host of such a text, so it has none.
    if text is None or "\\" in text or not text.isprintable() or any(map(str.isspace, text)):
        return None
    if "://" not in text:
        return _plain_host(text)
    url = _URL.fullmatch(text)
    if url is None or int(url["port"] or 0) > _LAST_PORT:
        return None
    address = url["address"]
    return _plain_host(url["host"] if address is None else address)


def _plain_host(text: str) -> _Host | None:
    if "%" not in text:
        with suppress(ValueError):
            return str(ip_address(text)), False
    if not text or _NOT_IN_HOSTS & set(text):
        return None
    # Non-ASCII letters may be read as a dot or a slash.
    return lower_ascii(text), text.isascii()


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
    if (separator and not scheme) or any(map(_is_ambiguous, components)):
        return None
    return scheme, components


def _is_ambiguous(component: str) -> bool:
    return component in ("", ".", "..") or "%" in component or "\\" in component


def _flag_covers(entry: str, asked: object) -> bool:  # noqa: ARG001 - it is asked for without
    return entry == "true"


def _topic_covers(entry: str, topic: str) -> bool:
    return topic_matches(topic, entry)


def _host_covers(entry: str, host: _Host) -> bool:
    name, has_domain = host
    wanted = lower_ascii(entry)
    return wanted in ("*", name) or (has_domain and name.endswith(f".{wanted}"))


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
