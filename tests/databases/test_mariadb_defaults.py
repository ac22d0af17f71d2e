"""MariaDB as it is found: servers whose defaults are not what the registry needs."""

from __future__ import annotations

import json
import subprocess
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistry,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryAdmin,
)
from support.backends import engine_on
from support.commands import run
from support.factories import TELEGRAM, make_manifest
from support.servers import Mariadb, found

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.stress
_numbers = count()
_MODES = ("ORACLE", "ANSI,NO_BACKSLASH_ESCAPES")


class Careless(Mariadb):
    """A server with other defaults than the registry needs."""

    def ask(self, statement: str, url: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of a statement, by default of the root user."""
        engine = engine_on(url or self.url.replace(":", "+pymysql:", 1))
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                result = connection.exec_driver_sql(statement)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def owned(self, rights: str = "ALL") -> str:
        """Return the URL of a new database for a new user with *rights* on it alone."""
        name = f"owned_{next(_numbers)}"
        self.ask(f"CREATE DATABASE {name}")
        self.ask(f"CREATE USER {name}@'%%' IDENTIFIED BY 'x'")
        self.ask(f"GRANT {rights} ON {name}.* TO {name}@'%%'")
        return f"mariadb+pymysql://{name}:x@127.0.0.1:{self.port}/{name}"


def _started(*options: str) -> Careless:
    try:
        found("mariadbd")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    server = Careless(*options)
    server.start()
    return server


@pytest.fixture(scope="module")
def careless() -> Iterator[Careless]:
    """A server with the wrong engine, row format, character set and binary log."""
    server = _started(
        "--default-storage-engine=Aria",
        "--innodb-default-row-format=compact",
        "--character-set-server=latin1",
        "--log-bin",
        "--sync-binlog=1",
    )
    yield server
    server.remove()


@pytest.fixture
def server(careless: Careless) -> Careless:
    """The same with the settings that can be changed as the registry needs them."""
    for setting in (
        "binlog_format = MIXED",
        "log_bin_trust_function_creators = 1",
        "enforce_storage_engine = NULL",
        "sql_mode = DEFAULT",
        "default_storage_engine = Aria",
    ):
        careless.ask(f"SET GLOBAL {setting}")
    return careless


def problems(url: str) -> dict[str, str]:
    """Return the problems that `doctor` finds."""
    rows = json.loads(run(url, "doctor", "--format", "json").stdout)
    return {row["name"]: row["problem"] for row in rows if row["problem"]}


def work(registry: CapsuleRegistry) -> None:
    """Use tables, triggers and views."""
    registry.register(make_manifest(uplink=[TELEGRAM]))
    registry.unregister("alpha")
    registry.history.prune(registry.history.anchor())
    assert registry.history.verify().ok


def objects(server: Careless, url: str) -> list[tuple[Any, ...]]:
    """Return the definitions of everything in the database."""
    database = sa.make_url(url).database
    tables = server.ask(
        "SELECT table_name, table_type FROM information_schema.tables"
        f" WHERE table_schema = '{database}' ORDER BY 1"
    )
    rows = [server.ask(f"SHOW CREATE TABLE {database}.{name}")[0][:2] for name, _ in tables]
    rows += server.ask(
        "SELECT trigger_name, event_object_table, action_timing, event_manipulation,"
        f" action_statement FROM information_schema.triggers WHERE trigger_schema = '{database}'"
        " ORDER BY 1"
    )
    return [tuple(str(value).replace(str(database), "") for value in row) for row in rows]


@pytest.mark.parametrize("engine", ["Aria", "MyISAM"])
def test_every_table_has_transactions(server: Careless, engine: str) -> None:
    """The defaults of the server for engines, row formats and character sets do not matter."""
    server.ask(f"SET GLOBAL default_storage_engine = {engine}")
    url = server.owned()
    with CapsuleRegistry.open(url, migrate=True) as registry:
        work(registry)

    query = "SELECT DISTINCT engine FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
    assert [("InnoDB",)] == server.ask(f"{query} AND table_schema = DATABASE()", url)
    assert {} == problems(url)


@pytest.mark.parametrize("mode", _MODES)
def test_the_sql_mode_of_a_server_does_not_matter(server: Careless, mode: str) -> None:
    """With any, also through an engine of the caller's own, the schema is the same and works."""
    server.ask(f"SET GLOBAL sql_mode = '{mode}'")
    url, other = server.owned(), server.owned()
    with CapsuleRegistry.open(url, migrate=True) as registry:
        work(registry)
    engine = sa.create_engine(other, isolation_level="READ COMMITTED")
    with CapsuleRegistry.open(engine=engine, migrate=True) as registry:
        work(registry)
    engine.dispose()

    assert objects(server, url) == objects(server, other)


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ("binlog_format = STATEMENT", "binlog_format"),
        ("log_bin_trust_function_creators = 0", "log_bin_trust_function_creators"),
        ("enforce_storage_engine = Aria", "enforce_storage_engine"),
    ],
)
def test_an_upgrade_that_cannot_end_does_not_begin(
    server: Careless, broken: str, name: str
) -> None:
    """The error and `doctor` say what to set, and once that is done the upgrade works."""
    url = server.owned()
    server.ask(f"SET GLOBAL {broken}")
    with RegistryAdmin.open(url) as admin, pytest.raises(InvalidDatabaseError, match=name):
        admin.upgrade()
    assert [] == server.ask("SHOW TABLES", url)
    assert any(name in problem for problem in problems(url).values())

    mended = broken.partition(" ")[0]
    right = {"binlog_format": "ROW", "enforce_storage_engine": "NULL"}.get(mended, "1")
    server.ask(f"SET GLOBAL {mended} = {right}")
    with CapsuleRegistry.open(url, migrate=True) as registry:
        work(registry)


def test_who_may_create_triggers_needs_no_setting(server: Careless) -> None:
    """With SUPER, also by a role, the server need not trust creators of functions."""
    server.ask("SET GLOBAL log_bin_trust_function_creators = 0")
    url = server.owned()
    name = sa.make_url(url).username
    server.ask(f"CREATE ROLE {name}_role")
    server.ask(f"GRANT SUPER ON *.* TO {name}_role")
    server.ask(f"GRANT {name}_role TO {name}@'%%'")
    server.ask(f"SET DEFAULT ROLE {name}_role FOR {name}@'%%'")
    with CapsuleRegistry.open(url, migrate=True) as registry:
        work(registry)


def test_pages_that_are_too_small_are_refused() -> None:
    """A server whose pages hold no key of 3 KB is refused before anything is made."""
    server = _started("--innodb-page-size=8k")
    try:
        url = server.owned()
        with RegistryAdmin.open(url) as admin, pytest.raises(InvalidDatabaseError, match="16384"):
            admin.upgrade()
        assert [] == server.ask("SHOW TABLES", url)
    finally:
        server.remove()


@pytest.mark.parametrize("missing", ["TRIGGER", "CREATE VIEW", "INDEX"])
def test_a_schema_that_was_left_half_made_is_completed(server: Careless, missing: str) -> None:
    """What a user could not make for want of a right is made once it has it."""
    rights = {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER"}
    rights |= {"TRIGGER", "CREATE VIEW", "SHOW VIEW", "INDEX"}
    url, whole = server.owned(", ".join(rights - {missing})), server.owned()
    with RegistryAdmin.open(url) as admin, pytest.raises(PermissionDeniedError):
        admin.upgrade()

    database = sa.make_url(url).database
    server.ask(f"GRANT {missing} ON {database}.* TO {database}@'%%'")
    for place in (url, whole):
        with CapsuleRegistry.open(place, migrate=True) as registry:
            work(registry)
    assert objects(server, whole) == objects(server, url)


def restored(server: Careless, url: str) -> str:
    """Return the URL of a copy of the database, made from a dump once its owner is gone."""
    source = sa.make_url(url)
    target = server.owned()
    program = ["--no-defaults", "--host=127.0.0.1", f"--port={server.port}", "--user=root"]
    dump = subprocess.run(
        ["mariadb-dump", *program, str(source.database)],  # noqa: S607 - of this machine
        capture_output=True,
        check=True,
    )
    server.ask(f"DROP USER {source.username}@'%%'")
    subprocess.run(
        ["mariadb", *program, str(sa.make_url(target).database)],  # noqa: S607 - of this machine
        input=dump.stdout,
        check=True,
    )
    return target


def test_a_dump_is_restored_under_another_user(server: Careless) -> None:
    """Views work at once; `doctor` finds the fences that fail, and an upgrade makes them work."""
    first = server.owned()
    with CapsuleRegistry.open(first, migrate=True) as registry:
        registry.register(make_manifest(uplink=[TELEGRAM]))
    url = restored(server, first)

    for view in ("registered_capsules", "live_uuids", "audit_log", "capsule_history"):
        server.ask(f"SELECT * FROM {view}", url)
    with pytest.raises(sa.exc.DBAPIError, match="definer"):
        server.ask("DELETE FROM events", url)
    root = sa.make_url(url).set(username="root", password="").render_as_string(hide_password=False)
    for seen_by in (url, root):
        assert ["triggers"] == list(problems(seen_by))
    assert 0 == run(url, "db", "upgrade").exit_code
    for seen_by in (url, root):
        assert {} == problems(seen_by)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        server.ask("DELETE FROM events", url)
    with CapsuleRegistry.open(url) as registry:
        assert ["alpha"] == registry.list()
        registry.history.prune(registry.history.anchor())
        assert registry.history.verify().ok
