"""The rows and the schema of a database on a server, which keeps the types of its columns."""

from __future__ import annotations

import logging
from abc import abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import AddConstraint, CreateIndex, DropConstraint, DropIndex

from capsule_registry.database.address import read_address
from capsule_registry.database.dialects.types import (
    CanonicalJson,
    Flag,
    UtcDateTime,
    time_text,
)
from support.stores import TABLES, SchemaObject, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column

    from support.stores import Contents

#: Later than every revision.
_NEVER: Final = 2**62


_CREATE_VIEW: Final = "CREATE OR REPLACE SQL SECURITY INVOKER VIEW"


class ServerStore(Store):
    """A database on a server."""

    #: The statements that a connection begins with.
    settings: ClassVar[tuple[str, ...]]

    def connect(self) -> Any:  # noqa: ANN401 - the driver is chosen at run time
        self._engine = sa.create_engine(
            read_address(self.url).url, isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        kept = self._engine.raw_connection()
        conn: Any = kept.driver_connection
        kept.detach()
        with conn.cursor() as cursor:
            for setting in self.settings:
                cursor.execute(setting)
        return conn

    def inward(self, value: Any) -> Any:  # noqa: ANN401 - any column's value
        match value:
            case bool():
                return int(value)
            case datetime():
                return time_text(value if value.tzinfo else value.replace(tzinfo=UTC))
            case UUID():
                return str(value)
        return value

    def objects(self) -> list[SchemaObject]:
        return [*self._of_tables(), *self._others()]

    def _of_tables(self) -> Iterator[SchemaObject]:
        for name, table in TABLES.items():
            for key in table.foreign_key_constraints:
                drop, add = DropConstraint(key), AddConstraint(key, isolate_from_table=False)
                yield SchemaObject(f"foreign key of {name}", self._sql(drop), (self._sql(add),))
            for index in table.indexes:
                drop_index, create = DropIndex(index), CreateIndex(index)
                yield SchemaObject(
                    f"index {index.name}", self._sql(drop_index), (self._sql(create),)
                )

    @abstractmethod
    def _others(self) -> list[SchemaObject]:
        """Return the views, the triggers and what they call."""

    def _sql(self, definition: sa.schema.ExecutableDDLElement) -> str:
        return str(definition.compile(dialect=self._engine.dialect))

    def _found(self, query: str) -> list[tuple[Any, ...]]:
        with self._conn.cursor() as cursor:
            cursor.execute(query)
            return [*cursor.fetchall()]


class PostgresqlStore(ServerStore):
    """PostgreSQL: a superuser's session can do without triggers, and so without foreign keys."""

    name = "postgresql"
    settings = ("SET session_replication_role = replica", "SET synchronous_commit = off")

    def __init__(self, url: str) -> None:
        import psycopg  # noqa: PLC0415 - if it is in use

        self.refusals = (psycopg.Error,)
        # It warns of each statement that is refused among many sent at once.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
        super().__init__(url)

    def selected(self, column: Column[Any]) -> str:
        return f"{column.name}::text" if isinstance(column.type, CanonicalJson) else column.name

    def outward(self, column: Column[Any], value: Any) -> Any:  # noqa: ANN401 - any column's value
        return bool(value) if isinstance(column.type, Flag) and value in (0, 1) else value

    def _others(self) -> list[SchemaObject]:
        views = self._found(
            "SELECT viewname, definition FROM pg_views WHERE schemaname = current_schema()"
        )
        triggers = self._found(
            "SELECT tgname, tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger"
            " WHERE NOT tgisinternal"
        )
        fence = "capsule_registry_fence"
        [(body,)] = self._found(f"SELECT pg_get_functiondef('{fence}'::regproc)")
        nothing = (
            f"CREATE OR REPLACE FUNCTION {fence}() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RETURN coalesce(NEW, OLD); END $$"
        )
        return [
            SchemaObject(f"function {fence}", nothing, (body,)),
            *(
                SchemaObject(
                    f"view {name}",
                    f"DROP VIEW {name}",
                    (f"CREATE OR REPLACE VIEW {name} AS {body}",),
                    (_nothing_of(name, body.rstrip(";")),),
                )
                for name, body in views
            ),
            *(
                SchemaObject(
                    f"trigger {name}",
                    f"DROP TRIGGER {name} ON {table}",
                    (
                        body.replace("CREATE", "CREATE OR REPLACE", 1),
                        f"ALTER TABLE {table} ENABLE TRIGGER {name}",
                    ),
                    (f"ALTER TABLE {table} DISABLE TRIGGER {name}",),
                )
                for name, table, body in triggers
            ),
        ]


class MariadbStore(ServerStore):
    """MariaDB: a session can do without foreign keys and checks; the fences let prunings pass."""

    name = "mariadb"
    settings = ("SET foreign_key_checks = 0", "SET check_constraint_checks = 0")

    def __init__(self, url: str) -> None:
        import pymysql  # noqa: PLC0415 - if it is in use

        self.refusals = (pymysql.err.Error,)
        super().__init__(url)

    def lower_fences(self, cursor: Any) -> None:  # noqa: ANN401 - the driver's
        cursor.execute("UPDATE namespaces SET compacted_revision = %s", (_NEVER,))

    def raise_fences(self, cursor: Any, contents: Contents) -> None:  # noqa: ANN401 - the driver's
        cursor.executemany(
            "UPDATE namespaces SET compacted_revision = %s WHERE name = %s",
            [(row["compacted_revision"], row["name"]) for row in contents["namespaces"]],
        )

    def outward(self, column: Column[Any], value: Any) -> Any:  # noqa: ANN401 - any column's value
        if isinstance(column.type, UtcDateTime) and isinstance(value, str):
            return value.replace("T", " ").removesuffix("Z")
        return value

    def _others(self) -> list[SchemaObject]:
        views = self._found(
            "SELECT table_name, view_definition FROM information_schema.views"
            " WHERE table_schema = DATABASE()"
        )
        triggers = self._found(
            "SELECT trigger_name, concat_ws(' ', action_timing, event_manipulation, 'ON',"
            " event_object_table, 'FOR EACH ROW'), action_statement"
            " FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
        )
        return [
            *(
                SchemaObject(
                    f"view {name}",
                    f"DROP VIEW {name}",
                    (f"{_CREATE_VIEW} {name} AS {body}",),
                    (_nothing_of(name, body, _CREATE_VIEW),),
                )
                for name, body in views
            ),
            *(
                SchemaObject(
                    f"trigger {name}",
                    f"DROP TRIGGER {name}",
                    (f"CREATE OR REPLACE TRIGGER {name} {when} {body}",),
                    (f"CREATE OR REPLACE TRIGGER {name} {when} SET @nothing = 1",),
                )
                for name, when, body in triggers
            ),
        ]


def _nothing_of(name: str, body: str, create: str = "CREATE OR REPLACE VIEW") -> str:
    """Return the statement that gives a view its columns, and no rows."""
    return f"{create} {name} AS SELECT * FROM ({body}) AS whole WHERE FALSE"  # noqa: S608 - our own
