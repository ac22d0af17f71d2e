"""Administration of a database: schema upgrades, backups, namespaces, roles and diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from capsule_registry.database.database import Database
from capsule_registry.database.dialects.dialect import Finding
from capsule_registry.errors import (
    InvalidDatabaseError,
)
from capsule_registry.lookups.file_lookups import lookups_on
from capsule_registry.operations.database_roles import grant_statements
from capsule_registry.operations.doctor import diagnose
from capsule_registry.operations.namespaces import NamespaceAdmin
from capsule_registry.operations.sql import opened_shell, run_query
from capsule_registry.schema.upgrade import prepare, upgrade, upgrade_sql
from capsule_registry.schema.version import SCHEMA_VERSION, find_schema
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.head import close_unit, open_unit
from capsule_registry.unit_of_work.high_water_mark import HighWaterMark
from capsule_registry.unit_of_work.runner import default_actor, recordable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from os import PathLike

    from sqlalchemy import Connection

    from capsule_registry.database.dialects.dialect import Shell

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The schema version found in a database (`None`: no schema) and the library's own."""

    found: str | None
    library: str
    is_usable: bool


class RegistryAdmin(NamespaceAdmin):
    """Administrative access to a database. A context manager; open it with `open`."""

    @classmethod
    def open(
        cls,
        url: str | None = None,
        *,
        create: bool = True,
        read_only: bool = False,
        allow_network_file_system: bool = False,
    ) -> Self:
        """
        Open the database at *url* (see `CapsuleRegistry.open`) without checking its schema.

        It may be a standby, on which the methods that change anything raise `InvalidDatabaseError`.
        A missing file is created if *create* and not *read_only*.

        Raises:
            InvalidDatabaseError, PermissionDeniedError, RegistryUnavailableError: As there.
        """
        database = Database.open(
            url,
            create=create and not read_only,
            read_only=read_only,
            allow_network_file_system=allow_network_file_system,
            may_be_behind=True,
        )
        return cls(database)

    def status(self) -> SchemaStatus:
        """Return the schema version found and the library's."""
        found = self._database.look(find_schema)
        return SchemaStatus(found.version, SCHEMA_VERSION, found.is_usable)

    def upgrade(self) -> Path | None:
        """
        Upgrade the schema to the library's version; return the path of the copy, if one was made.

        Several processes may do this at once. A SQLite file with anything in it is copied first.

        Raises:
            SchemaVersionError: The schema is newer than this library; nothing was changed.
        """
        return upgrade(self._database)

    def print_upgrade(self) -> None:
        """Print the SQL that creates the schema in an empty database of this kind."""
        upgrade_sql(self._database)

    def backup(self, target: str | PathLike[str]) -> None:
        """
        Copy a SQLite database to the new file *target*, consistently even while others write.

        Raises:
            InvalidDatabaseError: The database is on a server, which has its own tool for that.
            FileExistsError: *target* exists.
        """
        if tool := self._database.dialect.backup_tool:
            reason = f"use the server's own tool ({tool})"
            raise InvalidDatabaseError(str(self._database.address), reason)
        self._database.copy_to(Path(target))

    def grants(
        self,
        *,
        readers: Iterable[str] = (),
        writers: Iterable[str] = (),
        auditors: Iterable[str] = (),
    ) -> list[str]:
        """
        Return the GRANT statements for the roles; see `docs/databases.md`.

        Raises:
            InvalidDatabaseError: The database is a file, which has no roles.
        """
        self._require_schema()
        with self._database.translating(), self._database.connected(self._database.engine) as conn:
            return [
                *grant_statements(
                    self._database, conn, readers=readers, writers=writers, auditors=auditors
                )
            ]

    def shell(self) -> AbstractContextManager[Shell]:
        """
        Return a context manager that yields the database's own shell as a command.

        It is on the server, and with the options, of the connection that the other methods use.
        It was run once and has said that it only reads; what that is worth is in
        `docs/databases.md`. The files that it needs are removed at the end.

        Raises:
            InvalidDatabaseError: The shell cannot be given an option of the URL.
            PermissionDeniedError: The shell would not only read, or does not start.
            FileNotFoundError: The shell is not installed.
        """
        return opened_shell(self._database)

    def query(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """
        Return the column names and the rows of one SQL *statement*, which cannot write.

        Raises:
            PermissionDeniedError: The statement would write, or is not of a kind that reads.
            InvalidTextError: The database does not understand the statement.
        """
        return run_query(self._database, statement)

    def accept_restore(self, *, actor: str | None = None, reason: str | None = None) -> None:
        """
        Give every namespace a new incarnation, after the database was restored from a backup.

        Each history records it. Watches and views opened before end with `IncarnationChangedError`
        instead of taking other changes for those they know.
        """
        by, why = recordable(actor, reason)
        prepare(self._database, migrate=None)
        for name in [found.name for found in self.namespaces()]:

            def renew(conn: Connection, name: str = name) -> None:
                unit = namespaces.renew(open_unit(conn, name, self._clock, self._database.dialect))
                close_unit(unit, actor=by or default_actor(), reason=why)

            self._database.write(renew)

    def findings(self) -> list[Finding]:
        """Return the findings on the database, its settings and its namespaces, in order."""
        database = self._database
        with database.translating(), database.connected(database.engine) as conn:
            found = [*diagnose(database, conn)]
        lookups = lookups_on(database, HighWaterMark("default"), self._clock)
        try:
            return [*found, Finding("lookups", lookups.way)]
        finally:
            lookups.close()

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
