"""A SQLite file: private to its owner, opened with the settings that the guarantees need."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capsule_registry import (
    CapsuleRegistry,
    CapsuleRegistryError,
    HistoryCorruptError,
    InvalidDatabaseError,
    NamespaceNotFoundError,
    PermissionDeniedError,
    RegistryAdmin,
    RegistryUnavailableError,
    SchemaVersionError,
    sqlite_module,
)
from capsule_registry.database.dialects.sqlite_file import file_system_of
from capsule_registry.database.dialects.sqlite_library import has_wal_reset_race
from capsule_registry.schema.version import SCHEMA_VERSION
from support.factories import make_manifest

if TYPE_CHECKING:
    from support.backends import SqliteBackend


pytestmark = pytest.mark.usefixtures("sqlite")

LIBRARY = "capsule_registry.database.dialects.sqlite_library"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_for_their_owner_alone(tmp_path: Path, umask: int) -> None:
    """The database, its log and its index have mode 0600 whatever the umask."""
    previous = os.umask(umask)
    try:
        with CapsuleRegistry.open(f"sqlite:///{tmp_path}/r.db") as registry:
            registry.register(make_manifest())
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(previous)

    assert {"r.db", "r.db-wal", "r.db-shm"} <= set(modes)
    assert {0o600} == set(modes.values())


@pytest.mark.parametrize(("race", "mode", "level"), [(False, "wal", 2), (True, "delete", 3)])
def test_the_settings_are_read_back(
    url: str, monkeypatch: pytest.MonkeyPatch, race: bool, mode: str, level: int
) -> None:
    """Every connection has foreign keys, and the journal whose commits outlast a power cut."""
    monkeypatch.setattr(f"{LIBRARY}.has_wal_reset_race", lambda version: race)
    expected = {
        "foreign_keys": 1,
        "synchronous": level,
        "journal_mode": mode,
        "trusted_schema": 0,
        "recursive_triggers": 1,
        "busy_timeout": 30_000,
    }
    with CapsuleRegistry.open(url) as registry:
        engine = registry._database.engine
        with engine.connect() as one, engine.connect() as two:
            for connection in (one, two):
                assert expected == {
                    name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected
                }
    with RegistryAdmin.open(url, read_only=True) as admin:
        found = {finding.name: finding for finding in admin.findings()}
        assert [] == [one for one in found.values() if one.problem]
    assert (mode, f"{level}") == (found["journal_mode"].value, found["synchronous"].value)


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 3), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 4), False),
        ((4, 0, 0), False),
    ],
)
def test_libraries_with_the_wal_reset_race_are_known(
    version: tuple[int, int, int], affected: bool
) -> None:
    """Versions 3.7.0 to 3.51.2 have the race, except the patched 3.44.6 and 3.50.7."""
    assert affected == has_wal_reset_race(version)


def test_the_library_in_use_has_no_race() -> None:
    """A safe library is used where a wheel exists, elsewhere a safe journal mode."""
    assert not has_wal_reset_race(sqlite_module.sqlite_version_info)


def test_a_registry_in_memory_is_private() -> None:
    """`sqlite://` is a registry that nobody else sees, and leaves no file."""
    with CapsuleRegistry.open("sqlite://") as one, CapsuleRegistry.open("sqlite://") as other:
        one.register(make_manifest())
        assert (["alpha"], []) == (one.list(), other.list())


def test_without_a_url_the_users_data_directory_is_used(tmp_path: Path) -> None:
    """The default database and its directory are created for their owner alone."""
    with CapsuleRegistry.open() as registry:
        registry.register(make_manifest())
    [file] = tmp_path.rglob("registry.db")

    assert 0o700 == file.parent.stat().st_mode & 0o777
    with CapsuleRegistry.open() as again:
        assert ["alpha"] == again.list()


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "registry.db",
        "oracle://x/y",
        "sqlite:///a.db?mode=ro",
        "sqlite://host/a",
        "sqlite:///a\0b",
        "",
    ],
)
def test_a_url_that_is_none_of_ours_is_refused(url: str) -> None:
    """Text that is not the URL of a supported database is invalid input."""
    with pytest.raises(InvalidDatabaseError):
        CapsuleRegistry.open(url)


@pytest.mark.parametrize(
    "url",
    [
        "oracle://user:canary@host/db",
        "sqlite://user:canary@host/db",
        "postgresql://user:canary@host:not-a-port/db?password=canary",
        "postgresql://user:start@canary@host/db",
        "postgresql://host:canary/db",
        "canary@host",
        "sqlite:///x.db?key=canary",
    ],
)
def test_no_password_is_ever_shown(url: str) -> None:
    """Neither an error's message nor its attributes hold a possible secret."""
    with pytest.raises(InvalidDatabaseError) as caught:
        CapsuleRegistry.open(url)

    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.args}"


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """The directory of an explicitly given database is never created."""
    with pytest.raises(RegistryUnavailableError, match=r"the directory .* does not exist"):
        CapsuleRegistry.open(f"sqlite:///{tmp_path}/missing/r.db")

    assert [] == [*tmp_path.iterdir()]


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """It is invalid input, and keeps its bytes."""
    file = tmp_path / "notes.txt"
    file.write_bytes(b"dear diary\n" * 1000)
    with pytest.raises(InvalidDatabaseError, match="not a database"):
        CapsuleRegistry.open(f"sqlite:///{file}")

    assert b"dear diary\n" * 1000 == file.read_bytes()
    assert [file] == [*tmp_path.iterdir()]


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    """A path that is a directory is invalid input."""
    with pytest.raises(InvalidDatabaseError):
        CapsuleRegistry.open(f"sqlite:///{tmp_path}")


def test_somebody_elses_tables_are_left_alone(backend: SqliteBackend) -> None:
    """A file where another program owns a table of our name is refused, and not copied."""
    url = backend.empty_url()
    backend.rows(url, "CREATE TABLE events (what TEXT)")
    for _ in range(2):
        with pytest.raises(InvalidDatabaseError, match="table events"):
            CapsuleRegistry.open(url)

    assert [("events",)] == backend.rows(url, "SELECT name FROM sqlite_master")
    assert [] == [*backend.directory.glob(f"{Path(url).name}.before-*")]


@pytest.mark.parametrize("name", ["a?b", "a#%41", "a b", "ü", "%"])
def test_any_data_directory_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The default file is in the data directory, whatever characters its path has."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / name))
    CapsuleRegistry.open().close()

    assert (tmp_path / name / "capsule-registry" / "registry.db").is_file()
    CapsuleRegistry.open(read_only=True).close()


def test_a_read_only_registry_sees_later_commits(registry: CapsuleRegistry, url: str) -> None:
    """Its reads are strict too: commits after it was opened are visible."""
    with CapsuleRegistry.open(url, read_only=True) as reader:
        assert [] == reader.list()
        registry.register(make_manifest())
        assert ["alpha"] == reader.list()


def test_the_file_system_is_read_from_the_table_of_mounts() -> None:
    """The longest mount point above the path counts; blanks in it are escaped."""
    mounts = (
        "overlay / overlay rw 0 0\nserver:/x /mnt/share nfs4 rw 0 0\n"
        "/dev/sdb /mnt/share/local ext4 rw 0 0\n//host/a /mnt/a\\040b cifs rw 0 0\n"
    )
    found = {
        path: file_system_of(Path(path), mounts)
        for path in (
            "/r.db",
            "/mnt/share/r.db",
            "/mnt/share/local/r.db",
            "/mnt/a b/r.db",
            "/mnt/sh",
        )
    }

    assert {
        "/r.db": "overlay",
        "/mnt/share/r.db": "nfs4",
        "/mnt/share/local/r.db": "ext4",
        "/mnt/a b/r.db": "cifs",
        "/mnt/sh": "overlay",
    } == found


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are unreliable there, so nothing is created, and the message says what to do."""
    monkeypatch.setattr(
        "capsule_registry.database.dialects.sqlite_file._mounts", lambda: "x:/y / nfs4 rw 0 0"
    )
    with pytest.raises(InvalidDatabaseError, match="locks cannot be trusted"):
        CapsuleRegistry.open(f"sqlite:///{tmp_path}/r.db")

    assert [] == [*tmp_path.iterdir()]


def test_a_network_file_system_can_be_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option permits new and existing files there; without it both are refused."""
    monkeypatch.setattr(
        "capsule_registry.database.dialects.sqlite_file._mounts", lambda: "x:/y / nfs4 rw 0 0"
    )
    url = f"sqlite:///{tmp_path}/r.db"
    with CapsuleRegistry.open(url, allow_network_file_system=True) as registry:
        registry.register(make_manifest())
    for read_only in (True, False):
        with pytest.raises(InvalidDatabaseError, match="allow_network_file_system"):
            CapsuleRegistry.open(url, read_only=read_only)
        with pytest.raises(InvalidDatabaseError):
            RegistryAdmin.open(url, read_only=read_only)

    with RegistryAdmin.open(url, read_only=True, allow_network_file_system=True) as admin:
        assert SCHEMA_VERSION == admin.status().found


def test_a_file_with_two_names_is_refused(
    registry: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """SQLite keeps a log per hard link, so one would lose the other's commits."""
    registry.register(make_manifest())
    registry.close()
    (tmp_path / "second.db").hardlink_to(url.removeprefix("sqlite:///"))

    for name in (url, f"sqlite:///{tmp_path}/second.db"):
        with pytest.raises(InvalidDatabaseError, match="hard link"):
            CapsuleRegistry.open(name)


def test_a_link_to_itself_is_invalid(tmp_path: Path) -> None:
    """A path that never resolves is not a database."""
    link = tmp_path / "loop.db"
    link.symlink_to(link)
    with pytest.raises((InvalidDatabaseError, RegistryUnavailableError)):
        CapsuleRegistry.open(f"sqlite:///{link}")


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """The message has the address and no password."""
    pytest.importorskip("psycopg")
    with pytest.raises(RegistryUnavailableError) as caught:
        CapsuleRegistry.open("postgresql://user:canary@127.0.0.1:1/db?application_name=canary")

    assert "canary" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    """No file is created at the target of a link that somebody else may have placed."""
    link = tmp_path / "r.db"
    link.symlink_to(tmp_path / "elsewhere" / "r.db")
    with pytest.raises((RegistryUnavailableError, PermissionDeniedError)):
        CapsuleRegistry.open(f"sqlite:///{link}")


def test_read_only_reads_and_refuses_the_rest(
    registry: CapsuleRegistry, url: str, backend: SqliteBackend
) -> None:
    """A read-only registry answers, refuses every change, and creates nothing."""
    registry.register(make_manifest())
    with CapsuleRegistry.open(url, read_only=True) as reader:
        assert ["alpha"] == reader.list()
        with pytest.raises(PermissionDeniedError):
            reader.unregister("alpha")
        with pytest.raises(PermissionDeniedError), reader.transaction():
            pytest.fail("the body ran")
        with pytest.raises(Exception, match="readonly"), reader._database.engine.connect() as raw:
            raw.exec_driver_sql("DELETE FROM capsules")
    with pytest.raises(NamespaceNotFoundError):
        CapsuleRegistry.open(url, namespace="missing", read_only=True)
    with pytest.raises(RegistryUnavailableError, match="does not exist"):
        CapsuleRegistry.open(backend.empty_url(), read_only=True)


def test_read_only_refuses_a_database_without_a_schema(backend: SqliteBackend) -> None:
    """The error names the command that creates the schema."""
    url = backend.empty_url()
    backend.rows(url, "CREATE TABLE diary (entry TEXT)")
    with pytest.raises(SchemaVersionError, match="db upgrade"):
        CapsuleRegistry.open(url, read_only=True)


def test_a_locked_database_is_unavailable(
    registry: CapsuleRegistry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a lock outlasts a writer's patience, the error is one worth retrying."""
    monkeypatch.setattr(
        "capsule_registry.database.dialects.sqlite_connections.BUSY_TIMEOUT_SECONDS", 0.2
    )
    monkeypatch.setattr("capsule_registry.database.retries.RETRY_SECONDS", 0.5)
    holder = sqlite_module.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with CapsuleRegistry.open(url) as hurried:
        with pytest.raises(RegistryUnavailableError, match="locked"):
            hurried.register(make_manifest())
        holder.execute("ROLLBACK")
        holder.close()
        hurried.register(make_manifest())

    assert ["alpha"] == registry.list()


def test_a_backup_is_a_database_of_its_own(
    registry: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """A backup has all committed data and mode 0600, and never overwrites a file."""
    registry.register(make_manifest())
    copy = tmp_path / "copy.db"
    with RegistryAdmin.open(url, read_only=True) as admin:
        admin.backup(copy)
        with pytest.raises(FileExistsError):
            admin.backup(copy)
    registry.unregister("alpha")

    assert 0o600 == copy.stat().st_mode & 0o777
    with CapsuleRegistry.open(f"sqlite:///{copy}") as restored:
        assert ["alpha"] == restored.list()


def test_an_engine_of_sqlite_is_refused(registry: CapsuleRegistry) -> None:
    """A SQLite engine created elsewhere lacks the settings."""
    with pytest.raises(InvalidDatabaseError, match="open a SQLite file by its URL"):
        CapsuleRegistry.open(engine=registry._database.engine)


def test_a_row_that_cannot_be_read_is_an_error_of_ours_in_a_transaction_too(
    backend: SqliteBackend, registry: CapsuleRegistry, url: str
) -> None:
    """Also when the rows before it are readable, so it only fails on fetching."""
    for name in ("alpha", "beta"):
        registry.register(make_manifest(name))
    backend.rows(url, "UPDATE capsules SET version = CAST(x'ff' AS TEXT) WHERE id = 'beta'")

    with pytest.raises(HistoryCorruptError, match="UTF-8"), registry.transaction() as transaction:
        transaction.values()
    assert registry.get("alpha") is not None


def test_a_queue_that_cannot_be_made_is_a_typed_error(url: str) -> None:
    """What stands where the files of the write queue belong is named."""
    with CapsuleRegistry.open(url) as registry:
        registry.list()
    file = Path(url.removeprefix("sqlite:///"))
    for end in ("-next", "-turn"):
        queue = file.with_name(f"{file.name}{end}")
        queue.unlink(missing_ok=True)
        queue.mkdir()
        with CapsuleRegistry.open(url) as registry, pytest.raises(CapsuleRegistryError) as caught:
            registry.register(make_manifest())
        assert queue.name in str(caught.value)
        queue.rmdir()
