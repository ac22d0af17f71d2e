"""Judgement alone: which entries are looked at, what they hold, and what is a fault."""

from __future__ import annotations

from typing import Any

import pytest

from capsule_registry.manifest.matchings import Matching
from capsule_registry.permissions.judgement import (
    LISTED,
    NO_ENTRIES,
    QUESTIONS,
    DecisionReason,
    Entries,
    Entry,
    deciding,
    judge,
    listed_values,
)
from capsule_registry.permissions.rules import RULES

MANY = 20
#: What a capsule may be asked to hold.
HELD = sorted({*RULES} - {"ipc_publish", "ipc_subscribe"})


def entry(value: str, matching: str = Matching.KEY, *, counts: bool = True) -> Entry:
    return Entry(value, matching, counts)


def test_few_entries_are_all_looked_at() -> None:
    """To look them up would take longer; none at all are none."""
    few = [entry("a"), entry("b")]

    assert few == Entries("kv", few).that_may_cover("a")
    assert () == NO_ENTRIES.that_may_cover("a")


@pytest.mark.parametrize("value", [None, "", b"a", 7])
def test_of_a_malformed_value_all_entries_are_looked_at(value: object) -> None:
    """None of them covers it; which they are tells that it is malformed."""
    many = [entry(f"{number}") for number in range(MANY)]

    assert many == Entries("kv", many).that_may_cover(value)


@pytest.mark.parametrize("capability", ["nothing", None])
def test_of_an_unknown_capability_all_entries_are_looked_at(capability: str | None) -> None:
    """It has no rule by which they could be told apart."""
    many = [entry(f"{number}") for number in range(MANY)]

    assert many == Entries(capability, many).that_may_cover("1")


@pytest.mark.parametrize("matching", ["nothing", "", Matching.FLAG, Matching.HOST])
def test_among_many_entries_one_without_a_rule_is_a_fault_too(matching: str) -> None:
    """It is not skipped in a look-up, but fails, which denies and is logged."""
    keys = [entry(f"{number}") for number in range(MANY)]
    for many in ([entry("a", matching), *keys], [*keys, entry("a", matching)]):
        found = Entries("kv", many).that_may_cover("a")
        with pytest.raises(KeyError):
            judge("kv", found, "a")


def test_entries_are_found_again() -> None:
    """What was found for one value does not decide about the next."""
    many = Entries("kv", [entry(f"{number}") for number in range(MANY)])

    assert [["1"], ["2"], [], ["1"]] == [
        [one.value for one in many.that_may_cover(value)] for value in ("1", "2", "x", "1")
    ]


def test_the_first_entry_allows_wherever_it_was_found() -> None:
    """Of several that cover the value, the one that stands first in the manifest is named."""
    for first, second in (("a", "*"), ("*", "a")):
        others = [entry(f"{number}") for number in range(MANY)]
        many = [*others, entry(first), *others, entry(second)]
        found = Entries("kv", many).that_may_cover("a")
        assert (DecisionReason.GRANTED, first) == judge("kv", found, "a")


def test_these_comparisons_are_made_by_the_database() -> None:
    """Those whose entries are texts that can be listed; every other is read and compared here."""
    assert {"host", "key", "segments", "subtree", "command", "program"} == LISTED


@pytest.mark.parametrize(
    ("capability", "value", "expected"),
    [
        ("kv", "a", ["*", "a"]),
        ("kv", "*", ["*"]),
        ("kv", "\ud800", ["*"]),  # In no database is such an entry.
        ("net", "https://a.example/x", ["*", "a.example", "example"]),
        ("net", ".".join(["a"] * 127), ["*", *(".".join(["a"] * n) for n in range(1, 128))]),
        ("host_process", "a b  c", ["a", "a b", "a b ", "a b  c"]),
        ("ipc_publish", "a.b", ["*.*", "*.b", "a.*", "a.b"]),
        ("ipc_subscribe", "a", ["*", "a"]),
        # Too many to list.
        ("ipc_publish", "a.b.c.d.e.f.g.h", None),
        ("host_process", f"a{' b' * 50}", None),
        # None of this kind, or not understood.
        ("fs_read", "workspace://a", None),
        ("net_bind", "127.0.0.1:80", None),
        ("net_connect", "a.example:80", None),
        ("uplink", None, None),
        ("identity", "link", None),
        ("kv", None, None),
        ("kv", "", None),
        ("kv", b"a", None),
        ("net", "https://", None),
        ("nothing", "a", None),
    ],
)
def test_what_covers_a_value_is_listed_for_the_database(
    capability: str, value: Any, expected: list[str] | None
) -> None:
    """Every entry that can cover it and be stored, unless they are many, or not told by texts."""
    assert expected == listed_values(capability, value)


def test_one_asks_of_the_capabilities_and_whether_they_are_held() -> None:
    """Nothing else is a question."""
    assert {*RULES, "holds"} == QUESTIONS


@pytest.mark.parametrize(
    ("capability", "value", "expected"),
    [
        ("kv", "net", "kv"),
        ("kv", None, "kv"),
        ("holds", "net", "net"),
        ("holds", "ipc_publish", "ipc_publish"),
        ("holds", "holds", None),
        ("holds", "nothing", None),
        ("holds", "", None),
        ("holds", None, None),
        ("holds", b"net", None),
        ("nothing", "net", None),
        ("", "net", None),
        (None, "net", None),
    ],
)
def test_entries_of_the_capability_decide_or_of_the_one_that_is_asked_for(
    capability: str | None, value: object, expected: str | None
) -> None:
    """A capability that does not exist is none."""
    assert expected == deciding(capability, value)


@pytest.mark.parametrize("name", HELD)
def test_a_capability_is_held_by_an_entry_that_counts(name: str) -> None:
    """The first of them is named; those that do not count explain a denial."""
    unread = entry("x", counts=False)

    assert (DecisionReason.GRANTED, "a") == judge("holds", [unread, entry("a"), entry("b")], name)
    assert (DecisionReason.NOT_READ_BY_RUNTIME, None) == judge("holds", [unread], name)
    assert (DecisionReason.NOT_GRANTED, None) == judge("holds", [], name)


@pytest.mark.parametrize("name", ["ipc_publish", "ipc_subscribe", "holds", "nothing", "", None, 1])
def test_nothing_else_is_held(name: object) -> None:
    """Not even topics, whatever the entries."""
    assert (DecisionReason.NOT_GRANTED, None) == judge("holds", [entry("a")], name)
