"""The engines of a database: one to write with, and one to read with."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError, NoSuchModuleError

from capsule_registry.database.dialects.sqlite_file import file_options
from capsule_registry.database.driver_errors import fault_of
from capsule_registry.database.hosts import Hosts
from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext

    from capsule_registry.database.address import Address
    from capsule_registry.database.dialects.dialect import Dialect

#: The driver's rollback of a transaction that never was would be a second round trip.
_AUTOCOMMIT: Final = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
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
    if address.dialect.is_file:
        options |= {**file_options(address.file, read_only=read_only), **wanted}
        engine = _make_engine(address, options)
        return engine, engine
    options |= wanted
    writer = _make_engine(address, options)
    reader = _make_engine(address, {**options, **_AUTOCOMMIT})
    settings = _settings(address, read_only=read_only)
    admit = None if may_be_behind else address.dialect.admit
    hosts = () if address.dialect.driver_takes_hosts else address.hosts
    connector = Hosts(hosts, partial(_greet, address.dialect, settings, admit))
    for engine in (writer, reader):
        connector.serve(engine)
    return writer, reader


def _settings(address: Address, *, read_only: bool) -> tuple[str, ...]:
    """Return the statements that each new connection runs."""
    dialect = address.dialect
    of_hosts = dialect.settings_of_hosts if address.hosts else ()
    of_reading = dialect.read_only_settings if read_only else ()
    return (*dialect.settings, *of_hosts, *of_reading)


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


def _make_engine(address: Address, options: Mapping[str, Any]) -> Engine:
    try:
        with _loading:
            engine = create_engine(address.url, **options)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        reason = f"install capsule-registry[{address.dialect.name}] ({error})"
        raise InvalidDatabaseError(str(address), reason) from error
    event.listen(engine, "handle_error", _give_up_lost)
    if is_in_transaction := address.dialect.is_in_transaction:
        event.listen(engine, "reset", _resetter(is_in_transaction))
    return engine


def _give_up_lost(context: ExceptionContext) -> None:
    """Have a connection given up also where only we know that it is of no use any more."""
    error = context.sqlalchemy_exception
    if isinstance(error, DBAPIError) and fault_of(error, context.dialect.name) == "lost":
        context.is_disconnect = True


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
