"""A database that takes one fault after the other."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.pool import NullPool

from capsule_registry import CapsuleRegistry, sqlite_module
from support.backends import engine_on
from support.standing import Standing, stand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import Backend
    from support.faults import Fault

#: Statements that make a connection ignore constraints.
_UNCHECKED: Final = {
    "sqlite": [
        "PRAGMA foreign_keys = 0",
        "PRAGMA ignore_check_constraints = 1",
        "PRAGMA synchronous = OFF",
    ],
    "postgresql": ["SET session_replication_role = replica"],
    "mariadb": ["SET foreign_key_checks = 0, check_constraint_checks = 0, sql_mode = ''"],
}
#: The tables that a check reads.
_TABLES: Final = (
    *("namespaces", "leases", "capsules", "uuid_mappings", "grants", "manifests", "events"),
)


class Ground:
    """A database in which the check is allowed, damaged and restored again and again."""

    def __init__(self, backend: Backend) -> None:
        # On MariaDB `new_url` is shared by all tests, triggers included.
        self.url = backend.empty_url()
        CapsuleRegistry.open(self.url, migrate=True).close()
        self.standing = stand(self.url)
        for fence in backend.fences(self.url):
            backend.rows(self.url, f"DROP TRIGGER {fence}")
        backend.loosen(self.url)
        self._run = self._connect(backend)
        for statement in _UNCHECKED[backend.name]:
            self._run(statement)
        if backend.name == "postgresql":
            for name in ("state_known", "reserved_or_registered"):
                self._run(f"ALTER TABLE capsules DROP CONSTRAINT ck_capsules_{name}")
        for table in _TABLES:
            self._run(f"CREATE TABLE saved_{table} AS SELECT * FROM {table}")

    def _connect(self, backend: Backend) -> Any:
        if backend.name == "sqlite":
            file = self.url.removeprefix("sqlite:///")
            self._connection: Any = sqlite_module.connect(file, isolation_level=None)
            return self._connection.execute
        engine = engine_on(self.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        self._connection = engine.connect()
        return self._connection.exec_driver_sql

    @contextmanager
    def struck_by(self, fault: Fault) -> Iterator[Standing]:
        """Yield the registry, in which the check was allowed, with the fault in place."""
        self.strike(fault)
        try:
            yield self.standing
        finally:
            for statement in fault.undo:
                self._run(statement)
            self._run("BEGIN")
            for table in _TABLES:
                self._run(f"DELETE FROM {table}")
                self._run(f"INSERT INTO {table} SELECT * FROM saved_{table}")
            self._run("COMMIT")

    def strike(self, fault: Fault) -> None:
        """Apply the fault, after asserting that the check is allowed."""
        self.standing.assert_allowed()
        for statement in fault.statements:
            self._run(statement)

    def close(self) -> None:
        """Close both connections."""
        self.standing.close()
        self._connection.close()
