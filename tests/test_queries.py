"""Every query of the library has its index: none scans a table that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import event

from factories import CLI, TELEGRAM, make_manifest, make_uplink
from test_history import make_history

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from capsule_registry import CapsuleRegistry


class Plans:
    """Collects what SQLite says of how it runs each statement."""

    def __init__(self, engine: Engine) -> None:
        self.statements: dict[str, list[str]] = {}
        event.listen(engine, "before_cursor_execute", self._collect)

    def _collect(
        self, conn: object, cursor: Any, statement: str, parameters: object, *_: object
    ) -> None:
        verb = statement.split(maxsplit=1)[0]
        if statement in self.statements or verb not in ("SELECT", "UPDATE", "DELETE"):
            return
        if isinstance(parameters, list):
            parameters = parameters[0]
        raw = cursor.connection.cursor()
        raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        self.statements[statement] = [row[3] for row in raw.fetchall()]

    def scans(self) -> Iterator[tuple[str, str]]:
        for statement, steps in self.statements.items():
            for step in steps:
                if step.startswith("SCAN") and not step.startswith("SCAN schema_versions"):
                    yield step, statement


def use_every_verb(registry: CapsuleRegistry) -> None:
    make_history(registry)
    one, uplink = uuid4(), make_uplink()
    registry.register(
        make_manifest(
            "full",
            uplink=[TELEGRAM, CLI],
            tool=[{"name": "t", "description": "", "input_schema": {}}],
            capabilities={"net": ["*"]},
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
    registry.unregister_capsule_uplinks("full")
    registry.unregister_uuid(one)
    registry.unregister("full")
    registry.drain()


def test_no_query_scans_a_table_that_grows(registry: CapsuleRegistry) -> None:
    """Each statement finds its rows through an index, whatever the number of rows."""
    plans = Plans(registry._database.engine)
    use_every_verb(registry)

    assert 25 < len(plans.statements)
    assert [] == [*plans.scans()]


def test_the_plans_would_show_a_scan(registry: CapsuleRegistry) -> None:
    """The control: a query without an index is seen as a scan."""
    plans = Plans(registry._database.engine)
    with registry._database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT id FROM uplinks WHERE name = 'x'").all()

    assert 1 == len([*plans.scans()])
