"""Verification of the schema: tables, views and triggers are those that the migrations make."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import pytest
import sqlalchemy as sa

from capsule_registry import CapsuleRegistry, RegistryAdmin, sqlite_module
from capsule_registry.database.dialects.postgresql_catalog import CATALOG
from support.factories import TELEGRAM, make_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from support.backends import Backend, ServerBackend, SqliteBackend

CONSTANT = """
    revisions.namespace, revisions.revision, events.position, revisions.committed_at,
    'nobody' AS actor, revisions.database_user, revisions.reason, events.action, events.kind,
    events.subject, events.capsule_id, events.old_row, events.new_row
    FROM revisions JOIN events ON events.namespace = revisions.namespace
        AND events.revision = revisions.revision"""
#: By database: statements that change the schema, and what is then said of it.
DRIFT: dict[str, list[tuple[str, str]]] = {
    "sqlite": [
        ("DROP VIEW audit_log", ""),
        (f"CREATE VIEW audit_log AS SELECT {CONSTANT}", "view audit_log"),
        ("DROP VIEW tool_index", "view tool_index"),
        ("DROP TRIGGER events_kept", "trigger events_kept"),
        ("DROP TRIGGER events_unchanged", ""),
        (
            "CREATE TRIGGER events_unchanged BEFORE UPDATE ON events BEGIN SELECT 1; END",
            "trigger events_unchanged",
        ),
        (
            "CREATE TRIGGER spy AFTER INSERT ON revisions BEGIN SELECT 1; END",
            "trigger spy",
        ),
        ("DROP INDEX ix_events_subject", "index ix_events_subject"),
        ("CREATE UNIQUE INDEX one_actor ON leases (actor)", "index one_actor"),
        ("ALTER TABLE tools ADD COLUMN hidden TEXT", "table tools"),
        ("DELETE FROM schema_versions WHERE version = 'v0001'", "schema_versions v0001"),
    ],
    "postgresql": [
        ("DROP VIEW audit_log", ""),
        (f"CREATE VIEW audit_log AS SELECT {CONSTANT}", "view audit_log"),
        ("DROP VIEW tool_index", "view tool_index"),
        ("DROP TRIGGER events_kept ON events", "trigger events_kept"),
        ("ALTER TABLE events DISABLE TRIGGER events_unchanged", "trigger events_unchanged"),
        ("DROP TRIGGER revisions_kept ON revisions", ""),
        (
            (
                "CREATE TRIGGER revisions_kept AFTER DELETE ON revisions FOR EACH ROW"
                " EXECUTE FUNCTION capsule_registry_fence()"
            ),
            "trigger revisions_kept",
        ),
        (
            (
                "CREATE TRIGGER spy AFTER INSERT ON revisions FOR EACH ROW"
                " EXECUTE FUNCTION capsule_registry_fence()"
            ),
            "trigger spy",
        ),
        ("DROP INDEX ix_events_subject", "table events, index ix_events_subject"),
        ("CREATE UNIQUE INDEX one_actor ON leases (actor)", "table leases, unique one_actor"),
        ("ALTER TABLE tools ADD COLUMN hidden TEXT", "table tools, column hidden"),
        ("ALTER TABLE tools ALTER COLUMN name DROP NOT NULL", "table tools, column name"),
        ("ALTER TABLE leases ALTER COLUMN host TYPE TEXT", "table leases, column host"),
        ("ALTER TABLE leases ALTER COLUMN pid SET DEFAULT 7", "table leases, column pid"),
        (
            "ALTER TABLE uuid_mappings DROP CONSTRAINT fk_uuid_mappings_capsules",
            "table uuid_mappings, foreign key fk_uuid_mappings_capsules",
        ),
        ("ALTER TABLE uplinks DROP CONSTRAINT fk_uplinks_capsules", ""),
        (
            (
                "ALTER TABLE uplinks ADD CONSTRAINT fk_uplinks_capsules FOREIGN KEY"
                " (namespace, capsule_id) REFERENCES capsules (namespace, id)"
            ),
            "table uplinks, foreign key fk_uplinks_capsules",
        ),
        (
            "ALTER TABLE revisions DROP CONSTRAINT uq_revisions_request_id",
            "table revisions, unique uq_revisions_request_id",
        ),
        ("ALTER TABLE manifests DROP CONSTRAINT ck_manifests_format_known", ""),
        (
            (
                "ALTER TABLE manifests ADD CONSTRAINT ck_manifests_format_known"
                " CHECK (format IN ('toml', 'json', 'yaml'))"
            ),
            "table manifests, check ck_manifests_format_known",
        ),
        (
            "ALTER TABLE interceptors DROP CONSTRAINT pk_interceptors",
            "table interceptors, primary key",
        ),
        ("ALTER TABLE capsules ENABLE ROW LEVEL SECURITY", "table capsules"),
        ("ALTER TABLE requirements DISABLE TRIGGER ALL", "table requirements"),
        ("CREATE RULE quiet AS ON DELETE TO grants DO INSTEAD NOTHING", "table grants"),
        ("CREATE TABLE more_provisions () INHERITS (provisions)", "table provisions"),
        ("ALTER TABLE tools SET UNLOGGED", "table tools"),
    ],
    "mariadb": [
        (
            f"CREATE OR REPLACE SQL SECURITY INVOKER VIEW audit_log AS SELECT {CONSTANT}",
            "view audit_log",
        ),
        ("DROP VIEW tool_index", "view tool_index"),
        (
            (
                "CREATE OR REPLACE VIEW capability_grants AS"
                " SELECT grants.namespace, grants.capability, grants.value, grants.capsule_id,"
                " capsules.version, capsules.state, capsules.generation, grants.matching,"
                " grants.place, grants.read_by FROM grants"
                " JOIN capsules ON capsules.namespace = grants.namespace"
                " AND capsules.id = grants.capsule_id AND capsules.generation = grants.generation"
                " WHERE grants.counts"
            ),
            "view capability_grants",
        ),
        ("DROP TRIGGER events_kept", "trigger events_kept"),
        (
            (
                "CREATE OR REPLACE TRIGGER events_unchanged BEFORE UPDATE ON events FOR EACH ROW"
                " SET @seen = 1"
            ),
            "trigger events_unchanged",
        ),
        (
            "CREATE TRIGGER spy AFTER INSERT ON revisions FOR EACH ROW SET @seen = 1",
            "trigger spy",
        ),
        ("DROP INDEX ix_events_subject ON events", "table events, index ix_events_subject"),
        ("CREATE UNIQUE INDEX one_actor ON leases (actor)", "table leases, unique one_actor"),
        ("ALTER TABLE tools ADD COLUMN hidden TEXT", "table tools, column hidden"),
        ("ALTER TABLE provisions MODIFY kind VARCHAR(99)", "table provisions, column kind"),
        ("ALTER TABLE leases MODIFY host VARCHAR(255) NOT NULL", "table leases, column host"),
        (
            "ALTER TABLE uuid_mappings DROP FOREIGN KEY fk_uuid_mappings_capsules",
            "table uuid_mappings, foreign key fk_uuid_mappings_capsules",
        ),
        ("ALTER TABLE uplinks DROP FOREIGN KEY fk_uplinks_capsules", ""),
        (
            (
                "ALTER TABLE uplinks ADD CONSTRAINT fk_uplinks_capsules FOREIGN KEY"
                " (namespace, capsule_id) REFERENCES capsules (namespace, id)"
            ),
            "table uplinks, foreign key fk_uplinks_capsules",
        ),
        (
            "ALTER TABLE revisions DROP INDEX uq_revisions_request_id",
            "table revisions, unique uq_revisions_request_id",
        ),
        ("ALTER TABLE manifests DROP CONSTRAINT ck_manifests_format_known", ""),
        (
            (
                "ALTER TABLE manifests ADD CONSTRAINT ck_manifests_format_known"
                " CHECK (format IN ('toml', 'json', 'yaml'))"
            ),
            "table manifests, check ck_manifests_format_known",
        ),
        (
            "ALTER TABLE tools MODIFY input_schema LONGTEXT COLLATE utf8mb4_bin NOT NULL",
            "table tools, column input_schema",
        ),
        ("ALTER TABLE schema_versions ENGINE = Aria", "table schema_versions"),
    ],
}

#: By server: what the stored query of a view is.
VIEW_QUERY = {
    "postgresql": "SELECT pg_get_viewdef('capsule_history'::regclass)",
    "mariadb": "SELECT view_definition FROM information_schema.views"
    " WHERE table_schema = DATABASE() AND table_name = 'capsule_history'",
}
#: Statements by which other programs keep objects of their own beside the registry's.
HOSTS = (
    "CREATE TABLE hosts (id INTEGER, capsule_id VARCHAR(128))",
    "CREATE VIEW hosts_capsules AS SELECT id FROM capsules",
    "CREATE INDEX hosts_index ON capsules (generation)",
    "CREATE UNIQUE INDEX hosts_key ON hosts (id)",
)


@pytest.fixture
def made(backend: Backend) -> str:
    """The URL of a database whose schema this test may change."""
    url = backend.empty_url()
    with CapsuleRegistry.open(url, migrate=True) as registry:
        registry.register(make_manifest(uplink=[TELEGRAM]), uuids=[uuid4()])
        assert ((), True) == (registry.history.verify().not_compared, registry.history.verify().ok)
    return url


@pytest.fixture
def registry(made: str) -> Iterator[CapsuleRegistry]:
    """A registry that only reads, as an auditor's does."""
    with CapsuleRegistry.open(made, read_only=True) as opened:
        yield opened


def places(registry: CapsuleRegistry) -> list[str]:
    return sorted(found.where for found in registry.history.verify().discrepancies)


def test_whatever_was_changed_is_found(
    backend: Backend, made: str, registry: CapsuleRegistry
) -> None:
    """Each object that differs is named, and nothing else."""
    for statement, _ in DRIFT[backend.name]:
        backend.rows(made, statement)

    assert sorted(where for _, where in DRIFT[backend.name] if where) == places(registry)


def test_objects_of_others_are_left_alone(
    backend: Backend, made: str, registry: CapsuleRegistry
) -> None:
    """Tables, views and indexes that other programs add are no drift."""
    for statement in HOSTS:
        backend.rows(made, statement)

    assert [] == places(registry)


@pytest.mark.parametrize(
    ("edit", "version"),
    [
        (
            "UPDATE schema_versions SET oldest_compatible = 'v0002' WHERE version = 'v0001'",
            "v0001",
        ),
        (
            (
                "INSERT INTO schema_versions SELECT 'v0000', applied_at, library_version,"
                " oldest_compatible FROM schema_versions WHERE version = 'v0001'"
            ),
            "v0000",
        ),
    ],
)
def test_records_of_versions_are_compared(
    backend: Backend, made: str, registry: CapsuleRegistry, edit: str, version: str
) -> None:
    """What `schema_versions` says of each migration is what that migration records."""
    backend.rows(made, edit)

    assert [f"schema_versions {version}"] == places(registry)


def test_a_foreign_key_that_was_edited_away_is_found(
    sqlite: SqliteBackend, made: str, registry: CapsuleRegistry
) -> None:
    """A file lets anybody who may write it edit the statements that it keeps."""
    file = made.removeprefix("sqlite:///")
    with closing(sqlite_module.connect(file)) as program, program:
        program.execute("PRAGMA writable_schema = 1")
        program.execute("UPDATE sqlite_master SET sql = REPLACE(sql, ' ON DELETE CASCADE', '')")

    assert "table uuid_mappings" in places(registry)


def test_a_window_that_was_changed_is_found(
    server: ServerBackend, made: str, registry: CapsuleRegistry
) -> None:
    """Also where the plan of a query says nothing of it, since it sorts in the same order."""
    [(query,)] = server.rows(made, VIEW_QUERY[server.name])
    mark = "`" if server.name == "mariadb" else ""
    window = rf"(last_event.?\.{mark}namespace{mark}), ?(.?last_event.?\.{mark}capsule_id{mark}) "
    changed, count = re.subn(f"{window}ORDER BY", r"\1 ORDER BY \2,", query, flags=re.IGNORECASE)
    server.rows(made, f"CREATE OR REPLACE VIEW capsule_history AS {changed}")

    assert 1 == count
    assert "view capsule_history" in places(registry)


class Planned:
    """Stands in for a connection whose plans have a step that comes with many rows alone."""

    def __init__(self, key: str) -> None:
        self._key = key

    def exec_driver_sql(self, _: str) -> Planned:
        return self

    def scalars(self) -> list[str]:
        return ["Memoize", f"  Cache Key: {self._key}, step.generation"]


def test_a_cast_that_the_text_left_to_the_server_is_no_drift() -> None:
    """A stored query says it, and some steps of a plan show what was said."""
    said, left, other = (
        CATALOG.canonical(cast("Connection", Planned(key)), "SELECT 1")
        for key in ("(step.namespace)::text", "step.namespace", "step.capsule_id")
    )

    assert left == said
    assert left != other


def test_a_function_that_fences_nothing_is_found(server: ServerBackend, made: str) -> None:
    """The triggers call it by its name, whatever it does."""
    if server.name != "postgresql":
        pytest.skip("there, triggers have their own text")
    server.rows(
        made,
        "CREATE OR REPLACE FUNCTION capsule_registry_fence() RETURNS trigger"
        " AS $$ BEGIN RETURN OLD; END $$ LANGUAGE plpgsql",
    )
    with CapsuleRegistry.open(made, read_only=True) as registry:
        found = places(registry)

    assert 9 == len(found)
    assert all(where.startswith("trigger ") for where in found)


def test_what_an_auditor_may_not_see_is_named(server: ServerBackend, url: str) -> None:
    """On a server that hides triggers from who may not create any, they are not compared."""
    mine = server.as_user(url, "")
    with RegistryAdmin.open(url, read_only=True) as admin:
        for statement in admin.grants(auditors=[str(sa.make_url(mine).username)]):
            server.rows(url, statement)
    with CapsuleRegistry.open(mine, read_only=True) as registry:
        found = registry.history.verify()

    expected = {
        f"trigger {table}_{fence}: this user may not see what it does"
        for table in ("events", "manifests", "revisions")
        for fence in ("kept", "unchanged")
    }
    assert found.ok
    assert ({*expected} if server.name == "mariadb" else set()) == {*found.not_compared}
