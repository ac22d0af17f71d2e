"""Capability checks: `is_allowed`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleRegistry
from lookups import selecting
from support.capsules import fresh, session
from support.comparison import each, for_a_while, in_turn
from support.raw import connect
from support.setting import MIDDLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from support.comparison import Finding, Loop
    from support.setting import Setting

    Question = tuple[UUID, str]

_SECONDS: Final = 0.05


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of capability checks."""
    url = setting.sessions(MIDDLE)
    known = [session(number) for number in range(1_000)]
    with CapsuleRegistry.open(url) as registry:
        if not registry.is_allowed(known[0], "ipc_publish", "notes.1.opened"):
            raise AssertionError("what is measured is a denial")
        raw = connect(url)
        pairs = in_turn(
            for_a_while(_asking(registry), _questions(fresh(known)), _SECONDS),
            for_a_while(each(selecting(raw)), fresh(known), _SECONDS),
            setting.rounds(21),
        )
        raw.close()
    yield pairs.times_as_fast("is_allowed, warm / SELECT of the UUID alone", 5)


def _questions(new: Callable[[int], Sequence[UUID]]) -> Callable[[int], list[Question]]:
    """Return a function that makes questions, in which several senders share each topic."""

    def give(size: int) -> list[Question]:
        return [(uuid, f"notes.{place % 50}.opened") for place, uuid in enumerate(new(size))]

    return give


def _asking(registry: CapsuleRegistry) -> Loop[Question]:
    ask = registry.is_allowed

    def loop(given: Sequence[Question]) -> None:
        for uuid, topic in given:
            ask(uuid, "ipc_publish", topic)

    return loop
