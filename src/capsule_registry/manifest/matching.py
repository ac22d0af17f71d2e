"""Comparing topics, capabilities and platforms. Source: astrid-capsule 0.2.0."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Rust's `char::is_whitespace`: Python's `str.strip()` also takes U+001C to U+001F.
_WHITESPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


#: A topic of more segments has too many patterns to list.
_MAX_SEGMENTS: Final = 8
#: No subtree covers a topic of more segments.
_MOST_SEGMENTS: Final = 20


def has_valid_segments(text: str) -> bool:
    """Return whether *text* is dot-separated segments, none of them empty."""
    return all(text.split("."))


def topic_matches(topic: str, pattern: str) -> bool:
    """
    Return whether *pattern* covers *topic*.

    Both have the same number of dot-separated segments, none empty; each segment of the pattern is
    `*` or equals the topic's, case included. `*` is special in the pattern only, and only alone:
    `**` and `a*` are literals.
    """
    if not (has_valid_segments(topic) and has_valid_segments(pattern)):
        return False
    topic_segments, pattern_segments = topic.split("."), pattern.split(".")
    return len(topic_segments) == len(pattern_segments) and all(
        wanted in ("*", given)
        for given, wanted in zip(topic_segments, pattern_segments, strict=True)
    )


def subtree_matches(topic: str, pattern: str) -> bool:
    """
    Return whether *pattern* covers *topic*, a trailing `.*` all that lies below.

    As `topic_matches`, but such a pattern covers one or more segments in its place, and empty
    segments are like others. A lone `*` covers one segment. Source: astrid 0.8.0.
    """
    segments = topic.split(".")
    if len(segments) > _MOST_SEGMENTS:
        return False
    if pattern.endswith(".*"):
        wanted = pattern[:-2].split(".")
        is_long = len(segments) > len(wanted)
    else:
        wanted = pattern.split(".")
        is_long = len(segments) == len(wanted)
    return is_long and all(
        one in ("*", given) for one, given in zip(wanted, segments, strict=False)
    )


class TopicPattern(NamedTuple):
    """A pattern taken apart, to be compared with others."""

    segments: tuple[str, ...]
    #: Whether it covers one or more segments after these.
    is_open: bool

    @classmethod
    def of(cls, pattern: str, *, is_subtree: bool) -> TopicPattern:
        """Return *pattern* taken apart; *is_subtree* if a trailing `.*` covers all below."""
        is_open = is_subtree and pattern.endswith(".*")
        return cls(tuple((pattern[:-2] if is_open else pattern).split(".")), is_open)

    def meets(self, other: TopicPattern) -> bool:
        """Return whether there are topics that both cover."""
        mine, theirs = len(self.segments) + self.is_open, len(other.segments) + other.is_open
        if (mine > theirs and not other.is_open) or (theirs > mine and not self.is_open):
            return False
        return all(
            one == two or "*" in (one, two)
            for one, two in zip(self.segments, other.segments, strict=False)
        )


def patterns_covering(topic: str) -> list[str] | None:
    """
    Return every pattern that covers *topic*, to look them up.

    `None` if there are too many: over eight segments, each of which doubles their number.
    """
    if not has_valid_segments(topic):
        return []
    segments = topic.split(".")
    if len(segments) > _MAX_SEGMENTS:
        return None
    return [
        ".".join(chosen) for chosen in product(*(dict.fromkeys((one, "*")) for one in segments))
    ]


def subtrees_covering(topic: str) -> list[str] | None:
    """Return every pattern by which `subtree_matches`, to look them up; `None` if too many."""
    patterns = patterns_covering(topic)
    if patterns is None:
        return None
    segments = topic.split(".")
    for length in range(1, len(segments)):
        for above in patterns_covering(".".join(segments[:length])) or ():
            patterns.append(f"{above}.*")
    return patterns


def capability_matches(requirement: str, provided: str) -> bool:
    """
    Return whether *provided* (`topic:a.b`) meets *requirement* (`topic:a.*`).

    The part before the first colon must be equal; of the rest, each pair of segments is equal or
    has a `*` on either side. The requirement may have one segment more, which is ignored: a
    quirk of the original, kept so that boot order stays the same. No permission depends on it.
    """
    required_type, required_body = split_capability(requirement)
    provided_type, provided_body = split_capability(provided)
    if required_type != provided_type:
        return False
    required, given = required_body.split("."), provided_body.split(".")
    return len(required) - len(given) in (0, 1) and all(
        left == right or "*" in (left, right) for left, right in zip(required, given, strict=False)
    )


def split_capability(text: str) -> tuple[str, str]:
    """Return the word before the first colon, empty if there is no colon, and the rest."""
    kind, colon, body = text.partition(":")
    return (kind, body) if colon else ("", text)


def trim(text: str) -> str:
    """Return *text* without Unicode white space at either end, as Rust's `trim` does."""
    return text.strip(_WHITESPACE)


def normalize_platform(text: str) -> str:
    """Return *text* trimmed, and its ASCII letters in lower case (`É` stays)."""
    return lower_ascii(trim(text))


def lower_ascii(text: str) -> str:
    """Return *text* with its ASCII letters in lower case, and no others changed."""
    return text.translate(_ASCII_LOWER)


class Offers:
    """An index of offered capabilities, to look up who meets a requirement."""

    def __init__(self, offers: Iterable[tuple[int, str]]) -> None:
        self._exact: dict[tuple[str, str], list[int]] = {}
        self._patterns: dict[str, list[tuple[int, str]]] = {}
        self._all: dict[str, list[tuple[int, str]]] = {}
        for who, capability in offers:
            kind, body = split_capability(capability)
            self._all.setdefault(kind, []).append((who, capability))
            if "*" in body.split("."):
                self._patterns.setdefault(kind, []).append((who, capability))
            else:
                self._exact.setdefault((kind, body), []).append(who)

    def meeting(self, requirement: str) -> list[int]:
        """Return who meets *requirement* (see `capability_matches`), in order, each once."""
        kind, body = split_capability(requirement)
        segments = body.split(".")
        if "*" in segments:
            possible, found = self._all.get(kind, []), []
        else:
            possible = self._patterns.get(kind, [])
            found = [*self._exact.get((kind, body), [])]
            if len(segments) > 1:
                found += self._exact.get((kind, ".".join(segments[:-1])), [])
        found += [who for who, offer in possible if capability_matches(requirement, offer)]
        return sorted(set(found))
