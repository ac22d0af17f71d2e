"""A SQLite file that is refused, or only read, stays as it is; so does what is beside it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from capsule_registry import (
    CapsuleRegistry,
    CapsuleRegistryError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryAdmin,
    SchemaVersionError,
    sqlite_module,
)
from capsule_registry.schema.version import SCHEMA_VERSION, VERSION_TABLE
from support.factories import make_manifest
from support.files import STATES, contents, leave

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.backends import SqliteBackend

pytestmark = pytest.mark.usefixtures("sqlite")

DIARY = ("CREATE TABLE diary (entry TEXT)", "INSERT INTO diary VALUES ('mine')")
TAKEN = (*DIARY, "CREATE TABLE events (what TEXT)")
NEWER = (
    f"CREATE TABLE {VERSION_TABLE} (version_num TEXT)",
    f"INSERT INTO {VERSION_TABLE} VALUES ('v9999')",
    "CREATE TABLE schema_versions (version TEXT, oldest_compatible TEXT)",
    "INSERT INTO schema_versions VALUES ('v9999', 'v9999')",
)


def opened(url: str) -> None:
    CapsuleRegistry.open(url).close()


def opened_without_migrating(url: str) -> None:
    CapsuleRegistry.open(url, migrate=False).close()


def opened_to_read(url: str) -> None:
    CapsuleRegistry.open(url, read_only=True).close()


def upgraded(url: str) -> None:
    with RegistryAdmin.open(url) as admin:
        admin.upgrade()


def listed(url: str) -> None:
    with RegistryAdmin.open(url) as admin:
        admin.namespaces()


def given_a_namespace(url: str) -> None:
    with RegistryAdmin.open(url) as admin:
        admin.create_namespace("other")


def restored(url: str) -> None:
    with RegistryAdmin.open(url) as admin:
        admin.accept_restore()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("statements", "way", "error"),
    [
        (TAKEN, opened, InvalidDatabaseError),
        (TAKEN, upgraded, InvalidDatabaseError),
        (DIARY, opened_without_migrating, SchemaVersionError),
        (DIARY, opened_to_read, SchemaVersionError),
        (DIARY, listed, SchemaVersionError),
        (NEWER, opened, SchemaVersionError),
        (NEWER, opened_to_read, SchemaVersionError),
        (NEWER, upgraded, SchemaVersionError),
        (NEWER, given_a_namespace, SchemaVersionError),
    ],
)
def test_a_file_that_is_refused_is_left_as_it_is(
    tmp_path: Path,
    state: str,
    statements: tuple[str, ...],
    way: Callable[[str], None],
    error: type[CapsuleRegistryError],
) -> None:
    """Bytes, owner and mode of the file and of what is beside it, and nothing is created."""
    file = tmp_path / "theirs.db"
    leave(file, state, statements)
    before = contents(tmp_path)
    with pytest.raises(error):
        way(f"sqlite:///{file}")

    assert before == contents(tmp_path)


@pytest.mark.parametrize("way", [opened, opened_to_read, upgraded, listed])
def test_a_file_that_is_no_database_is_left_as_it_is(
    tmp_path: Path, way: Callable[[str], None]
) -> None:
    """Nothing is written to it, and nothing is created beside it."""
    file = tmp_path / "notes.txt"
    file.write_bytes(b"dear diary\n" * 1000)
    before = contents(tmp_path)
    with pytest.raises(InvalidDatabaseError, match="not a database"):
        way(f"sqlite:///{file}")

    assert before == contents(tmp_path)


@pytest.mark.parametrize("state", STATES)
def test_the_status_of_a_file_is_found_without_touching_it(tmp_path: Path, state: str) -> None:
    """It is asked before an operator decides what to do."""
    file = tmp_path / "theirs.db"
    leave(file, state, NEWER)
    before = contents(tmp_path)
    with RegistryAdmin.open(f"sqlite:///{file}") as admin:
        assert "v9999" == admin.status().found

    assert before == contents(tmp_path)


def test_a_database_that_another_program_is_using_is_left_as_it_is(tmp_path: Path) -> None:
    """Its locks stay too: closing a descriptor of it would drop those of this process."""
    file = tmp_path / "theirs.db"
    theirs = sqlite_module.connect(file, isolation_level=None)
    theirs.execute("PRAGMA journal_mode = delete")
    for statement in TAKEN:
        theirs.execute(statement)
    theirs.execute("BEGIN IMMEDIATE")
    before = contents(tmp_path)
    with pytest.raises(InvalidDatabaseError):
        opened(f"sqlite:///{file}")

    assert before == contents(tmp_path)
    theirs.execute("INSERT INTO diary VALUES ('more')")
    theirs.execute("COMMIT")
    theirs.close()


@pytest.mark.parametrize("ends", [("-wal",), ("-wal", "-shm")])
def test_ones_own_database_is_recovered(
    backend: SqliteBackend, tmp_path: Path, ends: tuple[str, ...]
) -> None:
    """What a crash left in the log is there for whoever opens the database next."""
    url = backend.new_url()
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        for end in ("", *ends):
            shutil.copyfile(f"{url.removeprefix('sqlite:///')}{end}", tmp_path / f"r.db{end}")

    with CapsuleRegistry.open(f"sqlite:///{tmp_path}/r.db") as again:
        assert ["alpha"] == again.list()
    with RegistryAdmin.open(f"sqlite:///{tmp_path}/r.db", read_only=True) as admin:
        assert SCHEMA_VERSION == admin.status().found
        with pytest.raises(PermissionDeniedError):
            admin.query("DELETE FROM capsules")
