"""What plain SQL reads otherwise than the library: verification compares how values are stored."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import CapsuleRegistry, RegistryAdmin, sqlite_module
from support.factories import CLI, TELEGRAM, make_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import Backend, SqliteBackend

MANIFEST = make_manifest(
    "full",
    uplink=[TELEGRAM, CLI],
    tool=[{"name": "t", "description": "d", "input_schema": {"type": "object"}}],
    capabilities={"net": ["a"], "uplink": True},
)
TWICE = 'REPLACE({}, \'{{"\', \'{{"name":"evil","\')'

#: An event that is of no revision.
BETWEEN = (
    "INSERT INTO events (namespace, revision, position, action, kind, subject)"
    " SELECT namespace, 2.5, 0, action, kind, subject FROM events WHERE revision = 2 LIMIT 1"
)
#: Edits of a file whose types somebody undid, and the table that the report names.
IN_FILES = [
    *((f"UPDATE uplinks SET can_send = {value}", "uplinks") for value in ("2", "-1", "0.5")),
    ("UPDATE uplinks SET can_send = x'01'", "uplinks"),
    ("UPDATE uplinks SET declared = 'yes'", "uplinks"),
    ("UPDATE capsules SET version = CAST(version AS BLOB)", "capsules"),
    ("UPDATE grants SET value = CAST(value AS BLOB)", "grants"),
    ("UPDATE grants SET namespace = CAST(namespace AS BLOB)", "grants"),
    ("UPDATE uuid_mappings SET namespace = CAST(namespace AS BLOB)", "uuid_mappings"),
    ("UPDATE manifests SET text = CAST(text AS BLOB)", "manifests"),
    (BETWEEN, "events"),
    ("UPDATE leases SET boot_id = NULL", "leases"),
    ("UPDATE leases SET expires_uptime_ms = expires_uptime_ms + 86400000", "leases"),
]
#: Edits of any database.
EVERYWHERE = [
    ("UPDATE capsules SET created_revision = 0", "capsules"),
    ("UPDATE grants SET generation = generation + 1", "grants"),
]
#: Edits of JSON where it is kept as a text.
OF_TEXTS = [
    (f"UPDATE capsules SET manifest = {TWICE.format('manifest')}", "capsules"),
    ('UPDATE uplinks SET metadata = \'{"a":1,"a":1}\'', "uplinks"),
    (f"UPDATE tools SET input_schema = {TWICE.format('input_schema')}", "tools"),
]


@pytest.fixture
def filled(url: str) -> Iterator[CapsuleRegistry]:
    """A registry with something in every table, whose history is well."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(MANIFEST, uuids=[uuid4()])
        registry.leases.open("worker", timedelta(hours=1), renew=False)
        assert registry.history.verify().ok
        yield registry


def places(registry: CapsuleRegistry) -> set[str]:
    return {found.where.partition(" ")[0] for found in registry.history.verify().discrepancies}


@pytest.mark.parametrize(("edit", "where"), IN_FILES)
def test_a_value_of_another_type_shows(
    sqlite: SqliteBackend, filled: CapsuleRegistry, url: str, edit: str, where: str
) -> None:
    """Each column is compared by type and bytes, however it would be read."""
    file = url.removeprefix("sqlite:///")
    with sqlite.unfenced(url), closing(sqlite_module.connect(file)) as program, program:
        program.execute("PRAGMA ignore_check_constraints = 1")
        program.execute(edit)

    assert where in places(filled)


@pytest.mark.parametrize(("edit", "where"), EVERYWHERE)
def test_what_decides_which_rows_count_shows(
    backend: Backend, filled: CapsuleRegistry, url: str, edit: str, where: str
) -> None:
    """The columns by which a UUID and a grant count are held against the history."""
    backend.tamper(url, edit)

    assert where in places(filled)


@pytest.mark.parametrize("revision", [0, 3])
def test_a_capsule_keeps_its_age_through_prunings(
    backend: Backend, registry: CapsuleRegistry, url: str, revision: int
) -> None:
    """The event that made its row is kept: a later one would make its UUIDs another's."""
    registry.register(MANIFEST, uuids=[uuid4()])
    for state in ("failed", "ready"):
        registry.set_state("full", state)
        registry.history.prune(registry.history.anchor())
        assert registry.history.verify().ok
    backend.tamper(url, f"UPDATE capsules SET created_revision = {revision}")

    assert {"capsules"} == places(registry)


@pytest.mark.parametrize(("edit", "where"), OF_TEXTS)
def test_json_that_says_two_things_shows(
    backend: Backend, filled: CapsuleRegistry, url: str, edit: str, where: str
) -> None:
    """A key that is there twice says one thing to SQL and another to the library."""
    if backend.name == "postgresql":
        edit = edit.replace("REPLACE(manifest", "REPLACE(manifest::text").replace(
            "REPLACE(input_schema", "REPLACE(input_schema::text"
        )
        edit = edit.replace("')", "')::json") if "REPLACE" in edit else edit
    backend.tamper(url, edit)

    assert where in places(filled)


def test_what_was_not_looked_at_is_named(filled: CapsuleRegistry, url: str) -> None:
    """A verification is of one namespace, and says which others there are."""
    with RegistryAdmin.open(url) as admin:
        admin.create_namespace("other")

    assert ("other",) == filled.history.verify().others


def test_rows_of_a_namespace_that_is_not_there_show(
    sqlite: SqliteBackend, filled: CapsuleRegistry, url: str
) -> None:
    """Whoever verifies any namespace is told of rows that belong to none."""
    with closing(sqlite_module.connect(url.removeprefix("sqlite:///"))) as program, program:
        program.execute("INSERT INTO provisions VALUES ('nowhere', 'ghost', 0, 'topic', 'topic:x')")

    assert {"provisions"} == places(filled)
