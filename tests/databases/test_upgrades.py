"""Upgrades beside other processes: many at once, killed midway, and during writes."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from capsule_registry import CapsuleRegistry, RegistryAdmin, SchemaVersionError
from capsule_registry.cli.main import capsule_registry
from capsule_registry.database.database import Database
from capsule_registry.schema.migrations import migrations_directory, run_migrations
from capsule_registry.schema.upgrade import migrating
from capsule_registry.schema.version import OLDEST_SUPPORTED, SCHEMA_VERSION
from support.backends import shape
from support.factories import TELEGRAM, make_manifest
from support.histories import assert_chain_holds
from support.processes import Child, at_once
from support.schemas import NAMES, file_of, statements

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.backends import Backend

# Python warns of a fork beside threads.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NUMBER = int(SCHEMA_VERSION.removeprefix("v"))
NEXT = f"v{NUMBER + 1:04d}"


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_are_those_that_were_reviewed(name: str) -> None:
    """They match docs/schema, which `python tests/support/schemas.py` writes."""
    assert file_of(name).read_text() == statements(name)


def test_many_processes_upgrade_at_once(backend: Backend) -> None:
    """Eight run `db upgrade` on an empty database: all succeed, and the schema is complete."""
    url = backend.empty_url()

    def upgrade(number: int, say: Callable[[str], None]) -> None:
        capsule_registry.main(["--database", url, "db", "upgrade"])

    at_once(8, upgrade)

    assert [(NUMBER,)] == backend.rows(url, "SELECT count(*) FROM schema_versions")
    assert shape(backend.new_url()) == shape(url)


def killed_at(url: str, statement: int) -> int:
    """Return the exit code of an upgrade that is killed before the given statement."""

    def upgrade(say: Callable[[str], None]) -> None:
        count = 0

        def step(*_: object) -> None:
            nonlocal count
            count += 1
            if count == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        sa.event.listen(sa.Engine, "before_cursor_execute", step)
        with RegistryAdmin.open(url) as admin:
            admin.upgrade()

    return Child(upgrade).end()[1]


@pytest.mark.parametrize("statement", [6, 12, 18, 24, 30, 36, 42])
def test_an_upgrade_that_is_killed_is_taken_up_again(backend: Backend, statement: int) -> None:
    """Wherever it was killed, no lock is left, and the next upgrade completes the schema."""
    url = backend.empty_url()
    assert -signal.SIGKILL == killed_at(url, statement)

    with CapsuleRegistry.open(url, migrate=True) as registry:
        registry.register(make_manifest(uplink=[TELEGRAM]))
        assert ["alpha"] == registry.list()
    assert shape(backend.new_url()) == shape(url)


def test_a_schema_that_was_left_half_made_is_refused(backend: Backend) -> None:
    """Until the upgrade is resumed, opening names the command to run."""
    url = backend.empty_url()
    killed_at(url, 24)

    with pytest.raises(SchemaVersionError, match="db upgrade"):
        CapsuleRegistry.open(url, migrate=False)


@pytest.fixture
def url(backend: Backend) -> str:
    """A database of this test alone, with this release's schema."""
    url = backend.empty_url()
    CapsuleRegistry.open(url, migrate=True).close()
    return url


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The migrations of a later release whose schema still supports this one."""
    directory = tmp_path / "migrations"
    shutil.copytree(migrations_directory(), directory)
    (directory / "versions" / f"{NEXT}_next.py").write_text(
        f'''"""What a later release adds."""
import sqlalchemy as sa

revision, down_revision = "{NEXT}", "{SCHEMA_VERSION}"
oldest_compatible = "{SCHEMA_VERSION}"


def upgrade(op):
    again = op.get_bind().dialect.name != "sqlite"  # Where a step may have been done already.
    op.add_column("capsules", sa.Column("note", sa.Text), if_not_exists=again or None)
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), if_not_exists=True)
'''
    )
    return directory


def upgrade_to(version: str, url: str, directory: Path) -> None:
    with closing(Database.open(url)) as database, migrating(database) as connection:
        run_migrations(connection, version, directory)


def test_the_schemas_of_before_are_used_as_they_are(backend: Backend) -> None:
    """A library rolled out first runs on the schema it finds, back to the oldest."""
    url = backend.empty_url()
    upgrade_to(OLDEST_SUPPORTED, url, migrations_directory())
    with CapsuleRegistry.open(url, migrate=False) as registry:
        registry.register(make_manifest(uplink=[TELEGRAM]))
        assert registry.history.verify().ok
        registry.history.prune(registry.history.anchor())
        assert ["alpha"] == registry.list()
    with CapsuleRegistry.open(url, migrate=True) as registry:
        assert ["alpha"] == registry.list()


def test_a_rolling_upgrade_stops_nobody(backend: Backend, url: str, next_release: Path) -> None:
    """The next release upgrades while this one writes: no process fails, nothing is lost."""

    def write(say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url) as registry:
            number = 0
            while "note" not in dict(shape(url)["capsules"][0]) or number < 20:
                number += 1
                say(f"w{os.getpid()}-{number}")
                registry.register(make_manifest(f"w{os.getpid()}-{number}"))

    writers = [Child(write) for _ in range(3)]
    began = [writer.readline() for writer in writers]
    upgrade_to(NEXT, url, next_release)
    ends = [writer.end() for writer in writers]

    assert [0, 0, 0] == [code for _, code in ends]
    with CapsuleRegistry.open(url) as registry:
        assert sorted([*began, *(line for lines, _ in ends for line in lines)]) == sorted(
            registry.list()
        )
        registry.unregister(began[0])
    assert [(NEXT, SCHEMA_VERSION)] == backend.rows(
        url, "SELECT version, oldest_compatible FROM schema_versions ORDER BY version DESC LIMIT 1"
    )
    assert_chain_holds(backend, url)


def test_openers_meet_the_next_schema(backend: Backend, url: str, next_release: Path) -> None:
    """Processes of this release open an already upgraded database and leave it as it is."""
    upgrade_to(NEXT, url, next_release)
    before = shape(url)

    def open_and_write(number: int, say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url, migrate=True) as registry:
            registry.register(make_manifest(f"c{number}"))

    at_once(4, open_and_write)
    found: Any = shape(url)
    assert before == found
    with CapsuleRegistry.open(url) as registry:
        assert 4 == len(registry)
