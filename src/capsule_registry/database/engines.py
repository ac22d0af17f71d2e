"""The SQLAlchemy engines of a database: one for writes and one for reads."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from capsule_registry.database.dialects.sqlite import file_options
from capsule_registry.database.driver_errors import fault_of
from capsule_registry.database.hosts import Hosts
from capsule_registry.database.refused_options import MISUNDERSTOOD, misunderstood
from capsule_registry.database.steady_pool import MemoryPool, SteadyPool
from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext

    from capsule_registry.database.address import Address
    from capsule_registry.database.dialects.dialect import Dialect

#: Without a transaction, the driver's rollback would be a wasted round trip.
_AUTOCOMMIT: Final = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
#: Guards against two threads importing the same dialect at once.
_loading: Final = Lock()


def make_engines(
    address: Address, wanted: Mapping[str, Any], *, read_only: bool, may_be_behind: bool
) -> tuple[Engine, Engine]:
    """
    Return the engine for writes and the one for reads; for a file they are the same.

    Args:
        address: The address of the database.
        wanted: Engine options of the caller, which take precedence.
        read_only: Make the database refuse writes.
        may_be_behind: Accept a server that may lag, such as a standby.

    Raises:
        InvalidDatabaseError: The driver is not installed.
    """
    options: dict[str, Any] = {
        "hide_parameters": True,
        "poolclass": SteadyPool,
        **address.dialect.engine_options,
    }
    if address.dialect.is_file:
        if address.file is None:
            options["poolclass"] = MemoryPool
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
    """Return an engine for reads that shares the pool of *engine*, with the fewest round trips."""
    if address.dialect.switches_autocommit_freely:
        return engine.execution_options(isolation_level="AUTOCOMMIT")
    return engine


def refuse_unsafe(conn: Connection, address: Address) -> None:
    """Raise `InvalidDatabaseError` if the isolation level is wrong or data may be outdated."""
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
    except (ArgumentError, *MISUNDERSTOOD) as error:
        if not address.url.query:  # The caller's own engine options, then.
            raise
        raise misunderstood(address, error) from error
    event.listen(engine, "handle_error", _give_up_lost)
    if is_in_transaction := address.dialect.is_in_transaction:
        event.listen(engine, "reset", _resetter(is_in_transaction))
    return engine


def _give_up_lost(context: ExceptionContext) -> BaseException | None:
    """
    Mark a connection as disconnected where only `Dialect.fault` knows that it is lost.

    So is one whose statement was interrupted by another exception, since its answer may be on the
    way; return that exception, to be raised as it is.
    """
    error, original = context.sqlalchemy_exception, context.original_exception
    if not isinstance(original, context.dialect.loaded_dbapi.Error):
        context.is_disconnect, context.invalidate_pool_on_disconnect = True, False
        return original
    if isinstance(error, DBAPIError) and fault_of(error, context.dialect.name) == "lost":
        context.is_disconnect = True
    return None


def _resetter(is_in_transaction: Callable[[Any], bool]) -> Callable[[Any, object, object], None]:
    """Return a pool reset handler that rolls back only an open transaction."""

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
    """Prepare a new connection, and apply *settings* if it has a session of its own."""
    has_session = dialect.greet(connection)
    if admit is not None:
        admit(connection)
    if not has_session:
        return
    with connection.cursor() as cursor:
        for statement in settings:
            cursor.execute(statement)
    connection.commit()
