"""The commands of operators: `db`, `namespaces`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from capsule_registry import CapsuleRegistry
from capsule_registry.schema.version import SCHEMA_VERSION
from support.commands import run, run_json
from support.factories import CLI, make_manifest

if TYPE_CHECKING:
    from support.backends import Backend, SqliteBackend


def test_an_operator_upgrades_looks_and_copies(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """`db upgrade`, `db status`, `db backup` and `doctor` on a fresh database."""
    backend = sqlite
    url = backend.empty_url()
    assert (7, 0) == (run(url, "db", "status").exit_code, run(url, "db", "upgrade").exit_code)
    assert [{"found": SCHEMA_VERSION, "library": SCHEMA_VERSION, "is_usable": True}] == run_json(
        url, "db", "status"
    )
    copy = tmp_path / "copy.db"
    assert 0 == run(url, "db", "backup", copy).exit_code
    assert (4, 1) == (
        (again := run(url, "db", "backup", copy)).exit_code,
        len(again.stderr.splitlines()),
    )
    assert 0 == run(f"sqlite:///{copy}", "doctor").exit_code

    findings = {row["name"]: row for row in run_json(url, "doctor")}
    assert ("1", "2", "wal", "ok", SCHEMA_VERSION, "0600") == tuple(
        findings[name]["value"]
        for name in (
            "foreign_keys",
            "synchronous",
            "journal_mode",
            "integrity",
            "schema version",
            "file mode",
        )
    )
    Path(url.removeprefix("sqlite:///")).chmod(0o644)
    assert 1 == run(url, "doctor").exit_code


def test_namespaces_are_listed_created_and_dropped(backend: Backend, url: str) -> None:
    """`drop` refuses while capsules are registered, prints the last anchor, and leaves nothing."""
    assert 0 == run(url, "namespaces", "create", "other").exit_code
    assert 0 == run(url, "namespaces", "create", "other").exit_code
    assert 5 == run(url, "namespaces", "create", "Other!").exit_code
    with CapsuleRegistry.open(url, namespace="other") as registry:
        registry.register(make_manifest(uplink=[CLI]), uuids=[uuid4()])
        registry.register_uuid(uuid4(), "ghost")
    assert [("default", 0), ("other", 1)] == [
        (row["name"], row["capsule_count"]) for row in run_json(url, "namespaces", "list")
    ]

    refused = run(url, "namespaces", "drop", "other")
    assert (4, 1) == (refused.exit_code, len(refused.stderr.splitlines()))
    [head] = [row["head_hash"] for row in backend.table(url, "namespaces") if row["revision"] == 3]
    dropped = run(url, "namespaces", "drop", "other", "--force")
    assert f"dropped other: revision 3, hash {head}\n" == dropped.stdout
    assert 3 == run(url, "namespaces", "drop", "other").exit_code
    for table in ("capsules", "uplinks", "uuid_mappings", "events", "revisions", "manifests"):
        assert [] == [row for row in backend.table(url, table) if row["namespace"] == "other"]


def test_every_namespace_is_verified(backend: Backend, url: str, tmp_path: Path) -> None:
    """With `--all` an edit in another namespace shows, and an anchor is held against its own."""
    for name in ("default", "other"):
        with CapsuleRegistry.open(url, namespace=name) as registry:
            registry.register(make_manifest())
            anchor = tmp_path / "anchor"
            anchor.write_text(str(registry.history.anchor()))
    alone = run(url, "audit", "verify")
    assert (0, "not looked at: the namespaces other") == (
        alone.exit_code,
        alone.stderr.splitlines()[-1],
    )
    everything = run(url, "audit", "verify", "--all", "--anchor", str(anchor))
    assert (0, ["default: well", "other: well"]) == (
        everything.exit_code,
        [line.rpartition(":")[0] for line in everything.stderr.splitlines()],
    )

    backend.tamper(url, "UPDATE capsules SET version = '9.9.9' WHERE namespace = 'other'")
    assert 0 == run(url, "audit", "verify").exit_code
    found = run(url, "audit", "verify", "--all", "--format", "json")
    assert 8 == found.exit_code
    assert [("other", "capsules alpha")] == [
        (one["namespace"], one["where"]) for one in json.loads(found.stdout)
    ]


def test_an_anchor_of_a_namespace_that_is_gone_is_an_error(
    backend: Backend, url: str, tmp_path: Path
) -> None:
    """What it vouches for is not there."""
    with CapsuleRegistry.open(url, namespace="other") as registry:
        anchor = tmp_path / "anchor"
        anchor.write_text(str(registry.history.anchor()))
    assert 0 == run(url, "namespaces", "drop", "other").exit_code

    result = run(url, "audit", "verify", "--all", "--anchor", str(anchor))
    assert (3, True) == (result.exit_code, "other" in result.stderr), result.stderr
