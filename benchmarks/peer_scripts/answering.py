"""The protocol that all peers' scripts share; see `peers.py`."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def directory() -> Path:
    """Return the peer's working directory."""
    return Path(sys.argv[1])


def manifest() -> str:
    """Return the manifest to register under each name."""
    return (directory() / "manifest.json").read_text()


def work_through(work: Callable[[str], object], names: Iterable[str]) -> None:
    """Call *work* with each of *names*."""
    for name in names:
        work(name)


def answer(version: str, verbs: Mapping[str, Callable[[str], object]]) -> None:
    """Report that the peer is ready, and answer requests until stdin ends."""
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        work, names, callers = verbs[asked["verb"]], asked["names"], asked["callers"]
        shares = [names[place::callers] for place in range(callers)]
        gc.disable()
        began = time.perf_counter()
        if callers == 1:
            work_through(work, names)
        else:
            threads = [Thread(target=work_through, args=(work, share)) for share in shares]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        seconds = (time.perf_counter() - began) / len(names)
        gc.enable()
        print(json.dumps({"seconds": seconds}), flush=True)
