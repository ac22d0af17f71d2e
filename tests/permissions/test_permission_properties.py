"""Properties of the rules that hold for every entry and every value."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

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
