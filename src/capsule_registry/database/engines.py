"""The SQLAlchemy engines of a database: one for writes and one for reads."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from capsule_registry.database.dialects.sqlite_connections import connect_to_look, file_options
from capsule_registry.database.dialects.sqlite_library import sqlite_module
from capsule_registry.database.dialects.sqlite_still import require_current
from capsule_registry.database.driver_errors import UnconnectedError, fault_of
from capsule_registry.database.hosts import Hosts
from capsule_registry.database.refused_options import MISUNDERSTOOD, misunderstood
from capsule_registry.database.steady_pool import MemoryPool, SteadyPool
from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

    from capsule_registry.database.address import Address
    from capsule_registry.database.dialects.sqlite_connections import FileConnector

#: Without a transaction, the driver's rollback would be a wasted round trip.
_AUTOCOMMIT: Final = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
#: Guards against two threads importing the same dialect at once.
_loading: Final = Lock()


def make_file_engine(
    address: Address, files: FileConnector | None, wanted: Mapping[str, Any]
) -> Engine:
    """Return the engine of a file, connected to by *files*, or of a database in memory."""
    options = _options(address) | ({} if files else {"poolclass": MemoryPool})
    engine = _make_engine(address, {**options, **file_options(files), **wanted})
    event.listen(engine, "close", _forget)
    event.listen(engine, "checkout", require_current)
    return engine


def make_engines(
    address: Address, wanted: Mapping[str, Any], *, may_be_behind: bool
) -> tuple[Engine, Engine]:
    """
    Return the engine of a server for writes and the one for reads.

    Args:
        address: The address of the database.
        wanted: Engine options of the caller, which take precedence.
        may_be_behind: Accept a server that may lag, such as a standby.

    Raises:
        InvalidDatabaseError: The driver is not installed.
    """
    options = {**_options(address), **wanted}
    writer = _make_engine(address, options)
    reader = _make_engine(address, {**options, **_AUTOCOMMIT})
    hosts = () if address.dialect.driver_takes_hosts else address.hosts
    connector = Hosts(hosts, partial(_greet, address, may_be_behind=may_be_behind))
    for engine in (writer, reader):
        connector.serve(engine)
    return writer, reader


def _forget(connection: object, record: ConnectionPoolEntry) -> None:  # noqa: ARG001 - SQLAlchemy's own
    """Drop what is known of a connection, such as a map that keeps a descriptor open."""
    record.info.clear()


def looking_engine(address: Address, file: Path) -> Engine:
    """Return an engine whose connections read *file*, and leave it as it is."""
    options = {"module": sqlite_module, "poolclass": NullPool, "hide_parameters": True}
    return _make_engine(address, {**options, "creator": partial(connect_to_look, file)})


def _options(address: Address) -> dict[str, Any]:
    return {"hide_parameters": True, "poolclass": SteadyPool, **address.dialect.engine_options}


def reading_by(engine: Engine, address: Address) -> Engine:
    """Return an engine for reads that shares the pool of *engine*, with the fewest round trips."""
    if address.dialect.switches_autocommit_freely:
        return engine.execution_options(isolation_level="AUTOCOMMIT")
    return engine


def _make_engine(address: Address, options: Mapping[str, Any]) -> Engine:
    failure: InvalidDatabaseError | None = None
    try:
        with _loading:
            engine = create_engine(address.url, **options)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        reason = f"install capsule-registry[{address.dialect.name}] ({error})"
        raise InvalidDatabaseError(str(address), reason) from error
    except (ArgumentError, *MISUNDERSTOOD) as error:
        if not address.url.query:  # The caller's own engine options, then.
            raise
        failure = misunderstood(address, error)
    if failure is not None:  # Not chained: the driver's error has the value of the option.
        raise failure
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
    address: Address,
    connection: Any,  # noqa: ANN401 - the driver's own
    *,
    may_be_behind: bool,
) -> bool:
    """Prepare a new connection; return whether it has a session of its own."""
    has_session = address.dialect.greet(connection)
    if not may_be_behind:
        reason = address.dialect.outdated(connection)
        connection.rollback()
        if reason:
            raise UnconnectedError(str(address), reason)
    return has_session
