"""The commands on generations, routes, tools, commands, imports and artifacts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from capsule_registry import CapsuleManifest, CapsuleRegistry
from capsule_registry.cli.main import capsule_registry
from support.commands import run, run_json
from support.factories import make_text

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.files_alone

LLM = """
[[component]]
id = "c"
file = "c.wasm"
hash = "blake3:1"
[capabilities]
net = ["{}"]
[publish]
"log.v1.said" = "opaque"
[subscribe]
"llm.v1.ask" = {{ wit = "opaque", handler = "ask" }}
"tool.v1.execute.sum" = {{ wit = "opaque", handler = "sum" }}
[exports]
"acme:llm" = "{}.0.0"
[[command]]
name = "ask"
kind = "cli"
description = "asks"
"""
CHAT = """
[publish]
"llm.v1.ask" = "opaque"
[imports]
"acme:llm" = "^1"
"acme:gone" = { version = "^1", optional = true }
"""


def llm(host: str, version: int) -> str:
    text = make_text("llm", LLM.format(host, version))
    return text.replace('version = "0.1.0"', f'version = "{version}.0.0"', 1)


@pytest.fixture
def talking(registry: CapsuleRegistry) -> CapsuleRegistry:
    """A registry of a capsule that is called, and one that calls it."""
    registry.register(CapsuleManifest.parse(llm("a.example", 1)))
    registry.register(CapsuleManifest.parse(make_text("chat", CHAT)))
    return registry


def put(directory: Path, text: str) -> Path:
    path = directory / "Capsule.toml"
    path.write_text(text)
    return path


LISTED: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]] = {
    "routes called": (("llm.v1.ask",), [("llm", "ask", 100, "llm.v1.ask", "single", False)]),
    "routes publishers": (("llm.v1.ask",), [("chat",)]),
    "routes subscribers": (("llm.v1.ask",), [("llm",)]),
    "commands": ((), [("llm", "ready", "ask", "cli", "asks")]),
    "exports": ((), [("llm", "ready", "acme:llm", "1.0.0")]),
    "find-artifact": (("blake3:1",), [("llm", 2, "component", "c", "c.wasm", "blake3:1")]),
    "providers": (("acme:llm", "--version", "^1"), [("llm", "acme:llm", "ready", "1.0.0")]),
    "unmet": (("--optional",), [("chat", "acme:gone", [], "^1", True)]),
}


@pytest.mark.parametrize("command", LISTED)
def test_each_command_lists_what_the_registry_does(
    talking: CapsuleRegistry, url: str, command: str
) -> None:
    """As JSON and as a table, now and at a moment."""
    arguments, expected = LISTED[command]
    at = ("--at", talking.history.revision)

    assert expected == [tuple(row.values()) for row in run_json(url, *command.split(), *arguments)]
    assert expected == [
        tuple(row.values()) for row in run_json(url, *command.split(), *arguments, *at)
    ]
    shown = run(url, *command.split(), *arguments)
    assert (0, True) == (shown.exit_code, str(expected[0][0]) in shown.stdout)
    assert [] == run_json(url, *command.split(), *arguments, "--at", 1)


def test_what_nobody_hears_or_says_is_listed(talking: CapsuleRegistry, url: str) -> None:
    """With its capsule and direction."""
    for command, expected in (
        ("unheard", [("llm", "publish", "log.v1.said")]),
        ("unsaid", [("llm", "subscribe", "tool.v1.execute.sum")]),
    ):
        assert expected == [
            (row["capsule_id"], row["direction"], row["topic"])
            for row in run_json(url, "routes", command)
        ]
    assert 4 == len(run_json(url, "routes", "list"))
    assert 3 == len(run_json(url, "routes", "list", "llm"))


def test_a_command_is_found_or_its_exit_code_says_why_not(
    talking: CapsuleRegistry, url: str
) -> None:
    """None is 3, several are 4."""
    assert "llm\n" == run(url, "find-command", "ask").stdout
    assert 3 == run(url, "find-command", "nothing").exit_code
    again = make_text("other", '[[command]]\nname = "ask"\nkind = "cli"\n')
    talking.register(CapsuleManifest.parse(again))
    result = run(url, "find-command", "ask")

    assert 4 == result.exit_code
    assert "llm, other" in result.stderr


def test_a_required_import_that_is_unmet_fails(talking: CapsuleRegistry, url: str) -> None:
    """An optional one does not; several exporters are told."""
    assert 0 == run(url, "unmet").exit_code
    talking.replace(CapsuleManifest.parse(llm("a.example", 2)))
    shared = make_text("more", '[exports]\n"acme:llm" = "3.0.0"\n')
    talking.register(CapsuleManifest.parse(shared))

    assert 1 == run(url, "unmet", "--required").exit_code
    told = run(url, "boot-order").stderr
    assert "unmet: chat requires acme:llm ^1" in told
    assert "unmet: chat would use acme:gone ^1" in told
    assert "several export acme:llm: llm, more" in told
    assert "acme:llm ^1" in run(url, "graph").stdout


def test_the_last_exporter_goes_only_if_it_is_forced(talking: CapsuleRegistry, url: str) -> None:
    """Exit code 4, and the capsule stays."""
    assert 4 == run(url, "unregister", "llm").exit_code
    assert "llm" in talking
    assert 4 == run(url, "unregister", "chat", "--generation", 1).exit_code
    assert 2 == run(url, "unregister", "chat", "llm", "--generation", 1).exit_code
    assert 0 == run(url, "unregister", "llm", "--force").exit_code
    assert ["chat"] == talking.list()


def test_an_upgrade_is_looked_at_done_and_undone(
    talking: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """`--dry-run`, `compare`, `log` and `diff` show the right that is new; `rollback` takes it."""
    path = put(tmp_path, llm("*", 1).replace("1.0.0", "1.5.0", 1))
    before = talking.history.revision
    added = [
        {"change": side, "part": "right", "name": "net", "value": value, "matching": "host"}
        for side, value in (("added", "*"), ("removed", "a.example"))
    ]

    assert added == run_json(url, "replace", path, "--dry-run")
    assert before == talking.history.revision
    assert 4 == run(url, "replace", path, "--generation", 1).exit_code
    assert 0 == run(url, "replace", path, "--generation", 2, "--same-artifacts").exit_code
    assert added == run_json(url, "compare", "llm", 2)
    assert added == run_json(url, "compare", "llm", before, before + 1)
    assert "+ right net *" in run(url, "log").stdout
    assert [("added", "right", "llm net", None, "*")] == [
        tuple(row.values()) for row in run_json(url, "diff", before) if row["change"] == "added"
    ]
    result = run(url, "rollback", "llm", "--generation", before + 1)
    assert (0, True) == (result.exit_code, "1.0.0 of generation 2" in result.stdout)
    assert 4 == run(url, "rollback", "llm", "--generation", 2).exit_code
    assert 3 == run(url, "rollback", "llm", "--to", 1).exit_code
    assert 5 == run(url, "rollback", "llm", "--to", 999).exit_code
    assert [] == run_json(url, "compare", "llm", 2)


def test_the_same_again_is_no_failure_if_asked(
    talking: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """`register --if-same` and `replace --if-same`; other bytes of a version are refused."""
    path, before = put(tmp_path, llm("a.example", 1)), talking.history.revision

    assert 1 == run(url, "register", path).exit_code
    assert 0 == run(url, "register", path, "--if-same").exit_code
    assert 0 == run(url, "replace", path, "--if-same").exit_code
    assert before == talking.history.revision
    path = put(tmp_path, llm("a.example", 1).replace("blake3:1", "blake3:2"))
    assert 4 == run(url, "replace", path, "--same-artifacts").exit_code
    assert 0 == run(url, "replace", path).exit_code


def test_a_sync_shows_and_refuses_new_rights(
    talking: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """First the rights, in the colour of a warning; nothing is done."""
    put(tmp_path, llm("*", 1))
    result = CliRunner().invoke(
        capsule_registry,
        ["--database", url, "sync", str(tmp_path), "--refuse-new-rights"],
        color=True,
    )

    assert 4 == result.exit_code
    assert "\x1b[33m    + right net *\x1b[0m" in result.stdout
    assert ["a.example"] == [one.value for one in talking.grants(capability="net")]
    [step] = [row for row in run_json(url, "sync", tmp_path) if row["action"] == "replace"]
    assert ["*"] == [one["value"] for one in step["changes"]["added"]]
    assert ["*"] == [one.value for one in talking.grants(capability="net")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[{"name": "t", "description": "", "input_schema": {}}]', 0),
        ("[]", 0),
        ("{}", 5),
        ("[1]", 5),
        ("[", 5),
        ("[" * 100_000, 5),
        ('"' + "x" * (1 << 20) + '"', 5),
    ],
)
def test_tools_are_reported_from_a_file(
    talking: CapsuleRegistry, url: str, tmp_path: Path, text: str, code: int
) -> None:
    """What is no array of tools is invalid, and changes nothing."""
    file, before = tmp_path / "tools.json", talking.tools()
    file.write_text(text)

    assert (
        4 == run(url, "report-tools", "llm", file, "--generation", 1).exit_code if not code else 1
    )
    assert code == run(url, "report-tools", "llm", file).exit_code
    names = [one["name"] for one in json.loads(text)] if not code else []
    assert [*names, "sum"] == [tool.name for tool in talking.tools()]
    assert code == 0 or before == talking.tools()


def test_a_state_and_a_uuid_are_for_one_generation(talking: CapsuleRegistry, url: str) -> None:
    """With `--generation`, another one is refused."""
    for command in (["set-state", "llm", "failed"], ["register-uuid", "llm"]):
        assert 4 == run(url, *command, "--generation", 99).exit_code
        assert 0 == run(url, *command, "--generation", 2).exit_code
