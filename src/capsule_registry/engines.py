"""The engines of a database: one to write with, and one to read with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidRequestError, NoSuchModuleError, ProgrammingError

from capsule_registry.errors import InvalidDatabaseError, RegistryUnavailableError
from capsule_registry.sqlite_file import file_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Engine

    from capsule_registry.addresses import Address


#: The driver's rollback of a transaction that never was would be a second round trip.
_AUTOCOMMIT: Final = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}


def make_engines(
    address: Address, wanted: Mapping[str, Any], *, read_only: bool
) -> tuple[Engine, Engine]:
    """
    Return the engine that writes and the one that reads; for a file they are the same.

    Args:
        address: Of the database.
        wanted: Options of the caller's own, which win.
        read_only: The database is told to refuse whatever would write.

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
    settings = address.dialect.settings
    if read_only:
        settings += address.dialect.read_only_settings
    for engine in (writer, reader):
        event.listen(engine, "connect", _teller(settings))
    return writer, reader


def reading_by(engine: Engine, address: Address) -> Engine:
    """Return what reads through the pool of *engine*, in as few round trips as can be had."""
    if address.dialect.switches_autocommit_freely:
        return engine.execution_options(isolation_level="AUTOCOMMIT")
    return engine


def connect(engine: Engine, address: Address) -> Connection:
    """
    Return a connection of *engine*, and say in our words why if none can be made.

    Raises:
        InvalidDatabaseError: The driver does not know an option of the URL, or the server is of
            another make.
        RegistryUnavailableError: The server cannot be reached, or does not let us in without
            saying why in a code.
        DBAPIError: Anything that has a code.
    """
    try:
        return engine.connect()
    except DBAPIError as error:
        if address.dialect.fault(error) is not None:
            raise
        kind = (
            InvalidDatabaseError
            if isinstance(error, ProgrammingError)
            else RegistryUnavailableError
        )
        raise kind(str(address), str(error.orig).partition("\n")[0]) from error
    except (InvalidRequestError, TypeError, ValueError) as error:
        raise InvalidDatabaseError(str(address), str(error)) from error


def _make_engine(address: Address, options: Mapping[str, Any]) -> Engine:
    try:
        engine = create_engine(address.url, **options)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        reason = f"install capsule-registry[{address.dialect.name}] ({error})"
        raise InvalidDatabaseError(str(address), reason) from error
    if address.dialect.begin_write:
        event.listen(engine, "begin", _begin)
    return engine


def _begin(conn: Connection) -> None:
    """Begin as the caller asked: the driver itself would begin late, or not at all."""
    if statement := conn.get_execution_options().get("begin"):
        conn.exec_driver_sql(statement)


def _teller(settings: tuple[str, ...]) -> Callable[[Any, object], None]:
    """Return what tells a new connection of the driver *settings*."""

    def tell(connection: Any, record: object) -> None:  # noqa: ARG001, ANN401 - the driver's own
        with connection.cursor() as cursor:
            for statement in settings:
                cursor.execute(statement)
        connection.commit()

    return tell
