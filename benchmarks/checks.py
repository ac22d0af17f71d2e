"""Capability checks: `is_allowed`."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleManifest, CapsuleRegistry
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
    yield from _of_many_rights(setting)


def _of_many_rights(setting: Setting) -> Iterator[Finding]:
    """Yield what a check costs where a capsule has many rights, where it is not kept in memory."""
    for place in (setting.files, *setting.servers):
        with CapsuleRegistry.open(place.new(), migrate=True) as registry:
            many, few = (_with_rights(registry, size) for size in (200, 5))
            pairs = in_turn(
                for_a_while(_asking(registry), _new_topics(many), _SECONDS),
                for_a_while(_asking(registry), _new_topics(few), _SECONDS),
                setting.rounds(21),
            )
        yield pairs.times_as_long(f"check, 200 rights / 5 rights, new questions, {place.title}", 2)


def _with_rights(registry: CapsuleRegistry, size: int) -> UUID:
    """Register a capsule that may publish so many topics; return a session of it."""
    keys = [f'"kind{number}.v1.*" = "opaque"' for number in range(size - 1)]
    package = ["[package]", f'name = "with-{size}"', 'version = "0.1.0"']
    text = "\n".join([*package, "[publish]", *keys, '"notes.*" = "opaque"'])
    sender = session(size)
    registry.register(CapsuleManifest.parse(text), uuids=[sender])
    return sender


def _new_topics(sender: UUID) -> Callable[[int], list[Question]]:
    """Return a function that makes questions of one sender, none of which was asked before."""
    numbers = count()

    def give(size: int) -> list[Question]:
        return [(sender, f"notes.{next(numbers)}.opened") for _ in range(size)]

    return give


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
