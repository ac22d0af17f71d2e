"""Hosts in other languages: the programs of `examples/clients`, and the lines of the page."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.factories import make_manifest
from support.services import Service, served

if TYPE_CHECKING:
    from capsule_registry import CapsuleRegistry

CHECKOUT = Path(__file__).parents[2]
CLIENTS = CHECKOUT / "examples" / "clients"
MANIFEST = CHECKOUT / "examples" / "notes" / "Capsule.toml"
#: Where toolchains are; the tests' own is empty.
HOME = pwd.getpwuid(os.getuid()).pw_dir
SAID = "registered 2\nfiled 3 false\nfiled 3 true\nallowed true false\nsaw 2 3\n"


def run(service: Service, *words: str | Path, token: str = "") -> str:
    """Run a program that is told where the service is, and return what it prints."""
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=CHECKOUT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("SSL_")},
            "HOME": HOME,
            "REGISTRY_URL": service.address,
            "REGISTRY_TOKEN": token,
        },
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def program(name: str) -> str:
    """Return the path of a program, or skip the test."""
    if (found := shutil.which(name)) is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_a_host_in_python(service: Service) -> None:
    """It does all that a host does, and prints what came of it."""
    assert SAID == run(
        service, sys.executable, CLIENTS / "client.py", MANIFEST, token=service.token("writer")
    )


def test_a_host_in_javascript(service: Service) -> None:
    """The same, with what Node has by itself."""
    node = program("node")
    assert SAID == run(
        service, node, CLIENTS / "client.mjs", MANIFEST, token=service.token("writer")
    )


def test_a_host_in_rust(service: Service, tmp_path: Path) -> None:
    """The same, with the standard library alone."""
    built = tmp_path / "client"
    run(service, program("rustc"), "-o", built, CLIENTS / "client.rs")
    assert SAID == run(service, built, MANIFEST, token=service.token("writer"))


def test_a_page_follows_by_an_event_source(url: str, registry: CapsuleRegistry) -> None:
    """With Node's own, which is that of browsers."""
    node = program("node")
    registry.register(make_manifest("a"))
    registry.register(make_manifest("b"))
    with served(url, None) as service:
        words = (node, "--no-warnings", "--experimental-eventsource", CLIENTS / "events.mjs")
        assert "saw 2 3\n" == run(service, *words)


def test_the_lines_of_the_page_work(service: Service, tmp_path: Path) -> None:
    """Each `curl` of `docs/service.md`, in its order."""
    program("curl")
    page = (CHECKOUT / "docs" / "service.md").read_text()
    lines = re.findall(r"^curl (?:.*\\\n)*.*", page, re.MULTILINE)
    assert len(lines) >= 10
    script = tmp_path / "lines.sh"
    script.write_text("\n".join(["set -e", 'curl() { command curl -sf "$@"; echo; }', *lines]))
    said = run(service, "bash", script, token=service.token("writer"))

    assert '"revision":2,"repeated":false' in said
    assert '{"allowed":true,"why":"granted","capsule_id":"notes"' in said
    assert '"repeated":true' in said
