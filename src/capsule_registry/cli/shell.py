"""A program that takes over the terminal until it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

#: A program that a signal ended has this exit code plus the signal's number.
_ENDED_BY_SIGNAL: Final = 128


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Make the signals that end a process unwind it, so that what it has written is removed."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - given to each handler
        sys.exit(_ENDED_BY_SIGNAL + number)

    earlier = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def run_to_its_end(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program on this terminal, whose signals are for it alone; return its exit code."""
    earlier = {number: signal.signal(number, _ignore) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        with subprocess.Popen(arguments, env=environment) as process:  # noqa: S603 - that is asked for
            try:
                code = process.wait()
            except SystemExit:
                process.terminate()
                raise
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    return code if code >= 0 else _ENDED_BY_SIGNAL - code


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing; unlike `SIG_IGN`, the program does not inherit it."""
