"""Every query uses an index: none scans a table that grows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from sqlalchemy import event

from capsule_registry import CapsuleId, CapsuleManifest, SoleProviderError
from support.factories import CLI, TELEGRAM, make_manifest, make_text, make_uplink
from support.histories import make_history
from support.statements import watch_statements

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

    from sqlalchemy import Engine

    from capsule_registry import CapsuleRegistry, RegistryReader


pytestmark = pytest.mark.usefixtures("sqlite")

MODERN = """
[[component]]
file = "m.wasm"
hash = "blake3:m"
[subscribe]
"modern.v1.*" = "opaque"
[exports]
"n:y" = "1.0.0"
[[command]]
name = "verb"
kind = "cli"
"""
#: Tables that do not grow with the number of capsules.
ONE_ROW = ("schema_versions", "capsule_registry_version", "namespaces")


class Plans:
    """Collects SQLite's query plan of each statement."""

    def __init__(self, engine: Engine) -> None:
        self.statements: dict[str, list[str]] = {}
        watch_statements(engine, self._collect)

    def _collect(self, cursor: Any, statement: str, parameters: Any) -> None:
        verb = statement.split(maxsplit=1)[0]
        if statement in self.statements or verb not in ("SELECT", "UPDATE", "DELETE"):
            return
        if parameters and isinstance(parameters[0], (list, tuple)):
            parameters = parameters[0]
        raw = cursor.connection.cursor()
        raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        self.statements[statement] = [row[3] for row in raw.fetchall()]

    def walks(self) -> Iterator[tuple[str, str]]:
        """Yield the steps that visit more rows than asked for, with their statements."""
        for statement, steps in self.statements.items():
            asks_for_some = statement.count("?") > 1
            for step in steps:
                if "NOT (EXISTS" in statement and "namespaces.name = " in statement:
                    continue  # What belongs to no namespace is found by looking at everything.
                if step == "SCAN sqlite_master":
                    continue  # It grows with the schema alone.
                if step == "SCAN CONSTANT ROW" or any(f" {table}" in step for table in ONE_ROW):
                    continue
                only_namespace = step.endswith("(namespace=?)")
                if step.startswith("SCAN") or (asks_for_some and only_namespace):
                    yield step, statement


def look_back(registry: CapsuleRegistry, one: UUID) -> None:
    history = registry.history
    now = datetime.now(UTC)
    for conditions in (
        {},
        {"capsule_id": "full"},
        {"capsule_id": "full", "action": "uuid.registered"},
        {"action": "uuid.registered", "after": 3},
        {"actor": "tester", "since": now, "until": now},
    ):
        history.list(**conditions)
    [*history.watch(after=0, timeout=timedelta(0))]
    [*history.export()]
    assert history.verify().ok
    for past in (registry.at(revision=history.revision), registry.at(time=now)):
        past.get("full")
        past.find_by_uuid(one)
        past.uuids("full")
        past.find_uplinks(capsule_id="full")
        past.tools("full")
        past.list()
        len(past)
        ask_who(past)
    history.prune(history.anchor())


def ask_who(reader: RegistryReader) -> None:
    """Ask for grants, interceptors and dependencies; `full`, if registered, is an answer."""
    count = int("full" in reader)
    for conditions in (
        {},
        {"capability": "net"},
        {"capability": "net", "value": "example.org"},
        {"capsule_id": "full"},
        {"capability": "net", "capsule_id": "full"},
    ):
        assert count == len(reader.grants(**conditions))
    for topic in ("a.b", "a", ".".join("abcdefghi")):
        assert count == len(reader.interceptors(topic))
        assert count == len(reader.routes.called(topic))
        reader.routes.publishers(topic)
        reader.routes.subscribers(topic)
    assert count == len(reader.providers("topic:a.*"))
    assert count == len(reader.dependencies())
    assert count == reader.boot_order().order.count(CapsuleId("full"))
    ask_what_is_declared(reader)


def ask_what_is_declared(reader: RegistryReader) -> None:
    """Ask for routes, commands, interfaces and artifacts; `modern`, if registered, has each."""
    count = int("modern" in reader)
    assert count == len(reader.routes.list("modern"))
    assert count == len(reader.commands())
    assert bool(count) == (reader.find_command("verb") is not None)
    assert count == len(reader.exports()) == len(reader.providers("n:y", version="^1"))
    assert count == len(reader.find_artifact("blake3:m"))
    reader.routes.list()
    reader.routes.unheard()
    reader.routes.unsaid()
    reader.unmet()
    if count:
        reader.tool_catalogue("modern")


def change_generations(registry: CapsuleRegistry) -> None:
    """Replace, roll back, compare and report, each by its own way."""
    modern = CapsuleManifest.parse(make_text("modern", MODERN))
    old = registry.register(modern)
    ask_what_is_declared(registry)
    later = CapsuleManifest.parse(make_text("modern", MODERN + "# later"))
    registry.replace(later, same_artifacts=True, expected_generation=old.generation)
    registry.replace(later, if_same=True)
    registry.report_tools("modern", [{"name": "t", "description": "", "input_schema": {}}])
    registry.rollback("modern")
    registry.compare(old.generation, modern, capsule_id="modern")
    ask_what_is_declared(registry)
    registry.register(CapsuleManifest.parse(make_text("needing", '[imports]\n"n:y" = "^1"')))
    with pytest.raises(SoleProviderError):
        registry.unregister("modern")
    registry.unregister("needing")
    registry.unregister("modern")


def carry_and_synchronize(registry: CapsuleRegistry, directory: Path) -> None:
    """Export, import, and sync with a directory."""
    with registry.snapshot() as snapshot:
        ask_who(snapshot)
        [*snapshot.export_lines()]
    lines = [*registry.export_lines()]
    registry.drain()
    (directory / "Capsule.toml").write_text(make_text("lying", "# one"))
    for prune in (False, True):
        registry.sync(directory, prune=prune, dry_run=True)
        registry.sync(directory, prune=prune)
        (directory / "Capsule.toml").write_text(make_text("lying", "# two"))
    registry.unregister("lying")
    registry.import_lines(lines)
    registry.register_many([make_manifest("many"), make_manifest("more")])


def use_every_verb(registry: CapsuleRegistry, directory: Path) -> None:
    make_history(registry)
    one, uplink = uuid4(), make_uplink()
    registry.register(
        make_manifest(
            "full",
            uplink=[TELEGRAM, CLI],
            tool=[{"name": "t", "description": "", "input_schema": {}}],
            capabilities={"net": ["*"]},
            dependencies={"requires": ["tool:t"], "provides": ["topic:a.b"]},
            interceptor=[
                {"event": event, "action": "act"} for event in ("a.*", "a", ".".join("*bcdefghi"))
            ],
        ),
        uuids=[one],
    )
    registry.register_uplink("full", uplink)
    registry.get("full")
    registry.list()
    [*registry.values()]
    len(registry)
    repr(registry)
    assert "full" in registry
    registry.find_by_uuid(one)
    registry.uuids()
    registry.uuids("full")
    registry.get_uplink(uplink.id)
    registry.find_uplink_by_platform("cli")
    registry.find_uplinks_with_capability(lambda able: able.can_send)
    for conditions in (
        {"platform": "cli"},
        {"profile": "chat"},
        {"capsule_id": "full"},
        {"can_send": True},
        {"platform": "cli", "profile": "chat", "capsule_id": "full", "can_send": False},
        {},
    ):
        registry.find_uplinks(**conditions)
    registry.all_uplink_descriptors()
    registry.tools()
    registry.tools("full")
    registry.find_tool("t")
    ask_who(registry)
    look_back(registry, one)
    change_generations(registry)
    carry_and_synchronize(registry, directory)
    registry.unregister_capsule_uplinks("full")
    registry.unregister_uuid(one)
    registry.unregister("full")
    registry.drain()


def test_no_query_scans_a_table_that_grows(registry: CapsuleRegistry, tmp_path: Path) -> None:
    """Each statement finds exactly its rows through an index."""
    plans = Plans(registry._database.engine)
    use_every_verb(registry, tmp_path)

    assert 25 < len(plans.statements)
    assert [] == [*plans.walks()]


def test_the_plans_would_show_a_scan(registry: CapsuleRegistry) -> None:
    """The control: a query without an index is seen as a scan."""
    plans = Plans(registry._database.engine)
    with registry._database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT id FROM uplinks WHERE name = 'x'").all()

        connection.exec_driver_sql(
            "SELECT id FROM uplinks WHERE namespace = ? AND name = ?", ("default", "x")
        ).all()

    assert 2 == len([*plans.walks()])


def steps_to_unregister(registry: CapsuleRegistry, bystanders: int) -> int:
    """Return how many hundred VM steps SQLite takes to unregister one of many capsules."""
    with registry.transaction() as transaction:
        for _ in range(bystanders):
            transaction.register_uuid(uuid4(), "bystander")
            transaction.register_uplink("bystander", make_uplink())
    registry.register(make_manifest("leaving", uplink=[TELEGRAM]), uuids=[uuid4()])
    hundreds: list[None] = []
    database = registry._database
    with database.connected(database.engine) as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: hundreds.append(None), 100)
    registry.unregister("leaving")
    driver.set_progress_handler(None, 0)
    return len(hundreds)


def test_unregistering_does_not_look_at_other_capsules(registry: CapsuleRegistry) -> None:
    """The cascade uses indexes too: a thousand bystanders cost next to nothing."""
    few = steps_to_unregister(registry, 10)
    many = steps_to_unregister(registry, 1000)

    assert 0 < few
    assert many < 2 * few


@pytest.mark.parametrize(("count", "expected"), [(0, 11), (1, 12), (3, 12)])
def test_uuids_of_a_registration_are_one_statement(
    registry: CapsuleRegistry, count: int, expected: int
) -> None:
    """A registration takes as many statements with three UUIDs as with one."""
    registry.register(make_manifest("first"), uuids=[uuid4()])
    statements: list[str] = []
    watch_statements(
        registry._database.engine, lambda _, statement, __: statements.append(statement)
    )
    registry.register(make_manifest(uplink=[TELEGRAM]), uuids=[uuid4() for _ in range(count)])

    assert expected == len(statements), statements


def test_uuids_of_a_replacement_are_one_statement(registry: CapsuleRegistry) -> None:
    """A replacement takes as many statements with three UUIDs as with one."""
    counts = []
    registry.register(make_manifest(uplink=[TELEGRAM]))
    registry.replace(make_manifest(uplink=[TELEGRAM]), uuids=[uuid4()])
    statements: list[str] = []
    watch_statements(
        registry._database.engine, lambda _, statement, __: statements.append(statement)
    )
    for count in (1, 3):
        registry.replace(make_manifest(uplink=[TELEGRAM]), uuids=[uuid4() for _ in range(count)])
        counts.append(len(statements))
        statements.clear()

    assert counts[0] == counts[1] > 0


def test_the_summaries_of_a_state_are_found_by_its_index_and_validate_no_manifest(
    registry: CapsuleRegistry,
) -> None:
    """What the command lists is read from columns, by the index of states."""
    registry.register(make_manifest("alpha"))
    registry.register(make_manifest("beta"))
    registry.set_state("beta", "failed", reason="a test")
    plans = Plans(registry._database.engine)
    found = [*registry.summaries(state="failed")]

    assert [("beta", "failed")] == [(one.id, one.state) for one in found]
    [(statement, steps)] = [
        (statement, steps)
        for statement, steps in plans.statements.items()
        if "capsules" in statement
    ]
    assert "manifest" not in statement.partition("FROM")[0].replace("manifest_digest", "")
    assert any("ix_capsules_state" in step for step in steps), steps


def test_no_statement_is_compiled_again_each_time(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """Every statement has a cache key, under which its compiled form is found."""
    without_key: set[str] = set()
    with_key: set[str] = set()

    def look(conn: object, cursor: object, statement: str, found: object, *more: Any) -> None:
        context = more[0]
        if context.compiled is not None:
            keyless = context.cache_hit.name == "NO_CACHE_KEY"
            (without_key if keyless else with_key).add(statement)

    event.listen(registry._database.engine, "before_cursor_execute", look)
    use_every_verb(registry, tmp_path)

    assert 20 < len(with_key)
    assert set() == without_key
