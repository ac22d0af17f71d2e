"""Changes over HTTP: recorded as their caller's, of one generation, and done once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from capsule_registry.api import json_shapes
from support.factories import make_text, make_uplink

if TYPE_CHECKING:
    import httpx

    from capsule_registry import CapsuleRegistry
    from support.services import Service

ONE = UUID(int=1)
KEY = {"Idempotency-Key": "00000000-0000-4000-8000-0000000000aa"}


def manifest(name: str, extra: str = "") -> dict[str, Any]:
    return {"manifest": make_text(name, extra)}


def test_a_capsule_lives_from_registration_to_its_end(
    registry: CapsuleRegistry, client: httpx.Client
) -> None:
    """Each change answers with its revision, and with the capsule, whose generation is its ETag."""
    made = client.post("capsules", json={**manifest("a"), "uuids": [str(ONE)], "state": "loading"})
    assert (200, '"2"') == (made.status_code, made.headers["etag"])
    record = registry.get("a")
    assert record is not None
    expected = {"revision": 2, "repeated": False, "result": json_shapes.capsule(record)}
    assert (expected, "loading") == (made.json(), record.state)

    ready = client.put("capsules/a/state", json={"state": "ready", "state_reason": "it runs"})
    assert (3, "it runs", '"2"') == (
        ready.json()["revision"],
        ready.json()["result"]["state_reason"],
        ready.headers["etag"],
    )
    same = client.put("capsules/a/state", json={"state": "ready", "state_reason": "it runs"})
    assert (200, None) == (same.status_code, same.json()["revision"])

    tool = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}
    told = client.put("capsules/a/tools", json=[tool])
    assert (4, ["look"]) == (told.json()["revision"], [one.name for one in registry.tools("a")])

    replaced = client.put("capsules/a", json={**manifest("a", "# two"), "keep_uuids": True})
    assert (5, '"5"', "a") == (
        replaced.json()["revision"],
        replaced.headers["etag"],
        registry.find_by_uuid(ONE),
    )
    back = client.post("capsules/a/rollback", json={"to": 2})
    assert (6, 2) == (back.json()["revision"], back.json()["result"]["restored_generation"])

    for odd in (-1, 2**63, 10**30):
        assert client.post("capsules/a/rollback", json={"to": odd}).status_code in (404, 409, 422)

    gone = client.delete("capsules/a")
    assert (7, "a", True) == (
        gone.json()["revision"],
        gone.json()["result"]["id"],
        registry.is_empty(),
    )
    assert registry.history.verify().ok


def test_a_change_is_recorded_as_that_of_the_token(
    registry: CapsuleRegistry, client: httpx.Client
) -> None:
    """`X-Actor` and `reason` are the reason; nobody else can be named as the actor."""
    client.post("capsules?reason=needed", json=manifest("a"), headers={"X-Actor": "anna"})
    client.post("capsules?reason=needed", json=manifest("b"))
    client.post("capsules", json=manifest("c"), headers={"X-Actor": "anna"})
    client.post("capsules", json=manifest("d"))

    assert [
        ("writer", "anna: needed"),
        ("writer", "needed"),
        ("writer", "anna"),
        ("writer", None),
    ] == [(one.actor, one.reason) for one in registry.history.list(after=1)]


def test_a_change_of_another_generation_is_refused(
    registry: CapsuleRegistry, client: httpx.Client
) -> None:
    """By `If-Match`, as a failed precondition; nothing is changed, and `*` means any."""
    client.post("capsules", json=manifest("a"))
    stale, fresh = {"If-Match": '"1"'}, {"If-Match": '"2"'}
    changes: list[tuple[str, str, Any]] = [
        ("PUT", "capsules/a/state", {"state": "failed"}),
        ("PUT", "capsules/a/tools", []),
        ("PUT", f"uuids/{ONE}", {"capsule_id": "a"}),
        ("POST", "capsules/a/rollback", {}),
        ("PUT", "capsules/a", manifest("a", "# new")),
        ("DELETE", "capsules/a", None),
    ]
    for method, path, body in changes:
        answer = client.request(method, path, json=body, headers=stale)
        assert 412 == answer.status_code, (path, answer.text)
        assert {"expected": 1, "actual": 2} == answer.json()["facts"]
    assert 2 == registry.history.revision

    for method, path, body in (changes[0], changes[2]):
        assert 200 == client.request(method, path, json=body, headers=fresh).status_code
    assert 200 == client.delete("capsules/a", headers={"If-Match": "*"}).status_code
    for wrong in ("x", '"x"', 'W/"2"', '"1", "2"'):
        answer = client.delete("capsules/a", headers={"If-Match": wrong})
        assert (422, "Refused") == (answer.status_code, answer.json()["error"])


def test_a_change_sent_twice_is_done_once(registry: CapsuleRegistry, client: httpx.Client) -> None:
    """Under one `Idempotency-Key`: the second answer says so, and names the revision."""
    first = client.post("capsules", json=manifest("a"), headers=KEY)
    again = client.post("capsules", json=manifest("a"), headers=KEY)
    others = [
        client.put("capsules/a/state", json={"state": "failed"}, headers=KEY),
        client.post("capsules", json=manifest("b"), headers=KEY),
        client.delete("capsules/a", headers=KEY),
        client.put(f"uuids/{ONE}", json={"capsule_id": "a"}, headers=KEY),
    ]

    assert (200, 2, False) == (
        first.status_code,
        first.json()["revision"],
        first.json()["repeated"],
    )
    assert {"revision": 2, "repeated": True, "result": None} == again.json()
    assert (200, "true") == (again.status_code, again.headers["idempotent-replayed"])
    for answer in others:  # Another change is not the one that was done.
        assert (409, "RequestRepeatedError") == (answer.status_code, answer.json()["error"])
    assert ["a"] == registry.list()
    assert UUID(KEY["Idempotency-Key"]) == registry.history.list()[-1].request_id
    assert 2 == registry.history.revision
    conflict = client.post("capsules", json=manifest("a"))
    assert (409, "CapsuleAlreadyRegisteredError") == (
        conflict.status_code,
        conflict.json()["error"],
    )


def test_a_key_of_another_namespace_is_a_conflict(
    registry: CapsuleRegistry, client: httpx.Client, url: str
) -> None:
    """It names one change in the database, and this one was not done."""
    with type(registry).open(url, namespace="other") as other:
        client.post("capsules", json=manifest("a"), headers=KEY)
        path = str(client.base_url).replace("default", "other") + "capsules"
        answer = client.post(path, json=manifest("a"), headers=KEY)

        assert (409, "RequestRepeatedError") == (answer.status_code, answer.json()["error"])
        assert other.is_empty()


def test_session_uuids_and_uplinks_are_filed_and_removed(
    registry: CapsuleRegistry, client: httpx.Client
) -> None:
    """Under ids that need not be registered."""
    assert 2 == client.put(f"uuids/{ONE}", json={"capsule_id": "a"}).json()["revision"]
    assert "a" == registry.find_by_uuid(ONE)
    assert client.put(f"uuids/{ONE}", json={"capsule_id": "a"}).json()["revision"] is None
    assert [True, False] == [client.delete(f"uuids/{ONE}").json()["result"] for _ in range(2)]

    uplinks = [make_uplink(name="one"), make_uplink(name="two"), make_uplink(name="three")]
    for one in uplinks:
        body = {"capsule_id": "a", "uplink": one.model_dump(mode="json")}
        assert 200 == client.post("uplinks", json=body).status_code
        again = client.post("uplinks", json=body)
        assert (409, str(one.id)) == (again.status_code, again.json()["facts"]["uplink_id"])
    assert uplinks == registry.all_uplink_descriptors()
    assert client.delete(f"uplinks/{uplinks[0].id}").json()["result"] is True
    assert 2 == client.delete("capsules/a/uplinks").json()["result"]
    assert [] == registry.find_uplinks()


def test_a_lease_is_opened_renewed_and_closed(
    registry: CapsuleRegistry, client: httpx.Client
) -> None:
    """By its id, through whichever service; what belongs to it goes with it."""
    opened = client.post("leases", json={"name": "host", "ttl": 60}).json()
    lease = opened["result"]["id"]
    filing = {"capsule_id": "a", "lease": lease}
    assert 200 == client.put(f"uuids/{ONE}", json=filing).status_code
    taken = client.put(f"uuids/{ONE}", json={"capsule_id": "b"})
    assert (409, lease) == (taken.status_code, taken.json()["facts"]["lease_id"])
    renewed = client.post(f"leases/{lease}/renewal").json()
    assert (lease, "writer") == (renewed["id"], renewed["actor"])
    assert 3 == registry.history.revision  # Renewing makes none.
    assert [lease] == [one["id"] for one in client.get("leases").json()]

    assert 4 == client.delete(f"leases/{lease}").json()["revision"]
    assert registry.find_by_uuid(ONE) is None
    assert 404 == client.delete(f"leases/{lease}").status_code
    assert 409 == client.post(f"leases/{lease}/renewal").status_code
    assert [] == client.post("reap-leases").json()["result"]


def test_many_are_registered_in_one_revision(
    registry: CapsuleRegistry, client: httpx.Client
) -> None:
    """All of them or none."""
    texts = [make_text(f"c{number}") for number in range(20)]
    made = client.post("register-many", json={"manifests": texts}).json()
    assert (2, 20) == (made["revision"], len(made["result"]))
    refused = client.post("register-many", json={"manifests": [make_text("new"), texts[3]]})
    assert (409, 20) == (refused.status_code, len(registry))
    drained = client.post("drain").json()
    assert (3, 20, 0) == (drained["revision"], len(drained["result"]), len(registry))


def test_manifests_are_synced(registry: CapsuleRegistry, client: httpx.Client) -> None:
    """As a plan first, if that is asked for."""
    client.post("capsules", json=manifest("old"))
    asked = {"manifests": {"a": make_text("a"), "bad": "x"}, "prune": True, "force": True}
    planned = client.post("sync", json={**asked, "dry_run": True}).json()
    assert (None, 2) == (planned["revision"], registry.history.revision)
    done = client.post("sync", json=asked).json()

    assert (3, planned["result"]) == (done["revision"], done["result"])
    assert ["refuse", "keep", "register"] == [one["action"] for one in done["result"]["steps"]]
    right = '[capabilities]\nipc_publish = ["a.*"]'
    refused = client.post(
        "sync", json={"manifests": {"a": make_text("a", right)}, "refuse_new_rights": True}
    )
    assert (409, ["a"]) == (refused.status_code, refused.json()["facts"]["names"])


def test_an_export_is_imported(
    registry: CapsuleRegistry, client: httpx.Client, url: str, service: Service
) -> None:
    """Into another namespace, by revisions of a thousand lines, or by one under a key."""
    registry.register_many([])
    for number in range(3):
        client.post("capsules", json={**manifest(f"c{number}"), "uuids": [str(uuid4())]})
    lines = client.get("export").content
    with type(registry).open(url, namespace="other") as other, service.client() as guest:
        path = "/v1/namespaces/other/import"
        assert 6 == guest.post(path, content=lines, headers=KEY).json()["result"]
        assert guest.post(path, content=lines, headers=KEY).json()["repeated"]
        assert (["c0", "c1", "c2"], 2) == (other.list(), other.history.revision)
        torn = guest.post(path, content=lines.rsplit(b"\n", 2)[0])
        assert 4 == torn.status_code // 100
        other.drain()
        torn = guest.post(path, content=lines.rsplit(b"\n", 2)[0])
        assert (422, "InvalidTextError", 0) == (torn.status_code, torn.json()["error"], len(other))


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"manifest": "["}, "toml_syntax"),
        ({"manifest": "[package]\nname = 'A B'\nversion = '1.0.0'"}, None),
        ({"manifest": ""}, None),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(
    registry: CapsuleRegistry, client: httpx.Client, body: Any, rule: str | None
) -> None:
    """As the library refuses it, with the rule as a fact."""
    answer = client.post("capsules", json=body)

    assert (422, 1) == (answer.status_code, registry.history.revision)
    assert answer.json()["error"].startswith("Invalid")
    assert answer.json()["facts"].get("rule") == rule or rule is None


def test_the_path_and_the_manifest_must_agree(client: httpx.Client) -> None:
    """A capsule is not replaced under another's name."""
    client.post("capsules", json=manifest("a"))
    answer = client.put("capsules/a", json=manifest("b"))

    assert (422, "other_capsule") == (answer.status_code, answer.json()["facts"]["rule"])
