"""
The rules of `ipc_publish` and `ipc_subscribe`: which topics, or patterns, an entry covers.

A topic is published; a subscription asks with its pattern, which an entry covers as if it were a
topic. Both are within the limits of the host. Source: the gates of astrid-capsule 0.2.0 and of
astrid 010d22d, restated.
"""

from __future__ import annotations

from typing import Final

from capsule_registry.manifest.matching import (
    has_valid_segments,
    patterns_covering,
    subtree_matches,
    subtrees_covering,
    topic_matches,
)
from capsule_registry.permissions.rule import Rule, is_short, plain_value
from capsule_registry.plain_values import plain_text

_LONGEST: Final = 256  # Bytes in UTF-8.
_MOST_SEGMENTS: Final = 8


def _topic(value: object) -> str | None:
    """Return a topic that the host takes."""
    text = plain_text(value)
    if text is None or not is_short(text, _LONGEST):
        return None
    is_valid = has_valid_segments(text) and text.count(".") < _MOST_SEGMENTS
    return text if is_valid else None


def _subscription(value: object) -> str | None:
    """Return a pattern that the host takes: a `*` stands for what comes last alone."""
    text = _topic(value)
    return None if text is None or "*" in text.split(".")[:-1] else text


def _topic_without_nul(value: object) -> str | None:
    return _topic(plain_value(value))


def _subscription_without_nul(value: object) -> str | None:
    return _subscription(plain_value(value))


def _segments_cover(entry: str, topic: str) -> bool:
    return topic_matches(topic, entry)


def _subtree_covers(entry: str, topic: str) -> bool:
    return subtree_matches(topic, entry)


PUBLISH_SEGMENTS: Final = Rule(_topic_without_nul, _segments_cover, keys=patterns_covering)
PUBLISH_SUBTREE: Final = Rule(_topic, _subtree_covers, keys=subtrees_covering)
SUBSCRIBE_SEGMENTS: Final = Rule(_subscription_without_nul, _segments_cover, keys=patterns_covering)
SUBSCRIBE_SUBTREE: Final = Rule(_subscription, _subtree_covers, keys=subtrees_covering)
