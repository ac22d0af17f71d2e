"""Finding capsules and uplinks among many, at one size and at a thousand times that."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from capsule_registry import CapsuleRegistry
from support.capsules import capsule_id
from support.comparison import Finding, each, in_turn, timed
from support.setting import SMALL, platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capsule_registry import UplinkCapabilities, UplinkDescriptor
    from support.comparison import Round
    from support.setting import Setting

    #: A read method of a registry, with one argument.
    Verb = Callable[[CapsuleRegistry, Any], object]

_PAGE: Final = 100


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of finding."""
    large = setting.uplinks(setting.large)
    with CapsuleRegistry.open(large) as registry:
        find = registry.find_uplinks_with_capability
        find(_can_approve)
        pairs = in_turn(
            lambda: timed(each(find), [_can_approve] * 5),
            lambda: timed(each(_ask_each), [registry]),
            rounds=2,
            unmeasured=0,
        )
    name = f"find_uplinks_with_capability, 1 % of {setting.large:,} / asking each"
    yield pairs.times_as_fast(name, None if setting.is_quick else 40)
    yield _growth(setting, CapsuleRegistry.find_uplink_by_platform, platform)
    yield _growth(setting, CapsuleRegistry.get, capsule_id)
    yield _warm_get(setting)
    yield _growth(setting, a_page_of_list, capsule_id)


def _can_approve(capabilities: UplinkCapabilities) -> bool:
    return capabilities.can_approve


def _ask_each(registry: CapsuleRegistry) -> list[UplinkDescriptor]:
    found = registry.all_uplink_descriptors()
    return [uplink for uplink in found if _can_approve(uplink.capabilities)]


def _growth(setting: Setting, verb: Verb, name: Callable[[int], object]) -> Finding:
    """Compare a verb at both sizes, with nothing cached."""
    few, many = setting.uplinks(SMALL), setting.uplinks(setting.large)
    pairs = in_turn(
        _asking(many, verb, name, setting.large),
        _asking(few, verb, name, SMALL),
        setting.rounds(15),
    )
    what = verb.__name__.replace("a_page_of_", "a page of ")
    return pairs.times_as_long(f"{what}, not cached, {setting.large:,} / 1,000", 2)


def _warm_get(setting: Setting) -> Finding:
    """Compare `get` at both sizes, of the same few capsules again and again."""
    few, many = setting.uplinks(SMALL), setting.uplinks(setting.large)
    with CapsuleRegistry.open(many) as large, CapsuleRegistry.open(few) as small:

        def again(registry: CapsuleRegistry, size: int) -> Round:
            numbers = range(0, size, size // 500)
            return lambda: timed(each(registry.get), [*map(capsule_id, numbers)])

        pairs = in_turn(again(large, setting.large), again(small, SMALL), setting.rounds(15))
    return pairs.times_as_long(f"get, warm, {setting.large:,} / 1,000", 2)


def _asking(url: str, verb: Verb, name: Callable[[int], object], size: int) -> Round:
    """Return a round that opens the registry anew, so that its cache is empty."""
    numbers = count()

    def once() -> float:
        with CapsuleRegistry.open(url) as registry:
            given = [name(next(numbers) * 7919 % size) for _ in range(200)]
            asking = each(partial(verb, registry))
            asking(given[:100])
            return timed(asking, given[100:])

    return once


def a_page_of_list(registry: CapsuleRegistry, after: str) -> object:
    """Return the ids of the hundred capsules after *after*."""
    return registry.list(after=after, limit=_PAGE)
