"""
The session of each connection: set to what the guarantees rely on, and read back.

A server, a database, a role, the environment, the URL and the caller of `engine=` may each set a
session otherwise. What cannot be had is refused, with the setting and what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from capsule_registry.database.driver_errors import wrap
from capsule_registry.database.hosts import HAS_SESSION
from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, RowMapping

    from capsule_registry.database.address import Address
    from capsule_registry.database.dialects.dialect import Session

#: The key in a connection's `info` of the limit, in seconds, on each of its statements.
_LIMIT: Final = "capsule_registry.limit"
#: Likewise of why the server may be behind; `None` if it is not.
_BEHIND: Final = "capsule_registry.behind"


class Sessions:
    """
    Prepares the sessions of a database's connections.

    Args:
        address: The address of the database.
        read_only: Make the database refuse writes.
        may_be_behind: Accept a server that may lag, such as a standby.
    """

    def __init__(self, address: Address, *, read_only: bool, may_be_behind: bool) -> None:
        self._address = address
        self._session = address.dialect.session
        self._more = (
            *(address.dialect.settings_of_hosts if address.hosts else ()),
            *(address.dialect.read_only_settings if read_only else ()),
        )
        self._may_be_behind = may_be_behind
        #: The schema of the tables, by the URL or else as the first connection found it.
        self._schema = address.schema

    def prepare(self, conn: Connection, more: Iterable[str] = ()) -> None:
        """
        Set the session of *conn*, by *more* statements too, unless others share it; read it back.

        Raises:
            InvalidDatabaseError: A setting is not what it must be, or the server may be behind.
        """
        if self._session is None:
            return
        driver: Any = conn.connection.dbapi_connection
        dialect = self._address.dialect
        if HAS_SESSION not in conn.info:  # A connection of the caller's engine.
            conn.info[HAS_SESSION] = dialect.greet(driver)
            if not self._may_be_behind and (reason := dialect.outdated(driver)):
                self._refuse(reason)
        if self._may_be_behind:
            conn.info[_BEHIND] = dialect.outdated(driver)
        if conn.info[HAS_SESSION]:
            self._set(conn, (*self._session.statements, *self._more, *more))
        self._read_back(conn, self._session)
        conn.rollback()

    def require_transaction(self, conn: Connection) -> None:
        """
        Require that *conn* may write: in one transaction, isolated as the dialect says.

        Raises:
            InvalidDatabaseError: It may not, or what it is on only follows another server.
        """
        if reason := conn.info.get(_BEHIND):
            self._refuse(f"nothing can be changed here: {reason}")
        if self._address.dialect.commits_by_itself(conn.connection.dbapi_connection):
            self._refuse("its connections commit each statement by itself (AUTOCOMMIT)")
        found, wanted = conn.get_isolation_level(), self._address.dialect.isolation
        if found != wanted:
            self._refuse(f"the isolation of its connections is {found}, and {wanted} is needed")

    def require_joinable(self, conn: Connection) -> None:
        """
        Require that *conn*, in a transaction of the caller, is as `prepare` would leave it.

        Raises:
            InvalidDatabaseError: It is not, its transaction is not, or the server may be behind.
        """
        self.require_transaction(conn)
        if self._session is not None:
            self._read_back(conn, self._session)
        if reason := self._address.dialect.outdated(conn.connection.dbapi_connection):
            self._refuse(reason)

    def limit(self, conn: Connection, seconds: float | None) -> None:
        """Limit how long each statement of *conn* may take; `None` lifts the limit."""
        limit_statements = self._address.dialect.limit_statements
        if limit_statements is None or not conn.info.get(HAS_SESSION):
            return
        if conn.info.get(_LIMIT) != seconds:
            self._set(conn, [limit_statements(seconds)])
            conn.info[_LIMIT] = seconds

    @staticmethod
    def _set(conn: Connection, statements: Iterable[str]) -> None:
        # On the driver: SQLAlchemy would drop a connection that is kept, and lost, without closing.
        driver: Any = conn.connection.dbapi_connection
        try:
            with driver.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
            driver.commit()  # PostgreSQL would undo it with a transaction that is rolled back.
        except conn.dialect.loaded_dbapi.Error as error:
            raise wrap(error, conn.engine) from error

    def _read_back(self, conn: Connection, session: Session) -> None:
        found = conn.exec_driver_sql(session.query).mappings().one()
        for name, wanted in session.wanted.items():
            if found[name] not in wanted:
                needed = " or ".join(map(str, wanted))
                self._refuse(f"the setting {name} is {found[name]}, and {needed} is needed")
        self._require_schema(found)

    def _require_schema(self, found: RowMapping) -> None:
        schema: str | None = found["schema"]
        if None not in (schema, self._schema) and schema != self._schema:
            self._refuse(f"a connection leads to the schema {schema}, and not {self._schema}")
        self._schema = self._schema or schema

    def _refuse(self, reason: str) -> None:
        raise InvalidDatabaseError(str(self._address), reason)
