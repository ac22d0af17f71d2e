"""What plain SQL shows: the views, and the triggers that protect the history."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from support.factories import CLI, TELEGRAM, make_manifest

if TYPE_CHECKING:
    from capsule_registry import CapsuleRegistry
    from conftest import Clock
    from support.backends import Backend

ONE, TWO = (UUID(int=number) for number in (1, 2))


@pytest.fixture
def filled(registry: CapsuleRegistry, clock: Clock) -> CapsuleRegistry:
    """A registry with something in every view."""
    tool = {"name": "search", "description": "d", "input_schema": {}}
    registry.register(make_manifest("alpha", uplink=[TELEGRAM, CLI], tool=[tool]), uuids=[ONE])
    registry.register_uuid(TWO, "ghost")
    clock.step(timedelta(hours=1))
    with registry.transaction(reason="new version", actor="operator") as transaction:
        transaction.unregister("alpha")
        changed = make_manifest(
            "alpha", package={"version": "0.2.0"}, capabilities={"ipc_publish": ["llm.*"]}
        )
        transaction.register(changed, uuids=[ONE])
    return registry


def view(backend: Backend, url: str, name: str, *columns: str) -> list[tuple[Any, ...]]:
    order = ", ".join(str(number + 1) for number in range(len(columns)))
    return backend.rows(url, f"SELECT {', '.join(columns)} FROM {name} ORDER BY {order}")


def test_registered_capsules_are_counted(
    filled: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """The view has one row per registered capsule, and none for a reservation."""
    columns = ("id", "version", "state", "generation", "uplink_count", "uuid_count", "tool_count")
    assert [("alpha", "0.2.0", "ready", 4, 0, 1, 0)] == view(
        backend, url, "registered_capsules", *columns
    )
    filled.register(make_manifest("beta", uplink=[CLI]))
    assert ("beta", 1) == view(backend, url, "registered_capsules", "id", "uplink_count")[1]


def test_the_audit_log_joins_who_and_what(
    filled: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Each event is shown with who did it, when and why."""
    found = view(backend, url, "audit_log", "revision", "position", "actor", "reason", "action")

    assert [
        (4, 0, "operator", "new version", "uplink.unregistered"),
        (4, 1, "operator", "new version", "uplink.unregistered"),
        (4, 2, "operator", "new version", "uuid.unregistered"),
        (4, 3, "operator", "new version", "capsule.unregistered"),
        (4, 4, "operator", "new version", "capsule.registered"),
        (4, 5, "operator", "new version", "uuid.registered"),
    ] == found[-6:]


def test_the_history_of_a_capsule_has_an_interval_for_each_generation(
    filled: CapsuleRegistry, backend: Backend, url: str, clock: Clock
) -> None:
    """Start and end of each generation, in revisions and times, and by whom."""
    clock.step(timedelta(hours=1))
    filled.unregister("alpha")
    columns = ("generation", "version", "until_revision", "from_time", "until_time", "ended_by")
    times = [f"2030-01-02T0{hour}:04:05.678901Z" for hour in (3, 4, 5)]

    assert [
        (2, "0.1.0", 4, times[0], times[1], "operator"),
        (4, "0.2.0", 5, times[1], times[2], "tester"),
    ] == view(backend, url, "capsule_history", *columns)
    ways = ("generation", "begun_reason", "ended_how", "ended_reason")
    assert [(2, None, "replaced", "new version"), (4, "new version", "removed", None)] == view(
        backend, url, "capsule_history", *ways
    )
    filled.register(make_manifest("alpha"))
    filled.history.prune(filled.history.anchor())
    assert [(6, None)] == view(backend, url, "capsule_history", "generation", "until_revision")


def test_live_uuids_are_those_that_no_lease_has_let_go(
    filled: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """UUIDs of expired leases are absent; the capsule's state is null for a reservation."""
    columns = ("capsule_id", "state", "generation")
    assert [("alpha", "ready", 4), ("ghost", None, None)] == sorted(
        view(backend, url, "live_uuids", *columns)
    )
    for year in ("2999", "2000"):
        backend.rows(
            url,
            "INSERT INTO leases (namespace, id, name, host, pid, actor, ttl_ms, opened_at, "
            "opened_revision, expires_at) VALUES ('default', ?, 'n', 'h', 1, 'a', 1000, "
            "'2000-01-01 00:00:00.000000', 1, ?)",
            [f"00000000-0000-0000-0000-00000000{year}", f"{year}-01-01T00:00:00.000000"],
        )
        backend.rows(
            url,
            "UPDATE uuid_mappings SET lease_id = ?",
            [f"00000000-0000-0000-0000-00000000{year}"],
        )
        count = 2 if year == "2999" else 0
        assert count == len(view(backend, url, "live_uuids", "uuid"))


def test_grants_and_tools_are_found_by_what_they_allow(
    filled: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """One WHERE finds who may do what, and who offers which tool."""
    columns = ("capsule_id", "capability", "value", "state")
    assert [("alpha", "ipc_publish", "llm.*", "ready")] == view(
        backend, url, "capability_grants", *columns
    )
    tool = {"name": "search", "description": "d", "input_schema": {}}
    filled.register(make_manifest("beta", tool=[tool]))
    assert [("search", "beta", "0.1.0", "ready")] == view(
        backend, url, "tool_index", "name", "capsule_id", "version", "state"
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET capsule_id = 'x'",
        "UPDATE revisions SET actor = 'x'",
        "UPDATE manifests SET text = 'x'",
        "DELETE FROM events WHERE revision = 2",
        "DELETE FROM revisions WHERE revision = 2",
    ],
)
def test_the_history_is_fenced(
    filled: CapsuleRegistry, backend: Backend, url: str, statement: str
) -> None:
    """It cannot be changed or deleted by hand; pruning and dropping are let through."""
    with pytest.raises(Exception, match="append-only"):
        backend.rows(url, statement)
    assert filled.history.verify().ok

    filled.history.prune(filled.history.anchor())
    assert filled.history.verify().ok
