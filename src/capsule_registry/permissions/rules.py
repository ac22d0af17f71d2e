"""
The rule of each capability and comparison, without a database.

What a runtime compares is said by the rows: a rule is found by a capability and its `Matching`, and
none asks which runtime it is.
"""

from __future__ import annotations

from typing import Final

from capsule_registry.manifest.matchings import Matching
from capsule_registry.permissions import hosts, paths, ports, topics
from capsule_registry.permissions.rule import Rule, plain_value
from capsule_registry.plain_values import plain_text

#: The levels of `identity`, and the operations that need them: a higher one includes the lower.
_LEVELS: Final = {"resolve": 1, "link": 2, "admin": 3}
_OPERATIONS: Final = {**_LEVELS, "unlink": 2, "list_links": 2, "create_user": 3}
_SET: Final = "true"
_MOST_WORDS: Final = 30


def _nothing(value: object) -> bool | None:
    return True if value is None else None


def _text(value: object) -> str | None:
    """Return a text, which may be empty."""
    text = plain_text(value)
    return None if text is None or "\0" in text else text


def _level(value: object) -> int | None:
    return _LEVELS.get(plain_text(value) or "")


def _operation(value: object) -> int | None:
    return _OPERATIONS.get(plain_text(value) or "")


def _is_set(entry: str, _: object) -> bool:
    return entry == _SET


def _command_covers(entry: str, command: str) -> bool:
    return bool(entry) and _program_covers(entry, command)


def _program_covers(entry: str, command: str) -> bool:
    return command == entry or command.startswith(f"{entry} ")


def _commands_covering(command: str) -> list[str] | None:
    """Return the command, and what of it ends before each space."""
    ends = [place for place, character in enumerate(command) if character == " "]
    return None if len(ends) > _MOST_WORDS else [command, *(command[:end] for end in ends)]


def _key_covers(entry: str, key: str) -> bool:
    return entry in ("*", key)


def _keys_covering(key: str) -> tuple[str, str]:
    return "*", key


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
        Matching.PROGRAM: Rule(_text, _program_covers, keys=_commands_covering),
        Matching.COMMAND: Rule(plain_value, _command_covers, keys=_commands_covering),
    },
    "fs_read": {**_PATHS},
    "fs_write": {**_PATHS},
    "identity": {
        Matching.LEVEL: Rule(_level, _level_covers),
        Matching.OPERATION: Rule(_operation, _level_covers),
    },
    "kv": {Matching.KEY: Rule(plain_value, _key_covers, keys=_keys_covering)},
}


def is_understood(capability: str, value: object) -> bool:
    """Return whether *value* is well-formed for *capability*, by any of its rules."""
    rules = RULES.get(capability, {})
    return any(rule.understand(value) is not None for rule in rules.values())
