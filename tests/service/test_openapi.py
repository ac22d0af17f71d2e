"""The description of the service: complete, and what it says is what it does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import capsule_registry as library
from capsule_registry.api import json_shapes
from support.factories import TELEGRAM, make_manifest

if TYPE_CHECKING:
    import pytest

    from capsule_registry import CapsuleRegistry
    from support.services import Service

HERE = Path(__file__).parent
PROGRAM = Path(sys.executable).with_name("schemathesis")
#: These wait, or have no end; `test_watching.py` and `test_reads.py` ask them.
WITHOUT = "/(watch|wait-ready)$"


def ask_everything(
    service: Service, role: str, directory: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Let `schemathesis` ask all that the service describes, with all of its checks."""
    return subprocess.run(
        [
            *(PROGRAM, "--config-file", HERE / "schemathesis.toml", "run"),
            *(f"{service.address}/v1/openapi.json", "--checks", "all", "--workers", "1"),
            *("-H", f"Authorization: Bearer {service.token(role)}", "--no-color", "--seed", "1"),
            *("--phases", "examples,coverage,fuzzing", "--exclude-path-regex", WITHOUT, *options),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        timeout=400,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "support.schemathesis_hooks",
            "PYTHONPATH": str(HERE.parent),
        },
    )


def test_thousands_of_requests_are_answered_as_described(
    registry: CapsuleRegistry, service: Service, tmp_path: Path
) -> None:
    """Valid and invalid ones: no answer that is not described, and none that is a bug."""
    registry.register(
        make_manifest("full", uplink=[TELEGRAM], capabilities={"net": ["*"]}), uuids=[UUID(int=1)]
    )
    registry.register(make_manifest("plain"))

    done = ask_everything(service, "writer", tmp_path, "--max-examples", "12")

    assert 0 == done.returncode, done.stdout[-6000:]
    counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counted is not None, done.stdout[-2000:]
    assert 2_000 <= int(counted[1]) == int(counted[2])
    assert registry.history.verify().ok


def test_an_answer_that_is_not_as_described_is_found(
    registry: CapsuleRegistry, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: one member more, and it fails."""
    shape = json_shapes.capsule_summary
    monkeypatch.setattr(json_shapes, "capsule_summary", lambda found: {**shape(found), "more": 1})
    registry.register(make_manifest("full"))

    done = ask_everything(
        service, "reader", tmp_path, "--include-path-regex", "/capsules$", "--max-examples", "3"
    )

    assert (1, True) == (done.returncode, "Response violates schema" in done.stdout)


def described(service: Service) -> Any:
    with service.client("reader") as client:
        return client.get("/v1/openapi.json").json()


def test_errors_are_described_by_name(service: Service) -> None:
    """With the facts that each has, and under the status that it has; each path has them all."""
    schema = described(service)
    problem = schema["components"]["schemas"]["Problem"]["properties"]
    responses = schema["components"]["responses"]
    errors = [getattr(library, name) for name in library.__all__ if name.endswith("Error")]
    said = "\n".join(one["description"] for one in responses.values())
    for error in errors:
        assert error.__name__ in problem["error"]["enum"]
        assert f"`{error.__name__}`" in said
        assert {*error.facts} <= problem["facts"]["properties"].keys()
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert {*responses} <= operation["responses"].keys(), path
            assert operation["description"]
            assert "200" in operation["responses"]


def test_every_field_is_described(service: Service) -> None:
    """No answer is any object: each has a schema with members, or is of lines."""
    schema = described(service)
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            content = operation["responses"]["200"]["content"]
            for media_type, told in content.items():
                if media_type == "application/json":
                    assert told["schema"], path
                else:
                    assert media_type in ("application/x-ndjson", "text/event-stream", "text/plain")
