"""
Judgement: whether the entries of a capsule allow a value, and if not, why.

Without a database. Of many entries only those are looked at that can cover the value, by their keys
(see `Rule`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from capsule_registry.errors import InvalidTextError
from capsule_registry.manifest.rights import CAPABILITIES
from capsule_registry.models.storable import storable_text
from capsule_registry.permissions.rules import RULES, is_understood
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from capsule_registry.permissions.rule import Rule

#: So few entries are looked at one by one.
_FEW: Final = 8
#: More texts than this are not listed.
_MOST_LISTED: Final = 128


class DecisionReason(StrEnum):
    """Why a check was allowed or denied."""

    GRANTED = "granted"
    #: The UUID is not registered, or its lease has expired.
    UNKNOWN_UUID = "unknown_uuid"
    #: No capsule is registered under the UUID's capsule id.
    NOT_REGISTERED = "not_registered"
    #: The capsule is not ready.
    NOT_READY = "not_ready"
    #: There is no such capability.
    UNKNOWN_CAPABILITY = "unknown_capability"
    #: The value is missing, or malformed for this capability.
    MALFORMED_VALUE = "malformed_value"
    #: No grant of the capsule covers the value.
    NOT_GRANTED = "not_granted"
    #: An entry of the manifest covers the value, where the runtime does not read it.
    NOT_READ_BY_RUNTIME = "not_read_by_runtime"
    #: A grant covers the address, which is not one of the host itself alone.
    NOT_LOOPBACK = "not_loopback"
    #: A stored row is not as the registry writes it.
    UNREADABLE = "unreadable"
    #: The answer came after the deadline.
    TOO_LATE = "too_late"


class Verdict(NamedTuple):
    """The decision about a capsule, and the entry that allows it."""

    why: DecisionReason
    grant: str | None = None


class Entry(NamedTuple):
    """An entry of a manifest for a capability: what a row of `grants` says of it."""

    value: str
    matching: str
    counts: bool


class Entries:
    """The entries of one capability, in order, to find those that can cover a value."""

    __slots__ = ("_places", "_rules", "all")

    def __init__(self, capability: object, entries: Sequence[Entry]) -> None:
        self.all = entries
        self._rules: Mapping[str, Rule] = RULES.get(str(capability), {})
        #: By matching and key: the places of the entries; `None` before it is needed.
        self._places: dict[str, dict[str, list[int]]] | None = None

    def that_may_cover(self, value: object) -> Sequence[Entry]:
        """Return the entries, in order, without some that cannot cover *value*."""
        if len(self.all) <= _FEW:
            return self.all
        if self._places is None:
            self._places = self._indexed()
        found: set[int] = set()
        for matching, places in self._places.items():
            keys = _keys(self._rules.get(matching), value)
            if keys is None:
                return self.all
            for key in keys:
                found.update(places.get(key, ()))
        return [self.all[place] for place in sorted(found)]

    def _indexed(self) -> dict[str, dict[str, list[int]]]:
        places: dict[str, dict[str, list[int]]] = {}
        for place, entry in enumerate(self.all):
            rule = self._rules.get(entry.matching)
            key = entry.value if rule is None or rule.key is None else rule.key(entry.value)
            places.setdefault(entry.matching, {}).setdefault(key, []).append(place)
        return places


NO_ENTRIES: Final = Entries(None, ())


def _keys(rule: Rule | None, value: object) -> Collection[str] | None:
    """Return the keys of the entries that can cover *value*; `None` if they cannot be listed."""
    if rule is None or rule.keys is None or (asked := rule.understand(value)) is None:
        return None
    return rule.keys(asked)


#: The matchings whose entries are their own keys.
LISTED: Final = frozenset(
    matching
    for rules in RULES.values()
    for matching, rule in rules.items()
    if rule.keys is not None and rule.key is None
)


def listed_values(capability: str, value: object) -> list[str] | None:
    """Return all entries, of a matching in `LISTED`, that can cover *value*; `None` if too many."""
    found: set[str] = set()
    for matching, rule in RULES.get(capability, {}).items():
        if matching in LISTED:
            keys = _keys(rule, value)
            if keys is None:
                return None
            found.update(filter(_is_storable, keys))
    return sorted(found) if 0 < len(found) <= _MOST_LISTED else None


def _is_storable(text: str) -> bool:
    """Return whether a row can hold *text*; what cannot be stored is in none."""
    try:
        storable_text("entry", text)
    except InvalidTextError:
        return False
    return True


#: The question whether a capability is held at all; its value is the capability's name.
HOLDS: Final = "holds"
#: The names of which one may ask so: those of topics are none.
_HELD: Final = frozenset(CAPABILITIES) - {"ipc_publish", "ipc_subscribe"}
#: What may be asked.
QUESTIONS: Final = frozenset({*RULES, HOLDS})


def deciding(capability: str | None, value: object) -> str | None:
    """Return the capability whose entries decide; `None` if there is none of that name."""
    name = plain_text(value) if capability == HOLDS else capability
    return name if name in RULES else None


def judge(capability: str, entries: Iterable[Entry], value: object) -> Verdict:
    """
    Judge whether a capsule may do that by *entries*, those of the capability that decides.

    The first entry that counts and covers the value is the one that allows it.

    Raises:
        KeyError: There is no rule of an entry's matching.
    """
    if capability == HOLDS:
        return _holding(entries, value)
    rules = RULES[capability]
    asked: dict[str, Any] = {}
    unmet = DecisionReason.NOT_GRANTED
    for entry in entries:
        rule = rules[entry.matching]
        if entry.matching not in asked:
            asked[entry.matching] = rule.understand(value)
        understood = asked[entry.matching]
        if understood is None or not rule.covers(entry.value, understood):
            continue
        reason = _outcome(entry, is_refused=rule.refuses(understood))
        if reason is DecisionReason.GRANTED:
            return Verdict(reason, entry.value)
        unmet = min(unmet, reason, key=_SPECIFIC.index)
    is_known = any(one is not None for one in asked.values())
    if not (is_known if asked else is_understood(capability, value)):
        return Verdict(DecisionReason.MALFORMED_VALUE)
    return Verdict(unmet)


def _outcome(entry: Entry, *, is_refused: bool) -> DecisionReason:
    """Return what an entry that covers the value makes of it."""
    if not entry.counts:
        return DecisionReason.NOT_READ_BY_RUNTIME
    return DecisionReason.NOT_LOOPBACK if is_refused else DecisionReason.GRANTED


#: The reasons of a denial by entries, the most specific first.
_SPECIFIC: Final = (
    DecisionReason.NOT_LOOPBACK,
    DecisionReason.NOT_READ_BY_RUNTIME,
    DecisionReason.NOT_GRANTED,
)


def _holding(entries: Iterable[Entry], name: object) -> Verdict:
    """Judge whether anything of a capability is held: a list is not empty, or a flag is set."""
    found = [*entries]
    if plain_text(name) not in _HELD:
        return Verdict(DecisionReason.NOT_GRANTED)
    for entry in found:
        if entry.counts:
            return Verdict(DecisionReason.GRANTED, entry.value)
    return Verdict(DecisionReason.NOT_READ_BY_RUNTIME if found else DecisionReason.NOT_GRANTED)
