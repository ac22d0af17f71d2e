"""Who is called, which capsule answers, and what a replacement costs by the rights it has."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleManifest, CapsuleRegistry
from support.capsules import capsule_id
from support.comparison import each, in_turn, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from support.comparison import Finding, Round
    from support.databases import Databases
    from support.setting import Setting

    #: A question about one capsule of many.
    Question = Callable[[CapsuleRegistry, str], object]

_FEW: Final = 100


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of routes, commands and replacements."""
    size = min(setting.large, 100_000)
    few, many = setting.routes(_FEW), setting.routes(size)
    for name, ask in (("routes.called", _called), ("find_command", _found)):
        pairs = in_turn(_asking(many, ask, size), _asking(few, ask, _FEW), setting.rounds(15))
        yield pairs.times_as_long(f"{name}, {size:,} capsules / {_FEW}", 2)
    for place in (setting.files, *setting.servers):
        pairs = in_turn(_replacing(place, 200), _replacing(place, 5), setting.rounds(15))
        yield pairs.times_as_long(f"replace, 200 rights / 5 rights, {place.title}", 1.5)


def _called(registry: CapsuleRegistry, name: str) -> None:
    [call] = registry.routes.called(f"{name}.v1.ask")
    if call.capsule_id != name:
        raise AssertionError("what is measured is a wrong answer")


def _found(registry: CapsuleRegistry, name: str) -> None:
    found = registry.find_command(f"ask-{name}")
    if found is None or found.capsule_id != name:
        raise AssertionError("what is measured is a wrong answer")


def _asking(url: str, ask: Question, size: int) -> Round:
    numbers = count()

    def once() -> float:
        with CapsuleRegistry.open(url) as registry:
            given = [capsule_id(next(numbers) * 7919 % size) for _ in range(200)]
            asking = each(partial(ask, registry))
            asking(given[:100])
            return timed(asking, given[100:])

    return once


def _replacing(place: Databases, rights: int) -> Round:
    """Return a round that replaces a capsule of so many rights, by one with another description."""
    url, numbers = place.new(), count()

    def manifests(size: int) -> Sequence[CapsuleManifest]:
        return [_with_rights(rights, next(numbers)) for _ in range(size)]

    def once() -> float:
        with CapsuleRegistry.open(url, migrate=True) as registry:
            if registry.is_empty():
                registry.register(_with_rights(rights, next(numbers)))
            replacing = each(registry.replace)
            replacing(manifests(5))
            return timed(replacing, manifests(20))

    return once


def _with_rights(rights: int, number: int) -> CapsuleManifest:
    hosts = ", ".join(f'"host{right}.example"' for right in range(rights))
    return CapsuleManifest.parse(
        f'[package]\nname = "many"\nversion = "1.0.0"\ndescription = "the {number}th"\n'
        f"[capabilities]\nnet = [{hosts}]\n"
    )
