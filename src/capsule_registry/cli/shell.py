"""A program that takes over the terminal until it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

#: A program that a signal ended has this exit code plus the signal's number.
_ENDED_BY_SIGNAL: Final = 128
#: What ends a process from outside.
_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Make the signals that end a process unwind it, so that what it has written is removed."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - given to each handler
        sys.exit(_ENDED_BY_SIGNAL + number)

    with _handling(_ENDS, end):
        yield


def run_to_its_end(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program on this terminal, whose signals are for it alone; return its exit code."""
    with _handling((signal.SIGINT, signal.SIGQUIT), _ignore), _put_off(_ENDS) as resume:
        process = subprocess.Popen(arguments, env=environment)  # noqa: S603 - that is asked for
        with process:
            try:
                resume()
                code = process.wait()
            except SystemExit:
                process.terminate()
                raise
    return code if code >= 0 else _ENDED_BY_SIGNAL - code


@contextmanager
def _put_off(numbers: Sequence[int]) -> Iterator[Callable[[], None]]:
    """
    Keep signals back until the function that is given is called.

    A program that a signal ends while it starts another would not know whom to end with it.
    """
    came: list[int] = []
    with ExitStack() as handling:
        handling.enter_context(_handling(numbers, lambda number, _frame: came.append(number)))

        def resume() -> None:
            handling.close()
            for number in came:
                signal.raise_signal(number)

        yield resume


@contextmanager
def _handling(numbers: Sequence[int], handler: Callable[..., object]) -> Iterator[None]:
    """Let *handler* take the signals."""
    earlier = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in earlier.items():
            signal.signal(number, before)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing; unlike `SIG_IGN`, the program does not inherit it."""
