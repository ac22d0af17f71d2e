"""The engines of a database: one to write with, and one to read with."""

from __future__ import annotations

from copy import copy
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidRequestError, NoSuchModuleError, ProgrammingError

from capsule_registry.database.dialects.dialect import dialect_named
from capsule_registry.database.dialects.sqlite_file import file_options
from capsule_registry.database.driver_errors import UnconnectedError
from capsule_registry.database.hosts import Nodes, note_failure
from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext

    from capsule_registry.database.address import Address
    from capsule_registry.database.dialects.dialect import Dialect
    from capsule_registry.database.dialects.faults import Fault


#: The driver's rollback of a transaction that never was would be a second round trip.
_AUTOCOMMIT: Final = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
#: What tells, beside a connection of the driver, that it was looked at.
_WITNESSED: Final = "capsule_registry.witnessed"
#: Two threads that load the same dialect for the first time find it half imported.
_loading: Final = Lock()


def make_engines(
    address: Address, wanted: Mapping[str, Any], *, read_only: bool, may_be_behind: bool
) -> tuple[Engine, Engine]:
    """
    Return the engine that writes and the one that reads; for a file they are the same.

    Args:
        address: Of the database.
        wanted: Options of the caller's own, which win.
        read_only: The database is told to refuse whatever would write.
        may_be_behind: A server is taken too that does not know all that was acknowledged.

    Raises:
        InvalidDatabaseError: The driver is not installed.
    """
    options: dict[str, Any] = {"hide_parameters": True, **address.dialect.engine_options}
    if address.dialect.upgrades_itself:
        options |= {**file_options(address.file, read_only=read_only), **wanted}
        engine = _make_engine(address, options)
        return engine, engine
    options |= wanted
    writer = _make_engine(address, options)
    reader = _make_engine(address, {**options, **_AUTOCOMMIT})
    dialect = address.dialect
    settings = dialect.settings
    if address.hosts:
        settings += dialect.settings_of_hosts
    if read_only:
        settings += dialect.read_only_settings
    admit = None if may_be_behind else dialect.admit
    hosts = () if dialect.driver_takes_hosts else address.hosts
    nodes = Nodes(hosts, partial(_greet, dialect, settings, admit))
    for engine in (writer, reader):
        nodes.serve(engine)
    return writer, reader


def reading_by(engine: Engine, address: Address) -> Engine:
    """Return what reads through the pool of *engine*, in as few round trips as can be had."""
    if address.dialect.switches_autocommit_freely:
        return engine.execution_options(isolation_level="AUTOCOMMIT")
    return engine


def refuse_unsafe(conn: Connection, address: Address) -> None:
    """
    Refuse an engine of the caller's that has not what the guarantees rest on.

    Raises:
        InvalidDatabaseError: Its isolation is another, or it may read what is outdated.
    """
    found, wanted = conn.get_isolation_level(), address.dialect.isolation
    if found != wanted:
        reason = f"the engine's isolation is {found}, and {wanted} is needed"
        raise InvalidDatabaseError(str(address), reason)
    if outdated := address.dialect.outdated(conn):
        raise InvalidDatabaseError(str(address), outdated)


def connect(
    engine: Engine, address: Address, witness: Callable[[Connection], None] | None = None
) -> Connection:
    """
    Return a connection of *engine*, which *witness* has looked at, if any, since it was made.

    Why there is none is said in our words.

    Raises:
        InvalidDatabaseError: The driver does not know an option of the URL, or the server is of
            another make.
        RegistryUnavailableError: The server cannot be reached, or does not let us in without
            saying why in a code.
        DBAPIError: Anything that has a code.
    """
    try:
        conn = engine.connect()
    except (DBAPIError, InvalidRequestError, TypeError, ValueError) as error:
        failure = _unconnected(error, address)
        if failure is error:
            raise
        raise failure from error
    if witness is not None and _WITNESSED not in conn.info:
        try:
            witness(conn)
            conn.rollback()
        except BaseException:
            conn.close()
            raise
        conn.info[_WITNESSED] = True
    return conn


def wrap(error: Any, engine: Engine, connection: object = None) -> DBAPIError:  # noqa: ANN401 - the driver's own
    """Return *error* of the driver, which came of *connection* if of any, as SQLAlchemy would."""
    dialect = engine.dialect
    wrapped = DBAPIError.instance(
        None,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=dialect.is_disconnect(error, connection, None),  # type: ignore[arg-type]
        dialect=dialect,
    )
    found = cast("DBAPIError", wrapped)
    found.connection_invalidated |= _fault_of(found, dialect.name) == "lost"
    return found


class Cursor:
    """The driver's cursor on a connection of SQLAlchemy's, which learns of what goes wrong."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._dialect = conn.dialect
        self._error = self._dialect.loaded_dbapi.Error
        self.of_driver: Any = conn.connection.cursor()

    def execute(self, statement: str, parameters: Any = ()) -> None:  # noqa: ANN401 - what the driver takes
        """Run *statement*."""
        try:
            self._dialect.do_execute(self.of_driver, statement, parameters)
        except self._error as error:
            raise self._failed(error) from error

    def executemany(self, statement: str, parameters: Sequence[Any]) -> None:
        """Run *statement* with each of *parameters*."""
        try:
            self._dialect.do_executemany(self.of_driver, statement, parameters)
        except self._error as error:
            raise self._failed(error) from error

    def copy(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Give *rows* to a COPY."""
        try:
            with self.of_driver.copy(statement) as copying:
                for row in rows:
                    copying.write_row(row)
        except self._error as error:
            raise self._failed(error) from error

    def raw(self) -> Cursor:
        """Return a cursor to which statements are given as the server takes them."""
        raw = copy(self)
        raw.of_driver = self._dialect.loaded_dbapi.RawCursor(self.of_driver.connection)
        return raw

    def fetchall(self) -> Sequence[Sequence[Any]]:
        """Return all rows that the last statement gave."""
        try:
            return self.of_driver.fetchall()  # type: ignore[no-any-return]
        except self._error as error:
            raise self._failed(error) from error

    @property
    def rowcount(self) -> int:
        """How many rows the last statement has changed."""
        return int(self.of_driver.rowcount)

    def _failed(self, error: Exception) -> DBAPIError:
        wrapped = wrap(error, self._conn.engine, self._conn.connection)
        # What is left half run would be reset whenever the garbage collector comes, and on SQLite
        # under whoever is given the same statement by then.
        self.of_driver.close()
        if _fault_of(wrapped, self._dialect.name) in ("lost", "unparsed"):
            note_failure(self._conn.info)
        if wrapped.connection_invalidated:
            self._conn.invalidate(error)
        else:
            self.of_driver = self._conn.connection.cursor()
        return wrapped


def _unconnected(error: Exception, address: Address) -> Exception:
    """Return in our words why there is no connection, or *error* itself if it has a code."""
    if not isinstance(error, DBAPIError):
        return InvalidDatabaseError(str(address), str(error))
    fault = address.dialect.fault(error)
    if fault not in (None, "unavailable"):
        return error
    wrong = fault is None and isinstance(error, ProgrammingError)
    kind = InvalidDatabaseError if wrong else UnconnectedError
    return kind(str(address), str(error.orig).partition("\n")[0])


def _make_engine(address: Address, options: Mapping[str, Any]) -> Engine:
    try:
        with _loading:
            engine = create_engine(address.url, **options)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        reason = f"install capsule-registry[{address.dialect.name}] ({error})"
        raise InvalidDatabaseError(str(address), reason) from error
    event.listen(engine, "handle_error", _give_up_lost)
    if address.dialect.begin_write:
        event.listen(engine, "begin", _begin)
    if is_in_transaction := address.dialect.is_in_transaction:
        event.listen(engine, "reset", _resetter(is_in_transaction))
    return engine


def _fault_of(error: DBAPIError, name: str) -> Fault | None:
    dialect = dialect_named(name)
    return None if dialect is None else dialect.fault(error)


def _give_up_lost(context: ExceptionContext) -> None:
    """Have a connection given up also where only we know that it is of no use any more."""
    error = context.sqlalchemy_exception
    if isinstance(error, DBAPIError) and _fault_of(error, context.dialect.name) == "lost":
        context.is_disconnect = True


def _begin(conn: Connection) -> None:
    """Begin as the caller asked: the driver itself would begin late, or not at all."""
    if statement := conn.get_execution_options().get("begin"):
        conn.exec_driver_sql(statement)


def _resetter(is_in_transaction: Callable[[Any], bool]) -> Callable[[Any, object, object], None]:
    """Return what rolls back a connection that is given back, if there is anything to."""

    def reset(connection: Any, record: object, state: object) -> None:  # noqa: ARG001, ANN401 - the driver's own
        if is_in_transaction(connection):
            connection.rollback()

    return reset


def _greet(
    dialect: Dialect,
    settings: Iterable[str],
    admit: Callable[[Any], None] | None,
    connection: Any,  # noqa: ANN401 - the driver's own
) -> None:
    """Tell a new connection *settings*, where they stay its own."""
    has_session = dialect.greet(connection)
    if admit is not None:
        admit(connection)
    if not has_session:
        return
    with connection.cursor() as cursor:
        for statement in settings:
            cursor.execute(statement)
    connection.commit()
