"""
Mutation testing of the capability checks: does a test fail for every small change?

    python stress/mutants.py

Changes the rules, the judgement and the checks in one place at a time, in copies of the tree, and
runs their tests on SQLite until the first failure. Prints the mutants that survive; exits with 1 if
one is not listed with a reason in `equivalent_mutants.txt`, or if a listed one was killed or is no
longer made. That must happen with `--without`, which leaves out a file of tests. Unlike the
packages for mutation testing, it also changes statements outside functions (the tables of rules,
the query), removes parts of them, and writes nothing in the checkout.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import shutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest

from support.mutations import Mutant, mutants_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHECKOUT: Final = Path(__file__).parents[1]
_COPIED: Final = ("src", "migrations", "tests", "stress", "pyproject.toml")
#: The modules' directory.
_PLACE: Final = "src/capsule_registry/permissions"
#: The modules, and the tests that must kill their mutants, the quickest first.
_TESTS: Final = {
    "rules": [
        *("test_permissions.py", "test_rules_of_today.py", "test_permission_properties.py"),
        "test_check_questions.py",
    ],
    "topics": ["test_permissions.py", "test_rules_of_today.py", "test_permission_properties.py"],
    "hosts": ["test_permitted_hosts.py", "test_rules_of_today.py", "test_permission_properties.py"],
    "ports": ["test_rules_of_today.py", "test_permissions.py", "test_permission_properties.py"],
    "paths": ["test_permitted_paths.py", "test_rules_of_today.py", "test_permission_properties.py"],
    "judgement": [
        *("test_judgement.py", "test_rules_of_today.py", "test_permission_properties.py"),
        *("test_check_questions.py", "test_check_many.py"),
    ],
    "checks": [
        *("test_checks.py", "test_check_lookups.py", "test_check_questions.py"),
        *("test_check_outages.py", "test_fault_log.py", "test_check_faults.py"),
    ],
}
#: Imported once for all mutants; nothing of the project, which is imported from the copies.
_LOADED: Final = (
    *(
        "alembic.autogenerate",
        "alembic.command",
        "hypothesis.strategies",
        "pydantic",
        "rich.console",
    ),
    *("sqlalchemy.dialects.mysql", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite"),
)
#: Equivalent mutants, as they are printed, below the reason of each group.
_LIST: Final = Path(__file__).with_name("support") / "equivalent_mutants.txt"
EQUIVALENT: Final = {
    line
    for line in _LIST.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("# ")
}


class Slot:
    """A copy of the tree, in which one mutant after another is tested."""

    def __init__(self, directory: Path, left_out: str | None) -> None:
        self.directory = directory
        self._left_out = left_out
        for name in _COPIED:
            if (CHECKOUT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(CHECKOUT / name, directory / name, ignore=ignored)
            else:
                shutil.copy(CHECKOUT / name, directory / name)

    def start(self, module: str, source: str, limit: float) -> tuple[int, float]:
        """Start the tests of *module* as *source*; return the process id and its deadline."""
        (self.directory / f"{_PLACE}/{module}.py").write_text(source, encoding="utf-8")
        process = os.fork()
        if not process:
            os.setsid()
            self._run([name for name in _TESTS[module] if name != self._left_out])
        return process, time.monotonic() + limit

    def _run(self, tests: Iterable[str]) -> None:
        """Run the tests in this process, and end it."""
        code = 1
        try:
            with (self.directory / "output").open("w") as output:
                for number in (1, 2):
                    os.dup2(output.fileno(), number)
            os.chdir(self.directory)
            sys.path.insert(0, str(self.directory / "src"))
            options = ["-x", "-p", "no:cacheprovider", "--backend", "sqlite", "--hypothesis-seed=1"]
            options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
            temporary = f"--basetemp={self.directory / 'tmp'}"
            files = [f"tests/permissions/{name}" for name in tests]
            code = pytest.main([*options, temporary, *files])
        except BaseException:  # noqa: BLE001 - the process ends here, whatever it is
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(code))

    @property
    def output(self) -> str:
        """The end of what the last tests printed."""
        return (self.directory / "output").read_text(encoding="utf-8")[-2000:]

    def restore(self, module: str) -> None:
        """Restore the module from the checkout."""
        name = f"{_PLACE}/{module}.py"
        shutil.copy(CHECKOUT / name, self.directory / name)


def run(
    slots: list[Slot], mutants: Iterable[Mutant], limit: float
) -> Iterator[tuple[Mutant, bool]]:
    """Test the mutants, one per slot at a time; yield whether each was noticed."""
    left, free = iter(mutants), [*slots]
    running: dict[int, tuple[Slot, Mutant, float]] = {}
    while True:
        while free and (mutant := next(left, None)):
            slot = free.pop()
            process, end = slot.start(mutant.module, mutant.source, limit)
            running[process] = (slot, mutant, end)
        if not running:
            return
        process, status = os.waitpid(-1, os.WNOHANG)
        if process:
            slot, mutant, _ = running.pop(process)
            slot.restore(mutant.module)
            free.append(slot)
            yield mutant, status != 0
            continue
        for late in [number for number, (_, _, end) in running.items() if end < time.monotonic()]:
            with suppress(ProcessLookupError):
                os.killpg(late, signal.SIGKILL)
        time.sleep(0.01)


def main() -> int:
    """Test every mutant, and print those that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", choices=_TESTS, action="append", help="by default all")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--without", metavar="FILE", help="tests to leave out, as a control")
    options = parser.parse_args()

    sys.dont_write_bytecode = True
    for name in _LOADED:
        importlib.import_module(name)
    modules = options.module or [*_TESTS]
    sources = {name: (CHECKOUT / f"{_PLACE}/{name}.py").read_text() for name in modules}
    mutants = [mutant for name in modules for mutant in mutants_of(name, sources[name])]
    with TemporaryDirectory() as directory:
        slots = []
        for number in range(options.processes):
            place = Path(directory) / str(number)
            place.mkdir()
            slots.append(Slot(place, options.without))
        began = time.monotonic()
        unchanged = [
            Mutant(name, 0, name, ast.unparse(ast.parse(sources[name]))) for name in modules
        ]
        if failed := [mutant.name for mutant, noticed in run(slots, unchanged, 600) if noticed]:
            print(f"the tests of {' and '.join(failed)} fail as it is:")
            print(*(slot.output for slot in slots), sep="\n")
            return 2
        limit = 3 * (time.monotonic() - began) + 10
        survivors = []
        for mutant, noticed in run(slots, mutants, limit):
            if not noticed:
                survivors.append(mutant.name)
                if mutant.name not in EQUIVALENT:
                    print(f"survived: line {mutant.line}, {mutant.name}", flush=True)
    return report(mutants, survivors)


def report(mutants: list[Mutant], survivors: list[str]) -> int:
    """Print the counts, and needless entries of the list; return the exit code."""
    made = {mutant.module for mutant in mutants}
    listed = {name for name in EQUIVALENT if name.split(":")[0].split(".")[0] in made}
    in_vain = sorted(listed.difference(survivors))
    for name in in_vain:
        print(f"listed as equivalent, but noticed or not made: {name}")
    unexplained = [name for name in survivors if name not in EQUIVALENT]
    print(
        f"{len(mutants)} mutants, {len(mutants) - len(survivors)} noticed,"
        f" {len(survivors) - len(unexplained)} equivalent, {len(unexplained)} survived"
    )
    return 1 if unexplained or in_vain else 0


if __name__ == "__main__":
    sys.exit(main())
