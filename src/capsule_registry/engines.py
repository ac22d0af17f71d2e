"""The engines of a database: one to write with, and one to read with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.exc import NoSuchModuleError

from capsule_registry.errors import InvalidDatabaseError
from capsule_registry.sqlite_file import file_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Engine

    from capsule_registry.addresses import Address


def make_engines(
    address: Address, wanted: Mapping[str, Any], *, read_only: bool
) -> tuple[Engine, Engine]:
    """
    Return the engine that writes and the one that reads; for a file they are the same.

    Args:
        address: Of the database.
        wanted: Options of the caller's own, which win.
        read_only: A file is opened so that nothing can be written.

    Raises:
        InvalidDatabaseError: The driver is not installed.
    """
    options: dict[str, Any] = {"hide_parameters": True, **address.dialect.engine_options}
    if address.dialect.upgrades_itself:
        engine = _make_engine(
            address, {**options, **file_options(address.file, read_only=read_only), **wanted}
        )
        return engine, engine
    options |= wanted
    reader = _make_engine(address, {**options, "isolation_level": "AUTOCOMMIT"})
    return _make_engine(address, options), reader


def _make_engine(address: Address, options: Mapping[str, Any]) -> Engine:
    try:
        engine = create_engine(address.url, **options)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        reason = f"install capsule-registry[{address.dialect.name}] ({error})"
        raise InvalidDatabaseError(str(address), reason) from error
    if address.dialect.settings:
        event.listen(engine, "connect", _teller(address.dialect.settings))
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
