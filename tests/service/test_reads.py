"""What is registered, over HTTP: the shapes that the command prints, as of now and of then."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from capsule_registry import RegistryAdmin
from capsule_registry.api import json_shapes
from support.factories import TELEGRAM, make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from capsule_registry import CapsuleRegistry
    from conftest import Clock
    from support.services import Service

ONE = UUID(int=1)
FULL: dict[str, Any] = {
    "uplink": [TELEGRAM],
    "capabilities": {"ipc_publish": ["chat.*"], "net": ["*.example.org"]},
    "dependencies": {"provides": ["topic:chat.said"], "requires": ["topic:other.*"]},
    "interceptor": [{"event": "chat.*", "action": "note"}],
    "tool": [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}],
    "command": [{"name": "say", "description": "Says."}],
}


@pytest.fixture
def filled(registry: CapsuleRegistry, clock: Clock) -> CapsuleRegistry:
    """A registry with one of everything, and a history."""
    clock.step(timedelta(minutes=1))
    registry.register(make_manifest("full", **FULL), uuids=[ONE, uuid4()])
    clock.step(timedelta(minutes=1))
    registry.register(make_manifest("plain"))
    registry.set_state("plain", "failed", "it broke")
    registry.register_uuid(uuid4(), "reserved")
    return registry


def shapes(found: Any, shape: Callable[[Any], Any] = json_shapes.by_fields) -> list[Any]:
    return [*map(shape, found)]


READS: dict[str, Callable[[CapsuleRegistry], Any]] = {
    "capsules": lambda r: shapes(r.summaries(), json_shapes.capsule_summary),
    "capsules?state=failed": lambda r: shapes(
        r.summaries(state="failed"), json_shapes.capsule_summary
    ),
    "capsules?form=today": lambda _: [],
    "capsules/full": lambda r: json_shapes.capsule(r.get("full") or pytest.fail("it is missing")),
    "uplinks": lambda r: shapes(r.find_uplinks(), json_shapes.uplink),
    "uplinks?platform=%20Telegram&can_send=true": lambda r: shapes(
        r.find_uplinks(platform=" Telegram", can_send=True), json_shapes.uplink
    ),
    "uuids": lambda r: shapes(r.uuids()),
    "uuids?capsule_id=full": lambda r: shapes(r.uuids("full")),
    "tools": lambda r: shapes(r.tools()),
    "tools?name=look": lambda r: shapes(r.find_tool("look")),
    "capsules/full/tool-catalogue": lambda r: {"tool_catalogue": r.tool_catalogue("full").value},
    "commands": lambda r: shapes(r.commands()),
    "commands?kind=slash": lambda r: shapes(r.commands(kind="slash")),
    "routes": lambda r: shapes(r.routes.list()),
    "routes/called?topic=chat.said": lambda r: shapes(
        r.routes.called("chat.said"), json_shapes.call
    ),
    "routes/publishers?topic=chat.said": lambda r: shapes(
        r.routes.publishers("chat.said"), json_shapes.party
    ),
    "routes/subscribers?topic=chat.said": lambda r: shapes(
        r.routes.subscribers("chat.said"), json_shapes.party
    ),
    "routes/unheard": lambda r: shapes(r.routes.unheard()),
    "routes/unsaid": lambda r: shapes(r.routes.unsaid()),
    "interceptors?topic=chat.said": lambda r: shapes(
        r.interceptors("chat.said"), json_shapes.interceptor
    ),
    "providers?capability=topic:chat.*": lambda r: shapes(r.providers("topic:chat.*")),
    "exports": lambda r: shapes(r.exports()),
    "dependencies": lambda r: shapes(r.dependencies()),
    "unmet": lambda r: shapes(r.unmet()),
    "unmet?required=false": lambda r: shapes(r.unmet(required=False)),
    "boot-order": lambda r: json_shapes.by_fields(r.boot_order()),
    "artifacts?hash=blake3:00": lambda r: shapes(r.find_artifact("blake3:00")),
    "grants": lambda r: shapes(r.grants()),
    "grants?capability=net&value=a.example.org": lambda r: shapes(
        r.grants(capability="net", value="a.example.org")
    ),
    "leases": lambda r: shapes(r.leases.list()),
    "history": lambda r: shapes(r.history.list()),
    "history?after=2&capsule_id=plain&limit=1": lambda r: shapes(
        r.history.list(after=2, capsule_id="plain", limit=1)
    ),
    "history/2": lambda r: json_shapes.by_fields(r.history.list(after=1)[0]),
    "diff?before=1": lambda r: shapes(r.history.diff(1)),
    "diff?before=2&after=3": lambda r: shapes(r.history.diff(2, 3)),
    "anchor": lambda r: json_shapes.by_fields(r.history.anchor()),
}
#: These are not of a moment, or of two.
_NO_AT = ("leases", "history", "diff", "anchor")


def test_every_read_answers_as_the_library_does(
    filled: CapsuleRegistry, client: httpx.Client
) -> None:
    """In the JSON shapes that the command prints."""
    for path, expected in READS.items():
        answer = client.get(path)
        assert 200 == answer.status_code, (path, answer.text)
        assert expected(filled) == answer.json(), path
        assert "no-store" == answer.headers["cache-control"]


def test_every_read_answers_as_of_a_moment(filled: CapsuleRegistry, client: httpx.Client) -> None:
    """By `at`, a revision or a time; what is a moment's own has no such parameter."""
    moment = filled.history.list(after=1)[0]
    for path, expected in READS.items():
        sign = "&" if "?" in path else "?"
        by_revision = client.get(f"{path}{sign}at={moment.revision}")
        if path.startswith(_NO_AT):
            assert 422 == by_revision.status_code, path
            continue
        time = client.get(f"{path}{sign}at={moment.committed_at.isoformat().replace('+', '%2B')}")
        then: Any = filled.at(revision=moment.revision)
        assert expected(then) == by_revision.json() == time.json(), path


def test_what_is_missing_is_not_found(filled: CapsuleRegistry, client: httpx.Client) -> None:
    """As a problem that names what is missing."""
    for path, facts in (
        ("capsules/nobody", {"capsule_id": "nobody"}),
        ("capsules/plain?at=2", {"capsule_id": "plain"}),
        (f"uplinks/{ONE}", {"uplink_id": str(ONE)}),
        ("../nowhere/capsules", {"namespace": "nowhere"}),
    ):
        answer = client.get(path)
        assert (404, facts) == (answer.status_code, answer.json()["facts"]), path
        assert "application/problem+json" == answer.headers["content-type"]
    assert 404 == client.get("commands/nothing").status_code


def test_pages_lead_to_the_next_one(registry: CapsuleRegistry, client: httpx.Client) -> None:
    """`Link` keeps the filters, and the last page has none."""
    registry.register_many(make_manifest(f"c{number}") for number in range(5))
    registry.set_state("c1", "failed")
    found: list[str] = []
    path: str | None = "capsules?limit=2&state=ready"
    while path is not None:
        answer = client.get(path)
        found += [one["id"] for one in answer.json()]
        link = answer.links.get("next")
        path = None if link is None else f"capsules{link['url']}"

    assert ["c0", "c2", "c3", "c4"] == found


def test_decisions_are_the_librarys(filled: CapsuleRegistry, client: httpx.Client) -> None:
    """One by an object, many by a list in its order; what is malformed is denied, not an error."""
    asked = [
        {"uuid": str(ONE), "capability": "ipc_publish", "value": "chat.said"},
        {"uuid": str(ONE), "capability": "ipc_publish", "value": "other"},
        {"uuid": "no uuid", "capability": "ipc_publish", "value": "chat.said"},
        {"uuid": str(ONE), "capability": "no such"},
        {"uuid": str(ONE), "capability": "allow_prompt_injection"},
    ]
    expected = [
        json_shapes.by_fields(filled.check(one["uuid"], one["capability"], one.get("value")))
        for one in asked
    ]

    assert [True, False, False, False, False] == [one["allowed"] for one in expected]
    assert expected == [client.post("check", json=one).json() for one in asked]
    assert expected == client.post("check", json=asked).json()
    before = client.post("check?at=1", json=asked[0]).json()
    assert (False, 1) == (before["allowed"], before["revision"])


def test_a_check_that_cannot_be_understood_allows_nothing(client: httpx.Client) -> None:
    """It is no 200, and says where it is wrong without repeating it."""
    for body in (b"", b"{", b"[1]", b"{}", b'{"uuid":1,"capability":"net","secret":"s3cret"}'):
        answer = client.post("check", content=body, headers={"Content-Type": "application/json"})
        assert 422 == answer.status_code, body
        assert "allowed" not in answer.json()
        assert "s3cret" not in answer.text
    many = [{"uuid": str(ONE), "capability": "net"}] * 501
    assert 422 == client.post("check", json=many).status_code


def test_uuids_are_resolved(filled: CapsuleRegistry, client: httpx.Client) -> None:
    """One by an object, many by a list; registered or not, or null."""
    reserved = filled.uuids("reserved")[0].uuid
    asked = [{"uuid": str(one)} for one in (ONE, reserved, uuid4())]

    assert ["full", "reserved", None] == [
        one["capsule_id"] for one in client.post("resolve", json=asked).json()
    ]
    assert {"uuid": str(ONE), "capsule_id": "full"} == client.post("resolve", json=asked[0]).json()


def test_an_export_is_that_of_the_library(filled: CapsuleRegistry, client: httpx.Client) -> None:
    """Line by line, as of now or of a moment."""
    assert [*filled.export_lines()] == client.get("export").text.splitlines()
    assert [*filled.at(revision=2).export_lines()] == client.get("export?at=2").text.splitlines()


def test_namespaces_are_listed_and_described(
    filled: CapsuleRegistry, service: Service, url: str
) -> None:
    """With their heads; one that is created later is served too, and one that is dropped is not."""
    with type(filled).open(url, namespace="later") as later:
        anchor = later.history.anchor()
    with service.client() as client:
        listed = client.get("/v1/namespaces").json()
        assert listed[1] == client.get("/v1/namespaces/later").json()
        with RegistryAdmin.open(url) as admin:
            admin.drop_namespace("later", force=True)
        assert 404 == client.get("/v1/namespaces/later").status_code
        assert 404 == client.get("/v1/namespaces/later/capsules").status_code

    assert ["default", "later"] == [one["name"] for one in listed]
    assert anchor.hash == listed[1]["head_hash"]


def test_waiting_ends_when_a_capsule_is_ready(
    filled: CapsuleRegistry, client: httpx.Client
) -> None:
    """Or has failed, or at the timeout."""
    answer = client.post("wait-ready", json={"ids": ["full", "plain", "nobody"], "timeout": 0.1})

    assert {"full": "ready", "plain": "crashed", "nobody": "timeout"} == answer.json()


def test_typos_in_filters_are_errors(client: httpx.Client) -> None:
    """A filter that is not known would filter nothing."""
    for path in ("capsules?stat=ready", "history?Limit=1", "anchor?x"):
        answer = client.get(path)
        assert 422 == answer.status_code, path
        assert "no query parameter" in answer.json()["detail"]


def test_auditors_check_the_history(filled: CapsuleRegistry, service: Service) -> None:
    """They verify it by an anchor of old, and take the lines that are hashed; others may not."""
    anchor = json_shapes.by_fields(filled.history.anchor())
    with service.client("auditor") as auditor, service.client("reader") as reader:
        found = auditor.post("/v1/namespaces/default/verify", json=anchor)
        lines = auditor.get("/v1/namespaces/default/history-lines?after=1")
        assert 403 == reader.post("/v1/namespaces/default/verify", json=anchor).status_code

    expected = json_shapes.by_fields(filled.history.verify(filled.history.anchor()))
    assert json.loads(json.dumps(expected)) == found.json()
    assert [] == found.json()["discrepancies"]
    assert [*filled.history.export(after=1)] == lines.text.splitlines()
