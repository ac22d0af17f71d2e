"""What `doctor` reads back, and the problems it finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from click.testing import CliRunner

import capsule_registry
from capsule_registry import CapsuleRegistry, RegistryAdmin
from capsule_registry.cli.main import capsule_registry as command
from capsule_registry.database.dialects import sqlite_wal_index
from capsule_registry.operations.doctor import count_orphans
from support.backends import ServerBackend
from support.factories import TELEGRAM, make_manifest

if TYPE_CHECKING:
    from support.backends import Backend, SqliteBackend

EVERYWHERE = {
    "database",
    "library",
    "driver",
    "isolation",
    "lookups",
    "pool",
    "schema version",
    "foreign keys",
    "namespace default",
}


def doctor(url: str) -> tuple[int, dict[str, str | None]]:
    """Return the exit code of the command, and its problems by name."""
    result = CliRunner().invoke(command, ["--database", url, "doctor", "--format", "json"])
    return result.exit_code, {row["name"]: row["problem"] for row in json.loads(result.stdout)}


def test_a_database_that_is_well_has_no_problems(backend: Backend, url: str) -> None:
    """Every setting that a guarantee rests on is read back, and the exit code is 0."""
    code, problems = doctor(url)

    assert (0, []) == (code, [*filter(None, problems.values())])
    assert EVERYWHERE | backend.read_back <= set(problems)


def test_a_guarantee_that_a_url_switches_off_is_had(backend: Backend, url: str) -> None:
    """The session is set right before anything is read back."""
    if not isinstance(backend, ServerBackend):
        pytest.skip("a connection to a file is refused where a setting cannot be had")
    careless, name = backend.careless(url)
    code, problems = doctor(careless)

    assert (0, None) == (code, problems[name])


def test_how_lookups_are_answered_is_said(
    backend: Backend, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From memory where that is safe; otherwise the reason why not."""
    if isinstance(backend, ServerBackend):
        assert "each asks the database, by one statement" == _way(url)
        return
    assert "from memory, until somebody commits" == _way(url)
    monkeypatch.setattr(sqlite_wal_index, "_PLATFORMS", frozenset())
    assert _way(url).startswith("each asks the file: it is not tested on")


def _way(url: str) -> str:
    with RegistryAdmin.open(url) as admin:
        return next(found.value for found in admin.findings() if found.name == "lookups")


def test_a_file_that_others_can_open_is_seen(sqlite: SqliteBackend) -> None:
    """The modes of the file and its directory are part of the diagnosis."""
    url = sqlite.new_url()
    Path(url.removeprefix("sqlite:///")).chmod(0o644)

    assert (1, "others can open the file") == (doctor(url)[0], doctor(url)[1]["file mode"])


def test_a_schema_that_is_missing_is_seen(backend: Backend) -> None:
    """The finding names the command that creates it."""
    url = backend.empty_url()
    backend.rows(url, "CREATE TABLE diary (entry INTEGER)")
    code, problems = doctor(url)

    assert 1 == code
    assert "db upgrade" in (problems["schema version"] or "")


def test_rows_without_parents_are_counted(registry: CapsuleRegistry, backend: Backend) -> None:
    """Each child row without a parent counts once, however the parent was deleted."""
    registry.register(make_manifest(uplink=[TELEGRAM]), uuids=[uuid4(), uuid4()])
    with registry._database.reader.connect() as connection:
        assert 0 == count_orphans(connection)
        connection.exec_driver_sql(backend.forget_keys)
        connection.exec_driver_sql("DELETE FROM capsules")
        # Two UUIDs, the uplink and the provision.
        assert 4 == count_orphans(connection)
        connection.invalidate()


def test_the_diagnosis_of_a_server_that_is_down_is_an_exit_code() -> None:
    """A probe gets exit code 7 and one line with the reason."""
    pytest.importorskip("psycopg")
    url = "postgresql://user:canary@127.0.0.1:1/db"
    result = CliRunner().invoke(command, ["--database", url, "doctor"])

    assert (7, "") == (result.exit_code, result.stdout)
    assert "canary" not in result.stderr


def test_findings_are_values(url: str) -> None:
    """The library returns the findings that the command prints."""
    with RegistryAdmin.open(url, read_only=True) as admin:
        findings = admin.findings()

    assert all(isinstance(finding, capsule_registry.Finding) for finding in findings)
