"""The rules alone: what an entry of a manifest covers, and above all what it does not."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from capsule_registry.permissions import rules
from capsule_registry.permissions.rules import RULES
from support.rules import covering, is_understood

FLAGS = ("allow_prompt_injection", "uplink")
TOPICS = ("ipc_publish", "ipc_subscribe")
PATHS = ("fs_read", "fs_write")
#: For each capability a valid value and an entry that covers it.
SAMPLES: dict[str, tuple[str | None, str]] = {
    **dict.fromkeys(FLAGS, (None, "true")),
    **dict.fromkeys(TOPICS, ("a.b", "a.b")),
    **dict.fromkeys(PATHS, ("workspace://src/a", "workspace://src")),
    "net": ("good.com", "good.com"),
    "net_bind": (None, "127.0.0.1:80"),
    "host_process": ("git status", "git"),
    "identity": ("link", "link"),
    "kv": ("key", "key"),
}


class Liar(str):
    """A text that claims to be, to contain and to begin with whatever it is asked."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__

    def __contains__(self, part: object) -> bool:
        return False

    def startswith(self, *_: Any) -> bool:
        return True

    def split(self, *_: Any) -> Any:
        return ["a", "b"]


class Name(StrEnum):
    """Values as text of another class, as programs pass them."""

    KEY = "key"


def covers(capability: str, entry: str, value: object) -> bool:
    """Return whether *entry* alone covers *value*; a covered value must also be understood."""
    found = covering(capability, [entry], value)
    assert found in (None, entry)
    assert found is None or is_understood(capability, value)
    return found is not None


def test_these_are_the_capabilities() -> None:
    """The eleven of the first specification, the two that came later, and no other."""
    assert {*SAMPLES, "net_connect", "allow_persistent"} == set(RULES)


@pytest.mark.parametrize("capability", SAMPLES)
def test_each_capability_can_be_granted_and_is_not_without_an_entry(capability: str) -> None:
    """The first covering entry is named; none and empty entries grant nothing."""
    value, entry = SAMPLES[capability]

    others = [] if capability == "net_bind" else ["other"]

    assert is_understood(capability, value)
    assert entry == covering(capability, ["", *others, entry, "later"], value)
    assert None is covering(capability, [], value)
    assert None is covering(capability, ["", ""], value)


@pytest.mark.parametrize(
    "capability", ["", "NET", "net ", " net", "nets", "*", "true", "кv", "kv\0"]
)
def test_there_is_no_other_capability(capability: str) -> None:
    """Any other name is covered by nothing, whatever the value."""
    for value, entry in SAMPLES.values():
        assert None is covering(capability, [entry, "*", "true"], value)
        assert not is_understood(capability, value)
        assert not rules.is_understood(capability, value)


@pytest.mark.parametrize(
    "value",
    [
        b"key",
        1,
        0,
        True,
        False,
        1.5,
        ["key"],
        ("key",),
        {"key": 1},
        {"key"},
        UUID(int=1),
        object(),
        str,
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("capability", [name for name in SAMPLES if name != "net_bind"])
def test_a_value_that_is_no_text_is_not_understood(capability: str, value: object) -> None:
    """Bytes, numbers, booleans, lists and the like are covered by nothing, and raise nothing."""
    entries = [SAMPLES[capability][1], "*", "true", "key", "1", "True"]

    assert (False, None) == (is_understood(capability, value), covering(capability, entries, value))


@pytest.mark.parametrize(
    "capability", [name for name in SAMPLES if name not in (*FLAGS, "net_bind")]
)
@pytest.mark.parametrize("value", [None, "", "\0", "a\0b", "good.com\0", "/a\0", "git \0"])
def test_a_value_that_is_missing_or_has_a_nul_is_not_understood(
    capability: str, value: Any
) -> None:
    """None, empty text and U+0000 are not covered, not even by an equal entry."""
    entries = [SAMPLES[capability][1], "*", "/", "git"]

    assert (False, None) == (is_understood(capability, value), covering(capability, entries, value))


@pytest.mark.parametrize(
    ("capability", "entry", "value"),
    [
        ("kv", "key", "other"),
        ("identity", "resolve", "admin"),
        ("net", "good.com", "evil.com"),
        ("net", "good.com", "http://evil.com"),
        ("host_process", "git", "rm"),
        ("ipc_publish", "a.b", "x.y.z"),
        ("fs_read", "/a", "/b"),
        ("fs_read", "workspace://a", "workspace://../b"),
    ],
)
def test_a_text_that_lies_is_taken_for_what_it_holds(
    capability: str, entry: str, value: str
) -> None:
    """A `str` subclass that claims to equal everything is covered only as its text is."""
    assert not covers(capability, entry, value)
    assert not covers(capability, entry, Liar(value))


def test_a_text_of_another_class_is_a_text() -> None:
    """The control of the liar: a `StrEnum` is covered as its text is."""
    assert covers("kv", "key", Name.KEY)


@pytest.mark.parametrize("capability", FLAGS)
@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        ("true", None, True),
        ("true", "", False),
        ("true", "true", False),
        ("true", True, False),
        ("false", None, False),
        ("True", None, False),
        ("*", None, False),
        ("1", None, False),
    ],
)
def test_a_flag_is_asked_for_without_a_value(
    capability: str, entry: str, value: Any, expected: bool
) -> None:
    """Only `true` grants it, and any value at all is not understood."""
    assert expected == covers(capability, entry, value)


def test_binding_to_the_socket_asks_for_nothing_in_particular() -> None:
    """Any non-empty entry grants it where no value is given."""
    assert covers("net_bind", "anything", None)
    assert not covers("net_bind", "", None)


@pytest.mark.parametrize("value", ["", "0.0.0.0:80", "127.0.0.1:22", "unix:x", 80, b"x", object()])
def test_binding_to_an_address_needs_an_entry_for_it(value: object) -> None:
    """Neither any entry grants it, nor one for the socket."""
    assert not covers("net_bind", "anything", value)
    assert not covers("net_bind", "unixx", value)
    assert covers("net_bind", "127.0.0.1:80", "127.0.0.1:80")
    assert not covers("net_bind", "0.0.0.0:80", "0.0.0.0:80")
    assert covers("net_bind", "unix:*", "unix:x")


@pytest.mark.parametrize("capability", TOPICS)
@pytest.mark.parametrize(
    ("entry", "topic", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("*.b", "a.b", True),
        ("*.*", "a.b", True),
        ("*", "a", True),
        ("a.*", "a.*", True),  # A subscription to the pattern itself.
        ("a.b", "a.*", False),  # A subscription to more than was granted.
        ("a.*", "*.*", False),
        ("a", "*", False),
        ("*", "a.b", False),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.**", "a.b", False),
        ("a.b*", "a.bc", False),
        ("a.*", "a.", False),
        ("*.b", ".b", False),
        ("a.*.c", "a..c", False),
        ("a..c", "a..c", False),
        (".", ".", False),
        ("a.b", "A.b", False),
        ("a.b", "a.b ", False),
        ("a.b", "a.b\n", False),
        ("a.b", "a/b", False),
        ("a.?", "a.b", False),
        ("a.#", "a.b", False),
    ],
)
def test_topics_are_compared_segment_by_segment(
    capability: str, entry: str, topic: str, expected: bool
) -> None:
    """`*` matches one segment, in the entry only; an empty segment is never covered."""
    assert expected == covers(capability, entry, topic)


@pytest.mark.parametrize(
    ("entry", "command", "expected"),
    [
        ("git", "git", True),
        ("git", "git status", True),
        ("git", "git  status", True),
        ("git", f"git{' x' * 30}", True),
        ("git", f"git{' x' * 300}", True),
        ("git status", "git status -s", True),
        ("git status", "git", False),
        ("git status", "git push", False),
        ("git", "gitk", False),
        ("git", "git-status", False),
        ("git", "git\tstatus", False),
        ("git", "git\nstatus", False),
        ("git", "git;rm", False),
        ("git", "git\u00a0status", False),
        ("git", " git", False),
        ("git", "/usr/bin/git", False),
        ("git", "Git", False),
        ("*", "git", False),
        ("*", "*", True),
        (" ", "git status", False),
    ],
)
def test_a_command_begins_with_the_entry_and_a_space(
    entry: str, command: str, expected: bool
) -> None:
    """It equals the entry or continues after one space; nothing else ends the entry."""
    assert expected == covers("host_process", entry, command)


@pytest.mark.parametrize("entry", ["", "resolve", "link", "admin", "root", "Admin", "*"])
@pytest.mark.parametrize("level", ["resolve", "link", "admin", "root", "", "Admin", "*", "admin "])
def test_a_higher_level_includes_those_below(entry: str, level: str) -> None:
    """`admin` includes `link`, which includes `resolve`; there is no other level."""
    expected = {
        "resolve": ["resolve", "link", "admin"],
        "link": ["link", "admin"],
        "admin": ["admin"],
    }

    assert (entry in expected.get(level, [])) == covers("identity", entry, level)


@pytest.mark.parametrize(
    ("entry", "key", "expected"),
    [
        ("key", "key", True),
        ("*", "key", True),
        ("*", "*", True),
        ("key", "*", False),
        ("key", "key2", False),
        ("key", "Key", False),
        ("key*", "key2", False),
        ("key", "key ", False),
        ("é", "e\u0301", False),
    ],
)
def test_a_key_equals_the_entry(entry: str, key: str, expected: bool) -> None:
    """Keys are compared character by character, and only the entry `*` covers every key."""
    assert expected == covers("kv", entry, key)
