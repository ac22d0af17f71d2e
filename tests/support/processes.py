"""Real processes for tests, forked from the running one so that they start at once."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Child:
    """A forked process that does some work and sends back what it prints."""

    def __init__(self, work: Callable[[Callable[[str], None]], object]) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            _run(work, writing)
        os.close(writing)
        self._output = os.fdopen(reading)

    def readline(self) -> str:
        """Return the next line that the child printed, without its line end."""
        return self._output.readline().rstrip("\n")

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> tuple[list[str], int]:
        """Wait for its end; return the whole lines that it printed and its exit code."""
        with self._output as output:
            lines = output.read().split("\n")[:-1]
        return lines, os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _run(work: Callable[[Callable[[str], None]], object], descriptor: int) -> None:
    def say(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    code = 1
    try:
        work(say)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001 - the parent is told by the exit code
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def at_once(count: int, work: Callable[[int, Callable[[str], None]], object]) -> list[list[str]]:
    """Run *work* in that many processes at once, all of which must succeed; return their lines."""

    def start(number: int) -> Child:
        return Child(lambda say: work(number, say))

    ends = [child.end() for child in [start(number) for number in range(count)]]
    assert [0] * count == [code for _, code in ends]
    return [lines for lines, _ in ends]
