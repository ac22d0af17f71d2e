"""What the README shows runs as it stands, and prints what the README says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the examples, to work in."""
    shutil.copytree(CHECKOUT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_examples_run(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each block of Python, in the order of the page."""
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102 - the page is our own

    assert (
        "notes ['write_note', 'find_notes']\n3 None\n2 0 102\n"
        "2 readme ['capsule.registered', 'uuid.registered']\n"
        "3 readme ['uuid.unregistered', 'capsule.unregistered', 'capsule.registered']\n"
        "2 1 and now 0\nTrue\n"
        "True\nmalformed_value\nnot_ready\nunknown_uuid\n['notes']\n"
        "mixed True\nweather.v1.berlin.today granted\nold.news not_read_by_runtime\n"
        "weather.v1.* publish subtree True >=0.6.0\n"
        "old.* capabilities segments False <0.8.0\n"
        "[('llm', 'ask')]\n['*']\n[('chat', 'acme:llm', '^1')]\n1.0.0 []\n"
        "Only llm exports acme:llm, imported by chat; it can be forced\n"
    ) == capsys.readouterr().out
    assert 6 == len(blocks)
