"""Properties of the rules that hold for every entry and every value."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capsule_registry.manifest.matchings import Matching
from capsule_registry.permissions.judgement import (
    LISTED,
    DecisionReason,
    Entries,
    Entry,
    judge,
    listed_values,
)
from capsule_registry.permissions.rules import RULES
from support.rules import covering, is_understood

TOPICS = ("ipc_publish", "ipc_subscribe")


def covers(capability: str, entry: str, value: str) -> bool:
    """Return whether *entry* alone covers *value*."""
    return covering(capability, [entry], value) is not None


ANYTHING = st.one_of(
    st.text(),
    st.binary(),
    st.integers(),
    st.floats(),
    st.none(),
    st.booleans(),
    st.lists(st.text()),
)


@given(st.one_of(st.sampled_from([*RULES]), st.text()), st.lists(st.text()), ANYTHING)
def test_whatever_is_asked_the_answer_is_an_entry_or_none(
    capability: str, entries: list[str], value: object
) -> None:
    """Nothing raises, and what covers is one of the entries and not empty."""
    found = covering(capability, entries, value)

    assert found is None or (found in entries and found)
    assert found is None or is_understood(capability, value)


WORDS = st.lists(st.sampled_from(["a", "b", "*", "", "ab", "\n"]), min_size=1, max_size=4)


@given(st.sampled_from(TOPICS), WORDS.map(".".join), WORDS.map(".".join))
def test_a_covered_topic_matches_as_a_regular_expression(
    capability: str, entry: str, topic: str
) -> None:
    """The rule restated: `*` is one or more characters other than a dot; asked last alone."""
    wanted = [r"[^.]+" if word == "*" else re.escape(word) for word in entry.split(".")]
    is_whole = all(entry.split(".")) and all(topic.split("."))
    expected = is_whole and re.fullmatch(r"\.".join(wanted), topic) is not None
    if capability == "ipc_subscribe" and "*" in topic.split(".")[:-1]:
        expected = False

    assert expected == covers(capability, entry, topic)


@given(WORDS.map(" ".join), WORDS.map(" ".join))
def test_a_covered_command_has_the_words_of_the_entry(entry: str, command: str) -> None:
    """The rule restated: split at single spaces, it begins with the words of the entry."""
    words, begun = command.split(" "), entry.split(" ")
    expected = bool(command and entry) and begun == words[: len(begun)]

    assert expected == covers("host_process", entry, command)


PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "a",
                "b",
                "*",
                ".",
                "..",
                "/",
                "//",
                "://",
                ":",
                " ",
                "A",
                "home",
                "cwd",
                "workspace",
            ),
            *("unix:", "127.0.0.1", "example", "80", "+80", "080", "[", "]", "::1", "", "\n", "é"),
        ]
    ),
    max_size=7,
)
ALMOST = st.one_of(PIECES.map("".join), WORDS.map(".".join))
EVERY_RULE = [(capability, matching) for capability, rules in RULES.items() for matching in rules]


@given(
    st.sampled_from(EVERY_RULE),
    st.lists(st.tuples(ALMOST, st.booleans()), min_size=9, max_size=14),
    st.one_of(st.none(), ALMOST),
)
@settings(max_examples=150)
def test_of_many_entries_those_are_found_that_cover(
    rule: tuple[str, str], given_entries: list[tuple[str, bool]], value: str | None
) -> None:
    """Looked up by their keys, they give the verdict that looking at every one gives."""
    capability, matching = rule
    asked = given_entries[0][0] if value is None else value
    entries = [Entry(text, matching, counts) for text, counts in given_entries]
    found = Entries(capability, entries).that_may_cover(asked)
    expected = judge(capability, entries, asked)

    assert expected.grant == judge(capability, found, asked).grant
    listed = listed_values(capability, asked)
    if listed is not None:
        fetched = [one for one in entries if one.matching not in LISTED or one.value in listed]
        assert expected.grant == judge(capability, fetched, asked).grant
        if expected.why is DecisionReason.NOT_READ_BY_RUNTIME:
            assert expected.why is judge(capability, fetched, asked).why


@pytest.mark.parametrize(
    ("capability", "matching", "entry", "value"),
    [
        ("fs_read", Matching.PATH, "cwd://a/b", "workspace://a/b/c"),
        ("fs_read", Matching.WRITTEN_PATH, "workspace://a/b", "workspace://a/b/c"),
        ("net", Matching.HOST, "a.example", "b.a.example"),
        ("net", Matching.HOST_ANY_CASE, "A.example", "b.a.example"),
        ("net_connect", Matching.HOST_PORT, "A.example:080", "a.example:80"),
        ("host_process", Matching.COMMAND, "a b", "a b c"),
        ("host_process", Matching.PROGRAM, "a b", "a b c"),
        ("kv", Matching.KEY, "a", "a"),
        ("ipc_publish", Matching.SEGMENTS, "a.*", "a.b"),
        ("ipc_publish", Matching.SUBTREE, "a.*", "a.b.c"),
        ("ipc_subscribe", Matching.SEGMENTS, "a.*", "a.b"),
        ("ipc_subscribe", Matching.SUBTREE, "a.*", "a.b.c"),
    ],
)
def test_of_many_entries_no_others_are_looked_at(
    capability: str, matching: Matching, entry: str, value: str
) -> None:
    """What a check costs does not depend on how much else of that kind a capsule may do."""
    others = [Entry(f"x://x{number}/x", matching, counts=True) for number in range(20)]
    wanted = Entry(entry, matching, counts=True)
    found = Entries(capability, [*others, wanted, *others]).that_may_cover(value)

    assert [wanted] == found
