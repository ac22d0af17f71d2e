"""Edits of a file by other programs, each seen at once by a registry that answers from memory."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from capsule_registry import CapsuleRegistry, CapsuleRegistryError, sqlite_module
from support.factories import TELEGRAM, make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("sqlite")

PLAIN, LEASED, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
MAPPING = "namespace, uuid, capsule_id, lease_id, registered_at, created_revision, position"
TO_BETA = MAPPING.replace("capsule_id", "'beta'").replace("created_revision", "99")
OF_OTHER = MAPPING.replace("uuid,", f"'{OTHER}',")
LEASE = (
    "namespace, id, name, host, pid, actor, ttl_ms, opened_at, opened_revision, expires_at,"
    " boot_id, expires_uptime_ms, expired_at"
)
LONG_AGO = "'2001-01-01T00:00:00.000000Z'"
ENDED = LEASE.replace("expires_at", LONG_AGO).replace("expires_uptime_ms", "0")
CAPSULE = (
    "namespace, id, version, manifest, manifest_digest, reported_tools, source_dir, state,"
    " state_reason, generation, registered_revision, position, modified_revision,"
    " created_revision, registered_at"
)
FAILED = CAPSULE.replace(" state,", " 'failed',")
GRANT = "namespace, capsule_id, capability, position, value, generation"
NO_GRANT = GRANT.replace("value", "'none'")
M, IS_PLAIN, IS_LEASED = "uuid_mappings", f"uuid = '{PLAIN}'", f"uuid = '{LEASED}'"
EDITS = [
    f"UPDATE {M} SET capsule_id = 'beta', created_revision = 99 WHERE {IS_PLAIN}",
    f"UPDATE {M} SET uuid = '{OTHER}' WHERE {IS_PLAIN}",
    f"UPDATE OR REPLACE {M} SET uuid = '{PLAIN}' WHERE {IS_LEASED}",
    f"UPDATE OR REPLACE {M} SET rowid = (SELECT rowid FROM {M} WHERE {IS_PLAIN}) WHERE {IS_LEASED}",
    f"UPDATE {M} SET namespace = 'elsewhere' WHERE {IS_PLAIN}",
    f"UPDATE {M} SET lease_id = '{OTHER}' WHERE {IS_PLAIN}",
    f"UPDATE {M} SET created_revision = 0 WHERE {IS_PLAIN}",
    f"DELETE FROM {M} WHERE {IS_PLAIN}",
    f"DELETE FROM {M}",
    f"INSERT OR REPLACE INTO {M} ({MAPPING}) SELECT {TO_BETA} FROM {M} WHERE {IS_PLAIN}",
    f"REPLACE INTO {M} ({MAPPING}) SELECT {TO_BETA} FROM {M} WHERE {IS_LEASED}",
    f"REPLACE INTO {M} (rowid, {MAPPING}) SELECT rowid, {OF_OTHER} FROM {M} WHERE {IS_PLAIN}",
    f"UPDATE leases SET expires_at = {LONG_AGO}",
    "UPDATE leases SET expires_uptime_ms = 0",
    f"UPDATE leases SET boot_id = '{OTHER}'",
    f"UPDATE leases SET id = '{OTHER}'",
    "UPDATE leases SET namespace = 'elsewhere'",
    "DELETE FROM leases",
    f"INSERT OR REPLACE INTO leases ({LEASE}) SELECT {ENDED} FROM leases",
    f"REPLACE INTO leases (rowid, {LEASE}) SELECT rowid, {ENDED} FROM leases",
    "UPDATE capsules SET state = 'failed' WHERE id = 'alpha'",
    "UPDATE capsules SET state_reason = 'broken' WHERE id = 'alpha'",
    "UPDATE OR REPLACE capsules SET id = 'alpha' WHERE id = 'beta'",
    "UPDATE capsules SET id = 'gamma' WHERE id = 'alpha'",
    "UPDATE capsules SET created_revision = 99 WHERE id = 'alpha'",
    "UPDATE capsules SET generation = 99 WHERE id = 'alpha'",
    "UPDATE capsules SET version = '9.9.9' WHERE id = 'alpha'",
    "DELETE FROM capsules WHERE id = 'alpha'",
    f"INSERT OR REPLACE INTO capsules ({CAPSULE}) SELECT {FAILED} FROM capsules WHERE id = 'alpha'",
    (
        f"REPLACE INTO capsules (rowid, {CAPSULE})"
        f" SELECT rowid + 1, {CAPSULE} FROM capsules WHERE id = 'beta'"
    ),
    "UPDATE grants SET value = 'none'",
    "UPDATE grants SET capability = 'net'",
    "UPDATE grants SET generation = 0",
    "UPDATE grants SET capsule_id = 'beta'",
    "DELETE FROM grants",
    f"INSERT OR REPLACE INTO grants ({GRANT}) SELECT {NO_GRANT} FROM grants",
    "UPDATE namespaces SET name = 'elsewhere'",
    "DELETE FROM namespaces",
    "UPDATE namespaces SET revision = revision + 1",
    "DROP TABLE grants",
    f"ALTER TABLE {M} RENAME TO mappings",
]
#: What the program does before its edit, in the same transaction, with foreign keys and without.
BEFORE = {1: "UPDATE namespaces SET revision = revision", 0: "DROP TRIGGER events_appended"}


@pytest.fixture
def registry(url: str) -> Iterator[CapsuleRegistry]:
    """A registry that has everything in memory that it may tell of two sessions."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest("beta"))
        allowed = make_manifest("alpha", capabilities={"kv": ["key"]})
        registry.register(allowed, uuids=[PLAIN])
        lease = registry.leases.open("worker", timedelta(hours=1), renew=False)
        lease.register_uuid(LEASED, "alpha")
        assert [True, True] == answers(registry)[-2:]
        yield registry


def answers(registry: CapsuleRegistry) -> list[Any]:
    """Return what the registry says, errors by their type."""
    return [
        _said(lambda: registry.find_by_uuid(PLAIN)),
        _said(lambda: registry.find_by_uuid(LEASED)),
        _said(lambda: registry.get("alpha")),
        _said(lambda: registry.check(PLAIN, "kv", "key").why),
        _said(lambda: registry.is_allowed(PLAIN, "kv", "key")),
        _said(lambda: registry.is_allowed(LEASED, "kv", "key")),
    ]


def _said(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except CapsuleRegistryError as error:
        return type(error)


@pytest.mark.parametrize("foreign_keys", BEFORE)
@pytest.mark.parametrize("edit", EDITS)
def test_no_edit_leaves_a_stale_answer(
    registry: CapsuleRegistry, url: str, edit: str, foreign_keys: int
) -> None:
    """A registry with a memory says what one says that has just begun, or the edit is refused."""
    with CapsuleRegistry.open(url) as fresh:
        program = sqlite_module.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        program.execute(f"PRAGMA foreign_keys = {foreign_keys}")
        try:
            program.executescript(f"BEGIN; {BEFORE[foreign_keys]}; {edit}; COMMIT")
        except sqlite_module.IntegrityError:
            pytest.skip("the schema refuses it")
        finally:
            program.close()

        assert answers(fresh) == answers(registry)


def test_an_edit_changes_the_answer(registry: CapsuleRegistry, url: str) -> None:
    """The control: a session that another program removes is denied."""
    program = sqlite_module.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    program.execute(f"DELETE FROM uuid_mappings WHERE {IS_PLAIN}")
    program.close()

    assert not registry.is_allowed(PLAIN, "kv", "key")


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE events SET action = 'x'",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE revision = 2",
        (
            "REPLACE INTO events (rowid, namespace, revision, position, action, kind, subject)"
            " SELECT (SELECT min(rowid) FROM events), name, revision + 1, 0, 'x', 'capsules', 'x'"
            " FROM namespaces"
        ),
        "UPDATE OR REPLACE events SET revision = 2 WHERE revision = 3",
        (
            "INSERT INTO events SELECT namespace, 2, 99, action, kind, subject, capsule_id,"
            " old_row, new_row, changes FROM events WHERE revision = 3"
        ),
        (
            "INSERT INTO events SELECT namespace, 3.5, 0, action, kind, subject, capsule_id,"
            " old_row, new_row, changes FROM events WHERE revision = 3 LIMIT 1"
        ),
        "REPLACE INTO revisions SELECT * FROM revisions WHERE revision = 2",
        (
            "REPLACE INTO revisions SELECT namespace, (SELECT max(revision) + 1 FROM revisions),"
            " committed_at, actor, database_user, reason, request_id, event_count, previous_hash,"
            " hash FROM revisions WHERE revision = 2"
        ),
        "REPLACE INTO manifests SELECT namespace, digest, format, 'other' FROM manifests",
        "DELETE FROM events",
        "DELETE FROM manifests",
    ],
)
def test_the_history_takes_no_edit_by_any_form_of_insert(
    registry: CapsuleRegistry, url: str, edit: str
) -> None:
    """The fences refuse it, although the other program fires no triggers for replaced rows."""
    program = sqlite_module.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    with pytest.raises(sqlite_module.IntegrityError):
        program.execute(edit)
    program.close()

    assert registry.history.verify().ok


@pytest.mark.parametrize("value", [2, -1, 0.5, "'yes'", "x'01'"])
def test_a_flag_is_a_boolean_and_a_text_a_text(
    registry: CapsuleRegistry, url: str, value: object
) -> None:
    """The tables take no value of another type, and of numbers only 0 and 1."""
    registry.register(make_manifest("gamma", uplink=[TELEGRAM]))
    program = sqlite_module.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    with pytest.raises(sqlite_module.IntegrityError):
        program.execute(f"UPDATE uplinks SET can_send = {value}")
    with pytest.raises(sqlite_module.IntegrityError):
        program.execute("UPDATE uuid_mappings SET namespace = CAST('default' AS BLOB)")
    program.close()
