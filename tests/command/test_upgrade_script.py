"""`db upgrade --sql` prints a script for the database's own program."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capsule_registry import CapsuleRegistry
from support.commands import run
from support.factories import TELEGRAM, make_manifest
from support.shells import dumped, run_script

if TYPE_CHECKING:
    from support.backends import Backend


@pytest.fixture
def script(backend: Backend) -> str:
    """The script for this database."""
    program = {"sqlite": "sqlite3", "postgresql": "psql"}.get(backend.name, "mariadb")
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    result = run(backend.empty_url(), "db", "upgrade", "--sql")
    assert (0, "") == (result.exit_code, result.stderr)
    return result.stdout


def test_the_script_makes_the_schema_of_an_upgrade(backend: Backend, script: str) -> None:
    """Piped into the program as printed, it makes every object the same, and the registry opens."""
    url, other = backend.empty_url(), backend.empty_url()
    run_script(url, script)
    CapsuleRegistry.open(other, migrate=True).close()

    assert dumped(backend, other) == dumped(backend, url)
    with CapsuleRegistry.open(url, migrate=False) as registry:
        registry.register(make_manifest(uplink=[TELEGRAM]))
        assert ["alpha"] == registry.list()
        registry.history.prune(registry.history.anchor())
        assert registry.history.verify().ok


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9, 0.99])
def test_a_script_that_was_cut_short_is_run_again(
    backend: Backend, script: str, cut: float
) -> None:
    """Wherever it ended, the whole script then makes the whole schema."""
    url, other = backend.empty_url(), backend.empty_url()
    statements = script.strip().split("\n\n")
    run_script(url, "\n\n".join(statements[: int(len(statements) * cut)]) + "\n")
    run_script(url, script)
    CapsuleRegistry.open(other, migrate=True).close()

    assert dumped(backend, other) == dumped(backend, url)
    with CapsuleRegistry.open(url, migrate=False) as registry:
        assert [] == registry.list()


def test_an_upgrade_takes_up_a_script_that_was_cut_short(backend: Backend, script: str) -> None:
    """What the script left half made, the library completes."""
    url, other = backend.empty_url(), backend.empty_url()
    statements = script.strip().split("\n\n")
    run_script(url, "\n\n".join(statements[: len(statements) // 2]) + "\n")
    for place in (url, other):
        CapsuleRegistry.open(place, migrate=True).close()

    assert dumped(backend, other) == dumped(backend, url)


def test_printing_creates_nothing(backend: Backend) -> None:
    """Neither a file nor a table."""
    url = backend.empty_url()
    assert 0 == run(url, "db", "upgrade", "--sql").exit_code

    assert backend.is_server or not Path(url.removeprefix("sqlite:///")).exists()
    assert [] == dumped(backend, url)
