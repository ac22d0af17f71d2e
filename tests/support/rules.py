"""The rules of capabilities, asked as 0.2.0 compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.manifest.readings import Reading
from capsule_registry.manifest.rights import matching_of
from capsule_registry.permissions.judgement import Entry, judge
from capsule_registry.permissions.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIRST = Reading()


def covering(capability: str, entries: Iterable[str], value: object) -> str | None:
    """Return the first of *entries* that allows *value*, or `None`."""
    if capability not in RULES:
        return None
    matching = matching_of(capability, _FIRST)
    return judge(capability, [Entry(one, matching, counts=True) for one in entries], value).grant


def is_understood(capability: str, value: object) -> bool:
    """Return whether *value* is well-formed for *capability*."""
    rule = RULES.get(capability, {}).get(matching_of(capability, _FIRST))
    return rule is not None and rule.understand(value) is not None
