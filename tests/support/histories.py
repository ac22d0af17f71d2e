"""Histories for tests, and the properties that they must have."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from support.factories import CLI, TELEGRAM, make_manifest, make_uplink

if TYPE_CHECKING:
    from capsule_registry import (
        CapsuleRegistry,
    )
    from support.backends import Backend


#: Columns that row images omit: without history, or derived from other columns.
NOT_IMAGED = {"namespace", "manifest", "capability_mask", "expires_at"}


KEYS = {"capsules": "id", "uplinks": "id", "uuid_mappings": "uuid"}


def canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def make_history(registry: CapsuleRegistry) -> None:
    """Make most kinds of changes to capsules, uplinks and UUIDs."""
    moving, by_hand = uuid4(), make_uplink(metadata={"ключ": "знач\u202eение"})
    registry.register(make_manifest("alpha", uplink=[TELEGRAM, CLI]), uuids=[uuid4(), uuid4()])
    registry.register_uuid(moving, "ghost")
    registry.register_uuid(moving, "alpha")
    registry.register_uplink("ghost", by_hand)
    registry.register(make_manifest("ghost"))
    registry.register_uplink("beta", make_uplink())
    registry.unregister_uplink(by_hand.id)
    registry.unregister_uuid(moving)
    registry.unregister("alpha")
    with registry.transaction(reason="ünïcode") as transaction:
        transaction.register(make_manifest("alpha", uplink=[CLI]))
        transaction.unregister("ghost")
        transaction.register_uuid(uuid4(), "delta")


def assert_chain_holds(backend: Backend, url: str) -> None:
    """Recompute every hash from the rows, as an auditor would, with only `sha256` and JSON."""
    [head] = [row for row in backend.table(url, "namespaces") if row["revision"] > 0]
    revisions = backend.table(url, "revisions")
    events = backend.table(url, "events")
    previous = "0" * 64
    for number, revision in enumerate(revisions, start=1):
        of_revision = [event for event in events if event["revision"] == number]
        header = {
            name: revision[name]
            for name in (
                "actor",
                "committed_at",
                "database_user",
                "event_count",
                "namespace",
                "previous_hash",
                "reason",
                "request_id",
                "revision",
            )
        } | {"incarnation": head["incarnation"]}
        lines = [header]
        for event in of_revision:
            event.pop("namespace")
            if event["changes"] is None:  # As before there were any.
                del event["changes"]
            lines.append(event)
        text = "".join(canonical(line) + "\n" for line in lines)

        assert (number, previous) == (revision["revision"], revision["previous_hash"])
        assert len(of_revision) == revision["event_count"]
        assert [*range(len(of_revision))] == [event["position"] for event in of_revision]
        assert hashlib.sha256(text.encode()).hexdigest() == revision["hash"]
        previous = revision["hash"]
    assert (len(revisions), previous) == (head["revision"], head["head_hash"])


def replayed(backend: Backend, url: str) -> dict[str, dict[str, Any]]:
    """Return the rows that the events alone lead to: the last image of each."""
    state: dict[str, dict[str, Any]] = {table: {} for table in KEYS}
    for event in backend.table(url, "events"):
        if event["kind"] in KEYS:
            rows = state[event["kind"]]
            assert canonical(rows.get(event["subject"])) == canonical(
                event["old_row"] and json.loads(event["old_row"])
            )
            if event["new_row"] is None:
                del rows[event["subject"]]
            else:
                assert event["new_row"] == canonical(json.loads(event["new_row"]))
                rows[event["subject"]] = json.loads(event["new_row"])
    return state


def live(backend: Backend, url: str) -> dict[str, dict[str, Any]]:
    """Return the rows of the tables."""
    return {
        table: {
            row[key]: {
                name: value
                for name, value in row.items()
                if name not in NOT_IMAGED
                and (table, name) != ("capsules", "created_revision")
                and (table, name, value) != ("capsules", "form", "legacy")
                and (table, name, value) != ("capsules", "rules", "original")
                and (table, name, value) != ("capsules", "restored_generation", None)
            }
            for row in backend.table(url, table)
        }
        for table, key in KEYS.items()
    }


def cut_tail(registry: CapsuleRegistry, backend: Backend, url: str) -> None:
    """Remove the last revision and reset the head, as somebody with all rights could."""
    last = registry.history.revision
    [(previous,)] = backend.rows(
        url, "SELECT previous_hash FROM revisions WHERE revision = ?", [last]
    )
    backend.tamper(url, "DELETE FROM events WHERE revision = ?", [last])
    backend.tamper(url, "DELETE FROM revisions WHERE revision = ?", [last])
    backend.rows(
        url,
        "UPDATE namespaces SET revision = ?, head_hash = ? WHERE revision = ?",
        [last - 1, previous, last],
    )
