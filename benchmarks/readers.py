"""Several processes that read one file while another writes."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleRegistry
from support.capsules import fresh, session
from support.comparison import Finding, Target, each, for_a_while, in_turn
from support.neighbour import neighbour
from support.setting import MIDDLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.comparison import Round
    from support.setting import Setting

_NAME: Final = "find_by_uuid beside a writer, 2 reader processes / 1"


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the row of concurrent readers."""
    if (os.cpu_count() or 1) < 2:  # noqa: PLR2004 - two readers
        yield Finding.not_run(_NAME, "one processor", Target(1.7))
        return
    url = setting.sessions(MIDDLE)
    seconds = 0.5 if setting.is_quick else 1.5
    with (
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes,
        neighbour(url),
    ):
        rate = partial(_seconds_a_lookup, processes, url, seconds)
        pairs = in_turn(partial(rate, 2), partial(rate, 1), setting.rounds(7))
    yield pairs.times_as_fast(_NAME, 1.7, "lookups a second of all, warm, 100 commits/s")


def _seconds_a_lookup(
    processes: ProcessPoolExecutor, url: str, seconds: float, readers: int
) -> float:
    """Return the seconds per lookup, over all readers."""
    start = time.monotonic() + 2
    work = partial(look_up, url, start, seconds)
    return 1 / sum(processes.map(work, range(readers)))


def look_up(url: str, start: float, seconds: float, _: int) -> float:
    """Look up hot UUIDs from *start* on, and return the rate per second."""
    known = [session(number) for number in range(1_000)]
    with CapsuleRegistry.open(url) as registry:
        each(registry.find_by_uuid)(known)
        reading: Round = for_a_while(each(registry.find_by_uuid), fresh(known), seconds)
        time.sleep(max(0, start - time.monotonic()))
        return 1 / reading()
