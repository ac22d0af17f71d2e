"""Small manifests of today, and what a registry must answer of each."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import CapsuleManifest, CapsuleRegistry, InvalidManifestError

if TYPE_CHECKING:
    from pathlib import Path

    from support.backends import Backend

TODAY = "2026.9.4"
#: File, runtime, capability, value, the answer.
ANSWERS: list[tuple[str, str | None, str, str | None, str]] = [
    ("01-publish-table", None, "ipc_publish", "agent.v1.response", "granted"),
    ("01-publish-table", None, "ipc_publish", "llm.v1.request.generate.openai", "granted"),
    ("01-publish-table", TODAY, "ipc_publish", "llm.v1.request.generate.openai.big", "granted"),
    ("01-publish-table", TODAY, "ipc_subscribe", "user.v1.prompt", "granted"),
    ("01-publish-table", None, "ipc_subscribe", "session.v1.response.get_messages.*", "granted"),
    ("01-publish-table", TODAY, "ipc_publish", "agent.v1.secret", "not_granted"),
    ("02-tool-route", TODAY, "ipc_subscribe", "tool.v1.execute.evaluate_script", "granted"),
    ("03-trailing-wildcard", TODAY, "ipc_publish", "astrid.v1.admin.list", "granted"),
    ("03-trailing-wildcard", TODAY, "ipc_publish", "astrid.v1.admin.agent.list", "granted"),
    ("03-trailing-wildcard", TODAY, "ipc_publish", "astrid.v1.admin", "not_granted"),
    (
        "03-trailing-wildcard",
        TODAY,
        "ipc_publish",
        "astrid.v1.admin.a.b.c.d.e.f",
        "malformed_value",
    ),
    ("04-component-capabilities", TODAY, "fs_read", "home://notes/a", "granted"),
    ("04-component-capabilities", TODAY, "net", "https://api.example/x", "granted"),
    ("04-component-capabilities", TODAY, "allow_prompt_injection", None, "granted"),
    ("04-component-capabilities", None, "fs_read", "home://notes/a", "not_read_by_runtime"),
    ("04-component-capabilities", None, "allow_prompt_injection", None, "not_read_by_runtime"),
    ("05-net-connect", None, "net_connect", "imap.example:993", "granted"),
    ("05-net-connect", None, "net_connect", "IMAP.example:993", "granted"),
    ("05-net-connect", TODAY, "net_connect", "smtp.example:25", "granted"),
    ("05-net-connect", TODAY, "allow_persistent", None, "granted"),
    ("05-net-connect", None, "net_connect", "imap.example:22", "not_granted"),
    ("05-net-connect", None, "net_connect", "x.smtp.example:25", "not_granted"),
    ("06-net-bind-unix", None, "net_bind", None, "granted"),
    ("06-net-bind-unix", TODAY, "net_bind", None, "granted"),
    ("06-net-bind-unix", None, "net_bind", "0.0.0.0:22", "not_granted"),
    ("06-net-bind-unix", TODAY, "net_bind", "127.0.0.1:22", "not_granted"),
    ("06-net-bind-tcp", TODAY, "net_bind", "127.0.0.1:8788", "granted"),
    ("06-net-bind-tcp", TODAY, "net_bind", "127.0.0.1:9999", "not_granted"),
    ("06-net-bind-tcp", TODAY, "net_bind", None, "not_granted"),
    ("09-cwd", None, "fs_read", "workspace://src/a.rs", "granted"),
    ("09-cwd", TODAY, "fs_write", "workspace://out/a.txt", "granted"),
    ("09-cwd", None, "fs_write", "workspace://src/a.rs", "not_granted"),
    ("12-legacy-arrays", None, "ipc_publish", "a.b", "not_read_by_runtime"),
    ("12-legacy-arrays", TODAY, "ipc_subscribe", "c.d", "not_read_by_runtime"),
    ("18-arrays-of-0.2", None, "ipc_publish", "a.b", "granted"),
    ("18-arrays-of-0.2", "0.8.0", "ipc_publish", "a.b", "not_read_by_runtime"),
    ("19-arrays-and-tables", None, "ipc_publish", "new.x", "granted"),
    ("19-arrays-and-tables", None, "ipc_publish", "new.x.y", "granted"),
    ("19-arrays-and-tables", None, "ipc_publish", "old.x", "not_read_by_runtime"),
    ("20-arrays-of-0.5", None, "ipc_subscribe", "c.d", "granted"),
    ("20-arrays-of-0.5", None, "ipc_subscribe", "c.d.e", "not_granted"),
    ("20-arrays-of-0.5", None, "fs_read", "workspace://a", "granted"),
    ("21-host-slash", None, "fs_read", "/etc/passwd", "not_granted"),
    ("21-host-slash", None, "fs_read", "workspace://x", "not_granted"),
    ("21-host-slash", None, "fs_read", "workspace://etc/a", "granted"),
    ("22-net-connect-star", TODAY, "net_connect", "any.example:443", "not_granted"),
]
#: File, runtime, topic, and the handlers called for it.
CALLED: list[tuple[str, str | None, str, list[str]]] = [
    ("02-tool-route", None, "tool.v1.execute.evaluate_script", ["tool_execute_evaluate_script"]),
    ("10-priority-guard", TODAY, "user.v1.prompt", ["guard"]),
    ("18-arrays-of-0.2", TODAY, "c.d", []),
    ("18-arrays-of-0.2", None, "c.d", ["on_c"]),
    ("19-arrays-and-tables", None, "c.d", ["new"]),
    ("19-arrays-and-tables", None, "e.f", ["kept"]),
    ("19-arrays-and-tables", "0.8.0", "e.f", []),
]


def text_of(corpus: Path, name: str) -> str:
    return (corpus / "today-cases" / f"{name}.toml").read_text(encoding="utf-8")


def opened(backend: Backend, runtime: str | None) -> CapsuleRegistry:
    return CapsuleRegistry.open(backend.new_url(), namespace="small", runtime_version=runtime)


def register(registry: CapsuleRegistry, text: str) -> str:
    manifest = CapsuleManifest.parse(text, runtime_version=registry.runtime_version)
    return registry.register(manifest).id


@pytest.mark.parametrize("runtime", [None, TODAY, "0.8.0"])
def test_each_question_has_its_answer(corpus: Path, backend: Backend, runtime: str | None) -> None:
    """By the manifest's own form where no runtime is named, else by that runtime's rules."""
    asked = [row for row in ANSWERS if row[1] == runtime]
    with opened(backend, runtime) as registry:
        for name, _, capability, value, expected in asked:
            session = uuid4()
            registry.register_uuid(session, register(registry, text_of(corpus, name)))
            found = registry.check(session, capability, value)
            assert expected == found.why, (name, capability, value)
            registry.drain()
    assert asked


@pytest.mark.parametrize("runtime", [None, TODAY, "0.8.0"])
def test_each_topic_has_its_handlers(corpus: Path, backend: Backend, runtime: str | None) -> None:
    """Those of `[subscribe]`, and the interceptors where they are read."""
    asked = [row for row in CALLED if row[1] == runtime]
    with opened(backend, runtime) as registry:
        for name, _, topic, expected in asked:
            register(registry, text_of(corpus, name))
            assert expected == [one.action for one in registry.interceptors(topic)], name
            registry.drain()
    assert asked


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("14-refused-today-cli-verb", "bad_cli_name"),
        ("14-refused-today-empty-segment", "empty_segments_publish"),
        ("14-refused-today-import-range", "bad_import_version"),
        ("14-refused-today-old-tool", "missing_field"),
        ("14-refused-today-priority-alone", "priority_without_handler"),
        ("14-refused-today-two-pins", "two_pins"),
        ("14-refused-today-uplink-imports", "uplink_with_imports"),
    ],
)
def test_what_the_runtime_refuses_is_refused(corpus: Path, name: str, rule: str) -> None:
    """With its reason; a tool of 0.2.0's shape is accepted where no runtime is named."""
    text = text_of(corpus, name)
    with pytest.raises(InvalidManifestError) as caught:
        CapsuleManifest.parse(text, runtime_version=TODAY)
    assert rule == caught.value.rule
    if name == "14-refused-today-old-tool":
        assert "legacy" == CapsuleManifest.parse(text).form


@pytest.mark.parametrize("name", ["07-tool-today", "11-toml-1.1", "13-topic-without-direction"])
def test_what_the_runtime_takes_is_taken(corpus: Path, name: str) -> None:
    """As by it, so in its own form."""
    for runtime in (None, TODAY):
        assert CapsuleManifest.parse(text_of(corpus, name), runtime_version=runtime).package.name
