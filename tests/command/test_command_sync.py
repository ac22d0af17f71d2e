"""`sync`: makes the registry what a directory says."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry.cli import syncing
from support.commands import run, write_capsule
from support.factories import make_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from capsule_registry import CapsuleRegistry

pytestmark = pytest.mark.files_alone


def test_sync_prints_the_plan_and_does_it(
    registry: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """One marked line per change, none for kept capsules, and totals on standard error."""
    for name in ("changed", "gone"):
        registry.register(make_manifest(name))
    for name in ("changed", "new"):
        write_capsule(tmp_path, name)
    dry = run(url, "sync", tmp_path, "--prune", "--dry-run")
    assert 3 == registry.history.revision
    done = run(url, "--reason", "as in git", "sync", tmp_path, "--prune")

    assert (0, 0, dry.stdout) == (dry.exit_code, done.exit_code, done.stdout)
    assert [
        "- unregister gone",
        f"~ replace changed {tmp_path}/changed/Capsule.toml",
        f"+ register new {tmp_path}/new/Capsule.toml",
    ] == done.stdout.splitlines()
    assert 1 == len(done.stderr.splitlines())
    assert ["changed", "new"] == registry.list()
    assert "as in git" == registry.history.list()[-1].reason
    again = run(url, "sync", tmp_path, "--prune")
    assert (0, "", 4) == (again.exit_code, again.stdout, registry.history.revision)


def test_sync_for_programs(registry: CapsuleRegistry, url: str, tmp_path: Path) -> None:
    """JSON and CSV have all steps, `keep` and `refuse` included; a refused one exits with 1."""
    write_capsule(tmp_path, "good")
    write_capsule(tmp_path, "bad", "license = 1")
    planned = run(url, "sync", tmp_path, "--dry-run", "--format", "csv")
    done = run(url, "sync", tmp_path, "--format", "json")
    rows = json.loads(done.stdout)

    assert (1, 1) == (planned.exit_code, done.exit_code)
    shown = ["action", "capsule_id", "path", "before", "after", "problem"]
    assert [*shown, "changes"] == [*rows[0]]
    assert [("refuse", "bad"), ("register", "good")] == [
        (row["action"], row["capsule_id"]) for row in rows
    ]
    assert [{name: row[name] or "" for name in shown} for row in rows] == [
        *csv.DictReader(io.StringIO(planned.stdout))
    ]
    assert "[wrong_type]" in rows[0]["problem"]


def test_sync_says_what_it_did_if_that_was_not_the_plan(
    registry: CapsuleRegistry, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another process writes in between, standard output is still one JSON document."""
    write_capsule(tmp_path, "a")
    show = syncing._print_plan

    def and_then_another(plan: Any, output_format: str) -> None:
        show(plan, output_format)
        if "a" not in registry:
            registry.register(make_manifest("a"))

    monkeypatch.setattr(syncing, "_print_plan", and_then_another)
    result = run(url, "sync", tmp_path, "--format", "json")

    assert "has changed" in result.stderr
    assert 0 == result.exit_code
    json.loads(result.stdout)
