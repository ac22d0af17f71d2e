"""The step to schema version 0003: what is registered by then is searchable after it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.config import Config

from backends import shape
from capsule_registry import CapsuleManifest, CapsuleRegistry
from capsule_registry.database.database import Database
from capsule_registry.entities import derived_rows as projections
from capsule_registry.models import limits as storable
from capsule_registry.models import new_capsule as candidates
from capsule_registry.schema import version as schema
from capsule_registry.schema.tables import grants, tools
from capsule_registry.schema.upgrade import migrating
from capsule_registry.schema.version import SCHEMA_VERSION, migrations_directory
from factories import CLI, TELEGRAM, make_manifest, make_text, make_uplink
from processes import Child
from test_upgrades import killed_at, upgrade_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backends import Backend

# Python warns of a fork where there are threads.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FILLED = ("interceptors", "provisions", "requirements")
EXTRA = """
[dependencies]
requires = ["topic:a.*", "tool:x"]
[[interceptor]]
event = "a.*"
action = "ü\\u202e"
[[llm_provider]]
id = "m.1"
description = "d"
[unknown]
key = 1.0
"""


@pytest.fixture
def old_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the library of schema version 0002: it knows neither the new tables nor bounds."""
    monkeypatch.setattr(schema, "OLDEST_SUPPORTED", "0002")
    monkeypatch.setattr(projections, "PROJECTIONS", (tools, grants))
    long = storable.too_long

    def no_new_bounds(what: str, text: str, longest: int) -> Iterator[tuple[str, str]]:
        if what not in ("event of an interceptor", "capability"):
            yield from long(what, text, longest)

    monkeypatch.setattr(candidates, "too_long", no_new_bounds)


@pytest.fixture
def old_url(backend: Backend) -> str:
    """The URL of a database with schema version 0002, and nothing in it."""
    url = backend.empty_url()
    upgrade_to("0002", url, migrations_directory())
    return url


def write_old(url: str, *manifests: CapsuleManifest) -> None:
    """Register *manifests* and other things, as the library of before did."""
    with CapsuleRegistry.open(url, migrate=False) as registry:
        registry.register_uplink("reserved", make_uplink())
        for manifest in manifests:
            registry.register(manifest)
    with CapsuleRegistry.open(url, namespace="other", migrate=False) as registry:
        registry.register(make_manifest("alpha", dependencies={"provides": ["tool:other"]}))


def ordinary() -> list[CapsuleManifest]:
    table = [{"event": each, "action": each} for each in ("b", "a", "b")]
    return [
        CapsuleManifest.parse(make_text("alpha", EXTRA)),
        make_manifest("beta", interceptor=table, uplink=[TELEGRAM, CLI]),
        make_manifest("gamma", dependencies={"provides": ["topic:a.b", "topic:a.b"]}),
        make_manifest("delta", capabilities={"uplink": True, "ipc_publish": ["a.b", "c.*"]}),
        make_manifest("empty"),
    ]


def rows(backend: Backend, url: str) -> dict[str, list[dict[str, Any]]]:
    return {name: backend.table(url, name) for name in FILLED}


def as_registered_now(backend: Backend, *manifests: CapsuleManifest) -> dict[str, Any]:
    """Return the rows that the same manifests make when they are registered by this library."""
    url = backend.new_url()
    with CapsuleRegistry.open(url) as registry:
        registry.register_many(manifests)
    with CapsuleRegistry.open(url, namespace="other") as registry:
        registry.register(make_manifest("alpha", dependencies={"provides": ["tool:other"]}))
    return rows(backend, url)


def assert_verified(url: str) -> None:
    for namespace in ("default", "other"):
        with CapsuleRegistry.open(url, namespace=namespace, migrate=False) as registry:
            assert () == registry.history.verify().discrepancies


def test_the_new_tables_are_filled_from_what_is_registered(
    backend: Backend, old_url: str, old_library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each namespace the rows that registering makes, and all of it verifies."""
    write_old(old_url, *ordinary())
    monkeypatch.undo()

    upgrade_to(SCHEMA_VERSION, old_url, migrations_directory())

    expected = as_registered_now(backend, *ordinary())
    assert expected == rows(backend, old_url)
    assert all(expected.values())
    assert_verified(old_url)
    assert shape(backend.new_url()) == shape(old_url)


def test_a_row_that_is_missing_would_be_seen(
    backend: Backend, old_url: str, old_library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: had the step left out one row, verifying would say which."""
    write_old(old_url, *ordinary())
    monkeypatch.undo()
    upgrade_to(SCHEMA_VERSION, old_url, migrations_directory())
    backend.rows(old_url, "DELETE FROM interceptors WHERE capsule_id = 'alpha'")

    with CapsuleRegistry.open(old_url, migrate=False) as registry:
        [found] = registry.history.verify().discrepancies
    assert found.where.startswith("interceptors ")


def downgrade_to(version: str, url: str) -> None:
    config, database = Config(), Database.open(url)
    config.set_main_option("script_location", str(migrations_directory()))
    with migrating(database) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, version)
    database.close()


def test_what_was_derived_before_is_derived_anew(
    backend: Backend, old_url: str, old_library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down and up again, whatever was changed in between."""
    write_old(old_url, *ordinary())
    upgrade_to(SCHEMA_VERSION, old_url, migrations_directory())
    backend.rows(old_url, "UPDATE provisions SET capability = 'tool:x', kind = 'tool'")
    downgrade_to("0002", old_url)
    monkeypatch.undo()
    upgrade_to(SCHEMA_VERSION, old_url, migrations_directory())

    assert as_registered_now(backend, *ordinary()) == rows(backend, old_url)


def test_a_step_that_is_killed_anywhere_is_taken_up_again(
    backend: Backend, old_library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before whichever statement it was killed, the next upgrade fills the tables and verifies."""
    if backend.waits_after_a_kill:
        pytest.skip("each upgrade would wait 20 s for the lock of the one before")
    url = backend.empty_url()
    upgrade_to("0002", url, migrations_directory())
    write_old(url, *ordinary())
    monkeypatch.undo()
    number = killed = 0
    while True:
        number += 5
        if killed_at(url, number) != -signal.SIGKILL:
            break
        killed += 1

    assert killed > 3
    assert as_registered_now(backend, *ordinary()) == rows(backend, url)
    assert_verified(url)
    assert shape(backend.new_url()) == shape(url)


LONG = "x" * 600
LONG_MANIFESTS: dict[str, CapsuleManifest] = {
    "event": make_manifest(interceptor=[{"event": LONG, "action": "a"}]),
    "requirement": make_manifest(dependencies={"requires": [f"tool:{LONG}"]}),
    "provision": make_manifest(dependencies={"provides": [f"tool:{LONG}"]}),
    "model": make_manifest(llm_provider=[{"id": LONG, "description": ""}]),
    "topic": make_manifest(capabilities={"ipc_publish": ["x" * 510]}),
}


@pytest.mark.parametrize("what", LONG_MANIFESTS)
def test_what_could_be_registered_before_can_be_upgraded(
    backend: Backend, old_url: str, old_library: None, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Texts that the version before had no bound for stop no upgrade, on any database."""
    write_old(old_url, LONG_MANIFESTS[what])
    monkeypatch.undo()

    upgrade_to(SCHEMA_VERSION, old_url, migrations_directory())

    assert_verified(old_url)


def test_a_grant_as_long_as_allowed_is_registered(registry: CapsuleRegistry) -> None:
    """A topic of 512 characters is no longer one as what it offers."""
    registry.register(make_manifest(capabilities={"ipc_publish": ["x" * 512]}))

    assert 1 == len(registry.grants(value="x" * 512))


def test_a_unit_of_before_that_is_open_meanwhile_leaves_no_gap(
    backend: Backend, old_url: str, old_library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that looked at the schema before the step and registers after it is not left out."""

    def is_upgraded() -> bool:
        query = "SELECT count(*) FROM schema_versions WHERE version = '0003'"
        return [(1,)] == backend.rows(old_url, query)

    def write(say: Callable[[str], None]) -> None:
        with (
            CapsuleRegistry.open(old_url, migrate=False) as registry,
            registry.transaction() as transaction,
        ):
            say("holding")
            # Either the step waits for this unit, and the child goes on; or it does not.
            for _ in range(20):
                if is_upgraded():
                    break
                signal.sigtimedwait([], 0.1)
            transaction.register(make_manifest(dependencies={"requires": ["tool:x"]}))

    if not backend.is_server:
        pytest.skip("a step on SQLite waits for every other writer")
    write_old(old_url)
    child = Child(write)
    child.readline()
    monkeypatch.undo()
    upgrade_to(SCHEMA_VERSION, old_url, migrations_directory())
    child.end()

    assert_verified(old_url)
