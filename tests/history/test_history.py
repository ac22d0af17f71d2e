"""Every change is in the history, which can be recomputed from the tables alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import CapsuleRegistry
from support.factories import CLI, TELEGRAM, make_manifest
from support.histories import KEYS, assert_chain_holds, live, make_history, replayed

if TYPE_CHECKING:
    from support.backends import Backend


def test_the_hash_chain_recomputes_from_the_tables(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Each hash is the SHA-256 of its revision's lines, and the head has the last one."""
    make_history(registry)

    assert_chain_holds(backend, url)


def test_the_events_replay_to_the_live_tables(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """After every kind of change, and after `drain`, the last image of each row is the row."""
    make_history(registry)
    assert live(backend, url) == replayed(backend, url)

    registry.drain()
    assert {table: {} for table in KEYS} == live(backend, url) == replayed(backend, url)
    assert_chain_holds(backend, url)


@pytest.mark.parametrize("event", [1, 3])
def test_an_edit_of_an_event_breaks_the_chain(
    registry: CapsuleRegistry, backend: Backend, url: str, event: int
) -> None:
    """The control: the chain fails once an event is edited behind the registry's back."""
    make_history(registry)
    backend.tamper(url, "UPDATE events SET capsule_id = 'evil' WHERE revision = ?", [event])

    with pytest.raises(AssertionError):
        assert_chain_holds(backend, url)


def test_what_goes_by_cascade_has_its_own_event(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Unregistering a capsule with two uplinks and a UUID files four events in one revision."""
    registry.register(make_manifest(uplink=[TELEGRAM, CLI]), uuids=[uuid4()])
    registry.unregister("alpha")

    actions = backend.rows(url, "SELECT action FROM events WHERE revision = 3 ORDER BY position")
    assert [
        ("uplink.unregistered",),
        ("uplink.unregistered",),
        ("uuid.unregistered",),
        ("capsule.unregistered",),
    ] == actions


def test_a_repointed_uuid_leaves_one_owner_and_comes_to_the_other(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Each owner gets an event, and a reservation left empty is released."""
    uuid = uuid4()
    registry.register_uuid(uuid, "first")
    registry.register_uuid(uuid, "second")

    assert [
        ("capsule.reserved", "second"),
        ("uuid.unregistered", "first"),
        ("uuid.registered", "second"),
        ("capsule.released", "first"),
    ] == backend.rows(
        url, "SELECT action, capsule_id FROM events WHERE revision = 3 ORDER BY position"
    )
    assert [("second",)] == backend.rows(url, "SELECT id FROM capsules")


def test_a_raw_delete_takes_all_that_hangs_on_the_capsule(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """With foreign keys on, `DELETE FROM capsules` empties every child table."""
    registry.register(
        make_manifest(
            uplink=[TELEGRAM],
            tool=[{"name": "t", "description": "", "input_schema": {}}],
            capabilities={"net": ["*"], "uplink": True},
        ),
        uuids=[uuid4()],
    )
    children = ("uplinks", "uuid_mappings", "tools", "grants")
    before = [backend.rows(url, f"SELECT count(*) FROM {table}")[0][0] for table in children]
    backend.rows(url, "DELETE FROM capsules WHERE id = 'alpha'")
    after = [backend.rows(url, f"SELECT count(*) FROM {table}")[0][0] for table in children]

    assert [1, 1, 1, 2] == before
    assert [0, 0, 0, 0] == after


def test_grants_are_one_row_a_value(registry: CapsuleRegistry, backend: Backend, url: str) -> None:
    """Each value of each capability is a row; a flag is `true` or has no row."""
    registry.register(
        make_manifest(
            capabilities={
                "ipc_publish": ["llm.*", "a.b"],
                "allow_prompt_injection": True,
                "uplink": False,
            },
            component=[{"file": "x", "capabilities": {"net": ["*"]}}],
        )
    )

    assert [
        ("allow_prompt_injection", 0, "true"),
        ("ipc_publish", 0, "llm.*"),
        ("ipc_publish", 1, "a.b"),
    ] == backend.rows(
        url, "SELECT capability, position, value FROM grants WHERE counts ORDER BY 1, 2"
    )
    assert [("net", "*", "component 1")] == backend.rows(
        url, "SELECT capability, value, place FROM grants WHERE NOT counts"
    )


def test_a_manifest_is_stored_once(registry: CapsuleRegistry, backend: Backend, url: str) -> None:
    """Registering the same text again reuses its row, which is never removed."""
    for _ in range(3):
        registry.register(make_manifest())
        registry.unregister("alpha")

    [(digest, text)] = backend.rows(url, "SELECT digest, text FROM manifests")
    assert digest == hashlib.sha256(text.encode()).hexdigest()


def test_a_new_namespace_begins_with_its_creation(backend: Backend) -> None:
    """First opening creates it as revision 1; opening again makes no revision."""
    url = backend.empty_url()
    for _ in range(2):
        CapsuleRegistry.open(url, namespace="other", actor="me", migrate=True).close()

    assert [("other", 1)] == backend.rows(url, "SELECT name, revision FROM namespaces")
    assert [("namespace.created", "other", "me")] == backend.rows(
        url,
        "SELECT action, subject, actor FROM events NATURAL JOIN revisions",
    )
    assert_chain_holds(backend, url)


def test_namespaces_do_not_see_each_other(registry: CapsuleRegistry, url: str) -> None:
    """The same id and UUID can be in two namespaces, each with its own history."""
    uuid = uuid4()
    registry.register(make_manifest(), uuids=[uuid])
    with CapsuleRegistry.open(url, namespace="other") as other:
        assert [] == other.list()
        assert other.find_by_uuid(uuid) is None
        other.register_uuid(uuid, "beta")
        assert 3 == other.register(make_manifest()).generation
        assert 1 == len(other.drain())

    assert "alpha" == registry.find_by_uuid(uuid)
