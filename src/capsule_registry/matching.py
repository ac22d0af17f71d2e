"""How topics, capabilities and platforms are compared. Source: astrid-capsule 0.2.0."""

from __future__ import annotations

from typing import Final

#: Rust's `char::is_whitespace`: Python's `str.strip()` also takes U+001C to U+001F.
_WHITESPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def has_valid_segments(text: str) -> bool:
    """Say whether *text* is dot-separated segments, none of them empty."""
    return all(text.split("."))


def topic_matches(topic: str, pattern: str) -> bool:
    """
    Say whether *pattern* covers *topic*.

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


def capability_matches(requirement: str, provided: str) -> bool:
    """
    Say whether *provided* (`topic:a.b`) meets *requirement* (`topic:a.*`).

    The part before the first colon must be equal; of the rest, each pair of segments is equal or
    has a `*` on either side. The requirement may have one segment more, which is not looked at:
    a quirk of the original, kept so that boot order stays the same. No permission rests on it.
    """
    required_type, required_body = _split_capability(requirement)
    provided_type, provided_body = _split_capability(provided)
    if required_type != provided_type:
        return False
    required, given = required_body.split("."), provided_body.split(".")
    return len(required) - len(given) in (0, 1) and all(
        left == right or "*" in (left, right) for left, right in zip(required, given, strict=False)
    )


def _split_capability(text: str) -> tuple[str, str]:
    kind, colon, body = text.partition(":")
    return (kind, body) if colon else ("", text)


def trim(text: str) -> str:
    """Return *text* without the white space of Unicode at either end, as Rust's `trim` does."""
    return text.strip(_WHITESPACE)


def normalize_platform(text: str) -> str:
    """Return *text* trimmed, and its ASCII letters in lower case (`É` stays)."""
    return trim(text).translate(_ASCII_LOWER)
