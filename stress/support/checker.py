"""
Is a recorded history of calls linearizable?

The algorithm is that of Wing and Gong with Lowe's memoization of configurations: find a sequential
order of the calls, each placed between its start and end, in which every call returns what it did.
Histories are split by capsule: a history is linearizable if and only if each of its parts is. A
call of unknown outcome may have taken effect at any moment after its start, or never.

Source: G. Lowe, Testing for linearizability (2017), https://doi.org/10.1002/cpe.3928.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Call:
    """One call on one capsule: argument, result, start and end (ns)."""

    capsule: str
    verb: str
    argument: str
    result: str | bool | None
    start: int
    #: `None` if it is unknown whether it took effect.
    end: int | None


@dataclass(frozen=True, slots=True)
class State:
    """The state of one id: the token of its registration, and the UUIDs filed."""

    token: str | None = None
    uuids: frozenset[str] = frozenset()


def outcome(state: State, call: Call) -> tuple[State, str | bool | None]:
    """Return the state after the call is made alone in *state*, and its result."""
    match call.verb:
        case "register":
            if state.token is not None:
                return state, False
            return State(call.argument, state.uuids), True
        case "unregister":
            return (state, None) if state.token is None else (State(), state.token)
        case "get":
            return state, state.token
        case "register_uuid":
            return State(state.token, state.uuids | {call.argument}), None
        case "find_by_uuid":
            return state, call.argument in state.uuids
        case _:
            raise ValueError(call.verb)


def is_linearizable(calls: Iterable[Call]) -> bool:
    """Return whether the history of *calls* is linearizable."""
    parts: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        parts[call.capsule].append(call)
    return all(_part_is_linearizable(part) for part in parts.values())


_HEAD: Final = 0


class _Timeline:
    """The starts and ends of calls by time, as a linked list from which calls can be removed."""

    def __init__(self, calls: Sequence[Call]) -> None:
        moments = [(call.start, 1, number) for number, call in enumerate(calls)]
        moments += [(call.end, 0, number) for number, call in enumerate(calls) if call.end]
        moments.sort()
        self.calls = calls
        self.numbers = [-1] + [number for _, _, number in moments]
        self.is_start = [False] + [bool(kind) for _, kind, _ in moments]
        count = len(self.numbers)
        self.next = [*range(1, count), -1]
        self.previous = [*range(-1, count - 1)]
        self._end_of = {
            number: place
            for place, number in enumerate(self.numbers)
            if place and not self.is_start[place]
        }
        self.ends_left = len(self._end_of)

    def take(self, place: int) -> None:
        """Remove the call that starts at *place*."""
        self._unlink(place)
        end = self._end_of.get(self.numbers[place])
        if end is not None:
            self._unlink(end)
            self.ends_left -= 1

    def put_back(self, place: int) -> None:
        """Put back the call that starts at *place*, which must be the last one removed."""
        end = self._end_of.get(self.numbers[place])
        if end is not None:
            self._link(end)
            self.ends_left += 1
        self._link(place)

    def _unlink(self, place: int) -> None:
        before, after = self.previous[place], self.next[place]
        self.next[before] = after
        if after != -1:
            self.previous[after] = before

    def _link(self, place: int) -> None:
        before, after = self.previous[place], self.next[place]
        self.next[before] = place
        if after != -1:
            self.previous[after] = place


def _part_is_linearizable(calls: Sequence[Call]) -> bool:
    timeline = _Timeline(calls)
    state, done = State(), 0
    seen: set[tuple[int, State]] = set()
    path: list[tuple[int, State]] = []
    place = timeline.next[_HEAD]
    while timeline.ends_left:
        if timeline.is_start[place]:
            call = calls[timeline.numbers[place]]
            after, result = outcome(state, call)
            configuration = (done | 1 << timeline.numbers[place], after)
            if (call.end is None or result == call.result) and configuration not in seen:
                seen.add(configuration)
                path.append((place, state))
                done, state = configuration
                timeline.take(place)
                place = timeline.next[_HEAD]
            else:
                place = timeline.next[place]
        elif path:
            # No call may be placed after the end of one not placed yet: backtrack.
            place, state = path.pop()
            done &= ~(1 << timeline.numbers[place])
            timeline.put_back(place)
            place = timeline.next[place]
        else:
            return False
    return True


def with_stale_read(calls: Sequence[Call], chance: random.Random) -> list[Call]:
    """
    Return the history with one read made stale.

    A `get` returns the token of a registration that had been acknowledged as undone before the read
    began; since no token is used twice, no order of the calls explains it.
    """
    gone = [call for call in calls if call.verb == "unregister" and call.result and call.end]
    while True:
        undone = chance.choice(gone)
        reads = [
            place
            for place, call in enumerate(calls)
            if call.verb == "get"
            and call.capsule == undone.capsule
            and call.start > (undone.end or 0)
        ]
        if reads:
            place = chance.choice(reads)
            stale = replace(calls[place], result=undone.result)
            return [*calls[:place], stale, *calls[place + 1 :]]
