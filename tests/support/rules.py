"""The rules of capabilities: asked as 0.2.0 compares, or by one of the comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.manifest.readings import Reading
from capsule_registry.manifest.rights import matching_of
from capsule_registry.permissions.judgement import LISTED, Entries, Entry, judge, listed_values
from capsule_registry.permissions.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capsule_registry.manifest.matchings import Matching
    from capsule_registry.permissions.judgement import Verdict

_FIRST = Reading()
#: More entries than are looked at one by one; none of them counts.
_OTHERS = 9


def verdict(capability: str, matching: Matching, entries: Iterable[str], value: object) -> Verdict:
    """Return the verdict of *entries* on *value*, which they also grant when they are looked up."""
    wanted = [Entry(one, matching, counts=True) for one in entries]
    expected = judge(capability, wanted, value)
    many = [*wanted, *(Entry(f"\n{n}", matching, counts=False) for n in range(_OTHERS))]
    found = Entries(capability, many).that_may_cover(value)
    assert expected.grant == judge(capability, found, value).grant
    if matching in LISTED and (listed := listed_values(capability, value)) is not None:
        fetched = [one for one in many if one.value in listed]
        assert expected.grant == judge(capability, fetched, value).grant
    return expected


def covering(capability: str, entries: Iterable[str], value: object) -> str | None:
    """Return the first of *entries* that allows *value*, or `None`."""
    if capability not in RULES:
        return None
    return verdict(capability, matching_of(capability, _FIRST), entries, value).grant


def is_understood(capability: str, value: object) -> bool:
    """Return whether *value* is well-formed for *capability*."""
    rule = RULES.get(capability, {}).get(matching_of(capability, _FIRST))
    return rule is not None and rule.understand(value) is not None
