"""Inside a program that uses Alembic for tables of its own, also in the same database."""

from __future__ import annotations

import io
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

import capsule_registry
from capsule_registry import CapsuleRegistry, RegistryAdmin
from support.backends import engine_on
from support.factories import make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from support.backends import Backend

_ENVIRONMENT = """
import sqlalchemy as sa
from alembic import context

config = context.config
moments = config.attributes["moments"]
moments["env.py, at its begin"]()
engine = sa.create_engine(config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    context.configure(connection=connection)
    moments["env.py, once it is configured"]()
    with context.begin_transaction():
        context.run_migrations()
    moments["env.py, at its end"]()
    connection.commit()
    assert context.config is config
engine.dispose()
"""
_MIGRATION = """
import sqlalchemy as sa
from alembic import context, op

revision, down_revision = "one", None


def upgrade():
    moment = context.config.attributes["moments"]["a migration"]
    op.create_table("before", sa.Column("id", sa.Integer, primary_key=True))
    moment()
    op.create_table("after", sa.Column("id", sa.Integer, primary_key=True))
"""
_MOMENTS = (
    "env.py, at its begin",
    "env.py, once it is configured",
    "a migration",
    "env.py, at its end",
)


class Host:
    """A program with migrations of its own, which does something at one moment of an upgrade."""

    def __init__(self, directory: Path) -> None:
        (directory / "versions").mkdir(parents=True)
        (directory / "env.py").write_text(_ENVIRONMENT)
        (directory / "versions" / "one.py").write_text(_MIGRATION)
        self.url = f"sqlite:///{directory}/host.db"
        self._config = Config(stdout=io.StringIO())
        self._config.set_main_option("script_location", str(directory))
        self._config.set_main_option("sqlalchemy.url", self.url)

    def upgrade(self, moment: str, act: Callable[[], object]) -> None:
        """Upgrade the host's own database, and *act* at that moment."""
        moments: dict[str, Callable[[], object]] = dict.fromkeys(_MOMENTS, lambda: None)
        self._config.attributes["moments"] = {**moments, moment: act}
        command.upgrade(self._config, "head")

    def tables(self) -> set[str]:
        """Return the names of the host's tables."""
        engine = sa.create_engine(self.url)
        try:
            return set(sa.inspect(engine).get_table_names())
        finally:
            engine.dispose()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A program with one migration that has not run yet."""
    return Host(tmp_path / "host")


def register(url: str) -> Sequence[str]:
    """Open the registry, create its schema, and register a capsule."""
    with CapsuleRegistry.open(url, migrate=True) as registry:
        registry.register(make_manifest())
        return registry.list()


@pytest.mark.parametrize("moment", _MOMENTS)
def test_a_registry_is_made_inside_a_hosts_upgrade(
    backend: Backend, host: Host, moment: str
) -> None:
    """At any moment, the registry gets its schema and the host its own tables."""
    url = backend.empty_url()
    found: list[str] = []
    host.upgrade(moment, lambda: found.extend(register(url)))

    assert ["alpha"] == found
    assert {"before", "after", "alembic_version"} == host.tables()


def test_the_script_is_printed_inside_a_hosts_upgrade(
    backend: Backend, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """`db upgrade --sql` takes nothing from the host either."""
    with RegistryAdmin.open(backend.empty_url(), read_only=True) as admin:
        host.upgrade("a migration", admin.print_upgrade)

    assert "registered_capsules" in capsys.readouterr().out
    assert {"before", "after", "alembic_version"} == host.tables()


def test_a_registry_is_made_beside_a_hosts_upgrade(backend: Backend, host: Host) -> None:
    """Many threads make registries while the migration of another one runs."""
    urls = [backend.empty_url() for _ in range(4)]
    in_migration, are_made = Event(), Event()
    failed: list[BaseException] = []

    def migrate() -> None:
        def wait() -> None:
            in_migration.set()
            assert are_made.wait(60)

        try:
            host.upgrade("a migration", wait)
        except BaseException as error:  # noqa: BLE001 - a thread's errors go nowhere
            failed.append(error)
            in_migration.set()

    found: list[Sequence[str]] = []
    others = [Thread(target=lambda url=url: found.append(register(url))) for url in urls]
    of_host = Thread(target=migrate)
    of_host.start()
    assert in_migration.wait(60)
    for other in others:
        other.start()
    for other in others:
        other.join()
    are_made.set()
    of_host.join()

    assert ([], [["alpha"]] * 4) == (failed, found)
    assert {"before", "after", "alembic_version"} == host.tables()


@pytest.fixture
def shared(backend: Backend) -> Iterator[sa.Connection]:
    """A connection to a database that holds the registry's tables and one of a host's."""
    url = backend.empty_url()
    CapsuleRegistry.open(url, migrate=True).close()
    engine = engine_on(url)
    with engine.connect() as connection:
        HOSTS.create_all(connection)
        connection.commit()
        yield connection
    engine.dispose()


HOSTS = sa.MetaData()
sa.Table("invoices", HOSTS, sa.Column("id", sa.Integer, primary_key=True))


def differences(connection: sa.Connection, **options: Any) -> list[str]:
    """Return what a host's autogenerate would do."""
    context = MigrationContext.configure(connection, opts=options)
    return [str(one[0]) for one in compare_metadata(context, HOSTS)]


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """Leave the registry's tables alone: the filter of `docs/databases.md`."""
    return kind != "table" or not capsule_registry.owns_table(str(name))


def test_a_host_that_autogenerates_leaves_the_registry_alone(shared: sa.Connection) -> None:
    """With the documented filter nothing is to be done; without it tables would be dropped."""
    assert "remove_table" in differences(shared)
    assert [] == differences(shared, include_name=include_name)


def test_the_registry_owns_what_an_upgrade_makes(shared: sa.Connection) -> None:
    """All of it, views included, and nothing else."""
    found = sa.inspect(shared)
    made = {*found.get_table_names(), *found.get_view_names()}

    assert made - {"invoices"} == {name for name in made if capsule_registry.owns_table(name)}
    assert capsule_registry.owns_table("capsule_registry_schema_lock")
    assert not capsule_registry.owns_table("alembic_version")
