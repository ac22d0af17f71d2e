"""
The command in forks of one interpreter that has imported the library, where something is missing.

    python tests/support/forked_commands.py ENVIRONMENT CALLS

CALLS is JSON: a pair for each call, of the working directory and the words. Each child makes its
environment, runs `main` and ends as an interpreter does. Printed is JSON again: for each call its
exit code, standard output and standard error.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import resource
import signal
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_SECONDS: Final = 60
_AT_ONCE: Final = 2
_STREAMS: Final = ("stdin", "stdout", "stderr")
#: What the library imports only when it needs it.
_LATE: Final = (
    *("alembic.command", "alembic.script", "rich.console", "rich.progress", "rich.table"),
    *("sqlalchemy.dialects.sqlite.pysqlite", "sqlalchemy.dialects.mysql", "platformdirs", "pwd"),
)


def _close(*descriptors: int) -> None:
    """Close them, and have no stream for them, as if they had been closed from the start."""
    for descriptor in descriptors:
        os.close(descriptor)
        for name in (_STREAMS[descriptor], f"__{_STREAMS[descriptor]}__"):
            setattr(sys, name, None)


def _fill(*descriptors: int) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(full, descriptor)
    os.close(full)


def _limit(what: int, most: int) -> None:
    resource.setrlimit(what, (most, most))


def _leave_directory() -> None:
    gone = Path.cwd() / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()


_MISSING: Final[dict[str, Callable[[], None]]] = {
    "no standard input": partial(_close, 0),
    "no standard output": partial(_close, 1),
    "no standard error": partial(_close, 2),
    "no standard streams": partial(_close, 0, 1, 2),
    "a full output": partial(_fill, 1),
    "nothing but full outputs": partial(_fill, 1, 2),
    "a full disk": partial(_limit, resource.RLIMIT_FSIZE, 0),
    "no descriptors": partial(_limit, resource.RLIMIT_NOFILE, 7),
    "no directory": _leave_directory,
}


def _import_all(environment: str) -> None:
    library = import_module("capsule_registry")
    for found in pkgutil.walk_packages(library.__path__, "capsule_registry."):
        if not found.name.endswith("__main__") and ".migrations" not in found.name:
            import_module(found.name)
    if environment != "no descriptors":  # There the imports are what fails.
        for name in _LATE:
            import_module(name)


def _enter(environment: str, directory: str, output: int, errors: int) -> None:
    """Make the *environment* in a child, with nothing else of its parent's open."""
    signal.alarm(_LONGEST_SECONDS)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    os.chdir(directory)
    _MISSING.get(environment, lambda: None)()
    for descriptor, errors_are, buffering in ((1, "strict", -1), (2, "backslashreplace", 1)):
        if getattr(sys, name := _STREAMS[descriptor]) is not None:
            stream = open(descriptor, "w", buffering, errors=errors_are, closefd=False)  # noqa: SIM115 - until the end
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _ended(child: int, *pipes: int) -> tuple[int, str, str]:
    """Return the exit code of the *child* and what it wrote to the *pipes*."""
    written = dict.fromkeys(pipes, b"")
    with DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if part := os.read(key.fd, 65536):
                    written[key.fd] += part
                else:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    _, status = os.waitpid(child, 0)
    output, errors = (text.decode() for text in written.values())
    return os.waitstatus_to_exitcode(status), output, errors


def main() -> None:
    """Fork a child for each call, two at a time; in a child, run the command."""
    environment, calls = sys.argv[1], json.loads(sys.argv[2])
    _import_all(environment)
    command = import_module("capsule_registry.cli.main")
    gc.freeze()  # A child that ends would look through all that was imported.
    running: list[tuple[int, int, int]] = []
    results = []
    for directory, words in calls:
        (output, to_output), (errors, to_errors) = os.pipe(), os.pipe()
        if not (child := os.fork()):
            sys.argv = ["capsule-registry", *words]
            _enter(environment, directory, to_output, to_errors)
            command.main()
            return
        os.close(to_output)
        os.close(to_errors)
        running.append((child, output, errors))
        if len(running) == _AT_ONCE:
            results.append(_ended(*running.pop(0)))
    results += [_ended(*one) for one in running]
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
