"""
The rule of each capability and comparison, without a database.

What a runtime compares is said by the rows: a rule is found by a capability and its `Matching`, and
none asks which runtime it is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from capsule_registry.manifest.matchings import Matching
from capsule_registry.manifest.rights import CAPABILITIES
from capsule_registry.permissions import hosts, paths, ports, topics
from capsule_registry.permissions.rule import Rule, plain_value
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The levels of `identity`, and the operations that need them: a higher one includes the lower.
_LEVELS: Final = {"resolve": 1, "link": 2, "admin": 3}
_OPERATIONS: Final = {**_LEVELS, "unlink": 2, "list_links": 2, "create_user": 3}
_SET: Final = "true"


class DecisionReason(StrEnum):
    """Why a check was allowed or denied."""

    GRANTED = "granted"
    #: The UUID is not registered, or its lease has expired.
    UNKNOWN_UUID = "unknown_uuid"
    #: No capsule is registered under the UUID's capsule id.
    NOT_REGISTERED = "not_registered"
    #: The capsule is not ready.
    NOT_READY = "not_ready"
    #: There is no such capability.
    UNKNOWN_CAPABILITY = "unknown_capability"
    #: The value is missing, or malformed for this capability.
    MALFORMED_VALUE = "malformed_value"
    #: No grant of the capsule covers the value.
    NOT_GRANTED = "not_granted"
    #: An entry of the manifest covers the value, where the runtime does not read it.
    NOT_READ_BY_RUNTIME = "not_read_by_runtime"
    #: A grant covers the address, which is not one of the host itself alone.
    NOT_LOOPBACK = "not_loopback"
    #: A stored row is not as the registry writes it.
    UNREADABLE = "unreadable"
    #: The answer came after the deadline.
    TOO_LATE = "too_late"


class Verdict(NamedTuple):
    """The decision about a capsule, and the entry that allows it."""

    why: DecisionReason
    grant: str | None = None


class Entry(NamedTuple):
    """An entry of a manifest for a capability: what a row of `grants` says of it."""

    value: str
    matching: str
    counts: bool


def _nothing(value: object) -> bool | None:
    return True if value is None else None


def _text(value: object) -> str | None:
    """Return a text, which may be empty."""
    text = plain_text(value)
    return None if text is None or "\0" in text else text


def _level(value: object) -> int | None:
    return _OPERATIONS.get(plain_text(value) or "")


def _is_set(entry: str, _: object) -> bool:
    return entry == _SET


def _command_covers(entry: str, command: str) -> bool:
    return bool(entry) and _program_covers(entry, command)


def _program_covers(entry: str, command: str) -> bool:
    return command == entry or command.startswith(f"{entry} ")


def _key_covers(entry: str, key: str) -> bool:
    return entry in ("*", key)


def _level_covers(entry: str, level: int) -> bool:
    return _LEVELS.get(entry, 0) >= level


_FLAG: Final[dict[str, Rule]] = {Matching.FLAG: Rule(_nothing, _is_set)}
_PATHS: Final[dict[str, Rule]] = {
    Matching.PATH: paths.PATH,
    Matching.WRITTEN_PATH: paths.WRITTEN_PATH,
}
#: By capability and matching. What is not here covers nothing: to look it up is a fault.
RULES: Final[dict[str, dict[str, Rule]]] = {
    "allow_persistent": {**_FLAG},
    "allow_prompt_injection": {**_FLAG},
    "uplink": {**_FLAG},
    "ipc_publish": {
        Matching.SEGMENTS: topics.PUBLISH_SEGMENTS,
        Matching.SUBTREE: topics.PUBLISH_SUBTREE,
    },
    "ipc_subscribe": {
        Matching.SEGMENTS: topics.SUBSCRIBE_SEGMENTS,
        Matching.SUBTREE: topics.SUBSCRIBE_SUBTREE,
    },
    "net": {Matching.HOST: hosts.HOST, Matching.HOST_ANY_CASE: hosts.HOST_ANY_CASE},
    "net_connect": {Matching.HOST_PORT: ports.HOST_PORT},
    "net_bind": {
        Matching.BIND: ports.BIND,
        Matching.ANY_OR_BIND: ports.ANY_OR_BIND,
        Matching.SOCKET: ports.SOCKET,
    },
    "host_process": {
        Matching.PROGRAM: Rule(_text, _program_covers),
        Matching.COMMAND: Rule(plain_value, _command_covers),
    },
    "fs_read": {**_PATHS},
    "fs_write": {**_PATHS},
    "identity": {Matching.LEVEL: Rule(_level, _level_covers)},
    "kv": {Matching.KEY: Rule(plain_value, _key_covers)},
}
#: The question whether a capability is held at all; its value is the capability's name.
HOLDS: Final = "holds"
#: The names of which one may ask so: those of topics are none.
_HELD: Final = frozenset(CAPABILITIES) - {"ipc_publish", "ipc_subscribe"}
#: What may be asked.
QUESTIONS: Final = frozenset({*RULES, HOLDS})


def deciding(capability: str, value: object) -> str | None:
    """Return the capability whose entries decide; `None` if there is none of that name."""
    name = plain_text(value) if capability == HOLDS else capability
    return name if name in RULES else None


def judge(capability: str, entries: Iterable[Entry], value: object) -> Verdict:
    """
    Judge whether a capsule may do that by *entries*, those of the capability that decides.

    The first entry that counts and covers the value is the one that allows it.

    Raises:
        KeyError: There is no rule of an entry's matching.
    """
    if capability == HOLDS:
        return _holding(entries, value)
    rules = RULES[capability]
    asked: dict[str, Any] = {}
    unmet = DecisionReason.NOT_GRANTED
    for entry in entries:
        rule = rules[entry.matching]
        if entry.matching not in asked:
            asked[entry.matching] = rule.understand(value)
        understood = asked[entry.matching]
        if understood is None or not rule.covers(entry.value, understood):
            continue
        reason = _outcome(entry, is_refused=rule.refuses(understood))
        if reason is DecisionReason.GRANTED:
            return Verdict(reason, entry.value)
        unmet = min(unmet, reason, key=_SPECIFIC.index)
    is_known = any(one is not None for one in asked.values())
    if not (is_known if asked else is_understood(capability, value)):
        return Verdict(DecisionReason.MALFORMED_VALUE)
    return Verdict(unmet)


def _outcome(entry: Entry, *, is_refused: bool) -> DecisionReason:
    """Return what an entry that covers the value makes of it."""
    if not entry.counts:
        return DecisionReason.NOT_READ_BY_RUNTIME
    return DecisionReason.NOT_LOOPBACK if is_refused else DecisionReason.GRANTED


#: The reasons of a denial by entries, the most specific first.
_SPECIFIC: Final = (
    DecisionReason.NOT_LOOPBACK,
    DecisionReason.NOT_READ_BY_RUNTIME,
    DecisionReason.NOT_GRANTED,
)


def _holding(entries: Iterable[Entry], name: object) -> Verdict:
    """Judge whether anything of a capability is held: a list is not empty, or a flag is set."""
    found = [*entries]
    if plain_text(name) not in _HELD:
        return Verdict(DecisionReason.NOT_GRANTED)
    for entry in found:
        if entry.counts:
            return Verdict(DecisionReason.GRANTED, entry.value)
    return Verdict(DecisionReason.NOT_READ_BY_RUNTIME if found else DecisionReason.NOT_GRANTED)


def is_understood(capability: str, value: object) -> bool:
    """Return whether *value* is well-formed for *capability*, by any of its rules."""
    rules = RULES.get(capability, {})
    return any(rule.understand(value) is not None for rule in rules.values())
