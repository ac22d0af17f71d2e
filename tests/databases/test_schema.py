"""The schema: created by the migrations alone, and identical to the table definitions."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.schema import CreateTable

from capsule_registry import (
    CapsuleRegistry,
    RegistryAdmin,
    RegistryUnavailableError,
    SchemaVersionError,
)
from capsule_registry.schema import migrations
from capsule_registry.schema.migrations import migrations_directory
from capsule_registry.schema.tables import metadata, own_commits
from capsule_registry.schema.version import SCHEMA_VERSION
from support.factories import TELEGRAM, make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.backends import SqliteBackend

CHECKOUT = Path(__file__).parents[2]
#: The steps that a file goes back by the copy that was made of it.
COPIED = {"v0002"}
SCRIPTS = ScriptDirectory(str(migrations_directory()))


pytestmark = pytest.mark.usefixtures("sqlite")


@pytest.fixture
def alembic(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Alembic's own commands, as a developer runs them in a checkout."""

    def run(url: str, verb: str, *arguments: str, **options: Any) -> Any:
        monkeypatch.setenv("CAPSULE_REGISTRY_DATABASE", url)
        return getattr(command, verb)(Config(CHECKOUT / "alembic.ini"), *arguments, **options)

    return run


def definitions(backend: SqliteBackend, url: str) -> dict[str, str]:
    """Return the statements that created the tables, without layout, in no particular order."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return {name: normalized(sql) for name, sql in backend.rows(url, query)}


def normalized(sql: str) -> str:
    return " ".join(sorted(re.findall(r"[^\s,]+", sql.replace('"', ""))))


def test_the_migrations_make_what_the_tables_say(backend: SqliteBackend, url: str) -> None:
    """Each table's CREATE statement is the one that the metadata would produce."""
    dialect = create_engine(url).dialect
    made = definitions(backend, url)
    version_table = made.pop("capsule_registry_version")

    assert "version_num" in version_table
    assert {
        table.name: normalized(str(CreateTable(table).compile(dialect=dialect)))
        for table in (*metadata.sorted_tables, own_commits)
    } == made


def test_names_fit_into_every_database() -> None:
    """Every constraint and index has a name of at most 60 characters."""
    named: list[Any] = [
        item for table in metadata.sorted_tables for item in (*table.constraints, *table.indexes)
    ]

    assert all(isinstance(item.name, str) for item in named)
    assert 60 >= max(len(str(item.name)) for item in named)


def test_each_step_goes_down_and_up_again(
    backend: SqliteBackend, alembic: Callable[..., Any]
) -> None:
    """A downgrade leaves nothing of its step, or says to restore the copy; then it is as before."""
    url = backend.empty_url()
    before: dict[str, str] = {}
    for script in reversed([*SCRIPTS.walk_revisions()]):
        alembic(url, "upgrade", script.revision)
        after = definitions(backend, url)
        assert [(script.revision,)] == backend.rows(url, "SELECT max(version) FROM schema_versions")
        if script.revision in COPIED:
            with pytest.raises(NotImplementedError, match="restore the copy"):
                alembic(url, "downgrade", "-1")
            assert after == definitions(backend, url)
        else:
            alembic(url, "downgrade", "-1")
            left = definitions(backend, url)
            left.pop("capsule_registry_version")
            assert before == left
            alembic(url, "upgrade", script.revision)
            assert after == definitions(backend, url)
        before = {name: sql for name, sql in after.items() if name != "capsule_registry_version"}


def test_upgrading_again_keeps_the_data(registry: CapsuleRegistry, url: str) -> None:
    """Registered capsules survive an upgrade that has nothing to do."""
    record = registry.register(make_manifest(uplink=[TELEGRAM]))
    with RegistryAdmin.open(url) as admin:
        assert admin.upgrade() is None
        assert SCHEMA_VERSION == admin.status().found

    assert record == registry.get("alpha")


def test_migrations_are_numbered_linear_and_stand_alone() -> None:
    """One head, consecutive numbers, and no import from the library, nor of Alembic's globals."""
    scripts = [*SCRIPTS.walk_revisions()]
    assert [f"v{number:04d}" for number in range(len(scripts), 0, -1)] == [
        script.revision for script in scripts
    ]
    assert SCHEMA_VERSION == scripts[0].revision
    for script in scripts:
        tree = ast.parse(Path(script.path).read_text())
        modules = {
            name if name.startswith("alembic") else name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert modules <= {"alembic.operations", "json", "re", "sqlalchemy"}


def set_version(backend: SqliteBackend, url: str, version: str, oldest: str) -> None:
    backend.rows(url, "DELETE FROM schema_versions WHERE version <> ?", [SCHEMA_VERSION])
    backend.rows(
        url, "UPDATE schema_versions SET version = ?, oldest_compatible = ?", [version, oldest]
    )
    backend.rows(url, "UPDATE capsule_registry_version SET version_num = ?", [version])


def test_a_schema_from_the_future_is_refused(backend: SqliteBackend, url: str) -> None:
    """A schema too new for this library is left alone, and the error says what to do."""
    set_version(backend, url, "v9999", "v9998")
    before = Path(url.removeprefix("sqlite:///")).read_bytes()

    with pytest.raises(SchemaVersionError, match="install a newer") as caught:
        CapsuleRegistry.open(url)
    with RegistryAdmin.open(url) as admin, pytest.raises(SchemaVersionError):
        admin.upgrade()

    assert ("v9999", SCHEMA_VERSION) == (caught.value.found, caught.value.required)
    assert before == Path(url.removeprefix("sqlite:///")).read_bytes()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE capsule_registry_version SET version_num = 'v9999'",
        f"UPDATE schema_versions SET version = 'v9999' WHERE version = '{SCHEMA_VERSION}'",
        "DELETE FROM schema_versions",
        "DROP TABLE schema_versions",
    ],
)
def test_records_of_the_version_that_disagree_are_refused(
    backend: SqliteBackend, url: str, statement: str
) -> None:
    """If Alembic's record and ours differ, the version is unknown and nothing is done."""
    backend.rows(url, statement)

    with pytest.raises(SchemaVersionError):
        CapsuleRegistry.open(url)


def test_a_database_of_an_earlier_checkout_is_refused(backend: SqliteBackend, url: str) -> None:
    """Versions before the first one kept cannot be upgraded: the error says what to do."""
    set_version(backend, url, "0004", "0003")

    with pytest.raises(SchemaVersionError, match="`export` command of that checkout, and `import`"):
        CapsuleRegistry.open(url)
    with RegistryAdmin.open(url) as admin, pytest.raises(SchemaVersionError, match="`import`"):
        admin.upgrade()
    assert [("0004",)] == backend.rows(url, "SELECT version FROM schema_versions")


def test_a_newer_schema_that_is_compatible_is_used(backend: SqliteBackend, url: str) -> None:
    """Rolling upgrade: the library runs on a newer schema that still supports it."""
    set_version(backend, url, "v9999", SCHEMA_VERSION)

    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        assert ["alpha"] == registry.list()


def test_an_upgrade_past_the_library_stops_an_open_registry(
    registry: CapsuleRegistry, backend: SqliteBackend, url: str
) -> None:
    """A registry open during an upgrade past its library writes nothing more."""
    set_version(backend, url, "v9999", "v9998")

    with pytest.raises(SchemaVersionError):
        registry.register(make_manifest())
    assert [] == backend.rows(url, "SELECT * FROM capsules")


def test_migrating_can_be_left_to_the_operator(backend: SqliteBackend) -> None:
    """With `migrate=False` a database without a schema is refused, and nothing is created."""
    url = backend.empty_url()
    with pytest.raises(RegistryUnavailableError, match="does not exist"):
        CapsuleRegistry.open(url, migrate=False)
    backend.rows(url, "SELECT 1")
    with pytest.raises(SchemaVersionError, match=f"--database {url} db upgrade"):
        CapsuleRegistry.open(url, migrate=False)

    assert {} == definitions(backend, url)


def test_a_file_with_anything_in_it_is_copied_before_an_upgrade(backend: SqliteBackend) -> None:
    """The copy and the upgraded file both keep the content, the latter beside the new tables."""
    url = backend.empty_url()
    backend.rows(url, "CREATE TABLE diary (entry TEXT)")
    backend.rows(url, "INSERT INTO diary VALUES ('mine')")
    with RegistryAdmin.open(url) as admin:
        copy = admin.upgrade()

    assert copy is not None
    assert Path(url.removeprefix("sqlite:///")).stat().st_mode == copy.stat().st_mode
    for place in (url, f"sqlite:///{copy}"):
        assert [("mine",)] == backend.rows(place, "SELECT entry FROM diary")
    assert {"diary"} == set(definitions(backend, f"sqlite:///{copy}"))


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_alembic_itself_upgrades_from_a_checkout(backend: SqliteBackend) -> None:
    """`alembic upgrade head` with the environment's URL creates a schema that opens."""
    url = backend.empty_url()
    result = run_python("-m", "alembic", "upgrade", "head", CAPSULE_REGISTRY_DATABASE=url)

    assert 0 == result.returncode, result.stderr
    with CapsuleRegistry.open(url, migrate=False) as registry:
        assert [] == registry.list()


def test_alembic_without_a_database_says_what_to_set() -> None:
    """The message names the variable, and there is no traceback."""
    result = run_python("-m", "alembic", "upgrade", "head")

    assert 1 == result.returncode
    assert "set CAPSULE_REGISTRY_DATABASE" in result.stderr


@pytest.fixture(scope="session")
def wheel_contents(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel."""
    import zipfile

    from hatchling.build import build_wheel

    directory = tmp_path_factory.mktemp("wheel")
    previous = Path.cwd()
    os.chdir(CHECKOUT)
    try:
        name = build_wheel(str(directory))
    finally:
        os.chdir(previous)
    with zipfile.ZipFile(directory / name) as wheel:
        return set(wheel.namelist())


def test_the_wheel_carries_the_migrations(wheel_contents: set[str]) -> None:
    """The wheel has every migration and `py.typed`, and nothing that only developers use."""
    expected: set[Any] = {
        "capsule_registry/py.typed",
        *(
            f"capsule_registry/migrations/versions/{Path(script.path).name}"
            for script in SCRIPTS.walk_revisions()
        ),
    }

    assert expected <= wheel_contents
    assert "capsule_registry/migrations/env.py" not in wheel_contents


def test_migrations_that_cannot_be_read_are_named(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is left of them is not mistaken for all; nothing is created."""
    (tmp_path / "versions").mkdir()
    monkeypatch.setattr(migrations, "migrations_directory", lambda: tmp_path)
    url = backend.empty_url()
    with pytest.raises(SchemaVersionError, match="migrations from being read"):
        CapsuleRegistry.open(url)

    assert [] == backend.rows(url, "SELECT name FROM sqlite_master")
