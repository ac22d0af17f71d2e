"""What the scripts of all peers do: answer how long something took. See `peers.py`."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def directory() -> Path:
    """Return where the peer may keep what it likes."""
    return Path(sys.argv[1])


def manifest() -> str:
    """Return the manifest that is registered under each name."""
    return (directory() / "manifest.json").read_text()


def answer(version: str, verbs: Mapping[str, Callable[[str], object]]) -> None:
    """Say that the peer is ready, and answer until nobody asks any more."""
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        work, names = verbs[asked["verb"]], asked["names"]
        gc.disable()
        began = time.perf_counter()
        for name in names:
            work(name)
        seconds = (time.perf_counter() - began) / len(names)
        gc.enable()
        print(json.dumps({"seconds": seconds}), flush=True)
