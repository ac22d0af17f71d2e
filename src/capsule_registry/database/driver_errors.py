"""Translation of database failures into the library's errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from capsule_registry.database.dialects.known import dialect_named
from capsule_registry.errors import (
    CapsuleRegistryError,
    HistoryCorruptError,
    InvalidDatabaseError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RegistryUnavailableError,
    UnexpectedDatabaseError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from capsule_registry.database.address import Address
    from capsule_registry.database.dialects.dialect import Fault

_ERRORS: Final[dict[Fault, type[CapsuleRegistryError]]] = {
    "busy": RegistryUnavailableError,
    "corrupt": HistoryCorruptError,
    "invalid": InvalidDatabaseError,
    "lost": RegistryUnavailableError,
    "permission": PermissionDeniedError,
    "unavailable": RegistryUnavailableError,
    "unparsed": RegistryUnavailableError,
}


class UnknownOutcomeError(Exception):
    """The connection broke at COMMIT; the unit's `request_id` must be looked up."""


class UnconnectedError(RegistryUnavailableError):
    """No connection could be made, so nothing was done."""


#: The exceptions that `raise_translated` translates.
FAILURES: Final = (
    *(DBAPIError, PendingRollbackError, PoolTimeoutError, UnconnectedError, UnknownOutcomeError),
)


def raise_translated(error: Exception, address: Address) -> NoReturn:
    """Raise the library's error for *error*, one of `FAILURES`."""
    match error:
        case PoolTimeoutError():
            reason = "no connection became free in time"
            raise RegistryUnavailableError(str(address), reason) from error
        case PendingRollbackError():
            reason = "the connection was lost earlier in this transaction"
            raise RegistryUnavailableError(str(address), reason) from error
        case UnconnectedError():
            raise RegistryUnavailableError(str(address), error.reason) from error.__cause__
        case UnknownOutcomeError():
            reason = "the connection broke at COMMIT, and it is not known whether it took place"
            raise OutcomeUnknownError(str(address), reason) from error
        case DBAPIError():
            raise translated(error, address) from error
        case _:
            raise error


@contextmanager
def translating(address: Address) -> Iterator[None]:
    """Translate failures of the database at *address*."""
    try:
        yield
    except FAILURES as error:
        raise_translated(error, address)


def translated(error: DBAPIError, address: Address) -> CapsuleRegistryError:
    """Return the library's error for *error*: whatever no table knows is unexpected."""
    fault, code = address.dialect.fault(error), address.dialect.code(error)
    redact(error, address)
    reason = first_line(error)
    if fault == "unexpected":
        return UnexpectedDatabaseError(str(address), code, reason)
    return _ERRORS[fault](str(address), reason)


def redact(error: Exception, address: Address) -> None:
    """Take out of *error* and the driver's own what *address* does not show; servers quote it."""
    for one in (error, getattr(error, "orig", None)):
        if one is not None:
            one.args = tuple(
                address.redacted(said) if isinstance(said, str) else said for said in one.args
            )


def first_line(error: DBAPIError) -> str:
    """Return what the driver says of *error*, without the details of further lines."""
    return str(error.orig).partition("\n")[0]


def fault_of(error: DBAPIError, name: str) -> Fault | None:
    """Return the kind of *error* on the SQLAlchemy dialect *name*; `None` if that is not ours."""
    dialect = dialect_named(name)
    return None if dialect is None else dialect.fault(error)


@contextmanager
def wrapping(conn: Connection) -> Iterator[None]:
    """Raise as `DBAPIError` what SQLAlchemy lets through: errors in setting an isolation level."""
    try:
        yield
    except conn.dialect.loaded_dbapi.Error as error:
        wrapped = wrap(error, conn.engine, conn.connection)
        conn.invalidate(error)
        raise wrapped from error


def wrap(error: Any, engine: Engine, connection: object = None) -> DBAPIError:  # noqa: ANN401 - the driver's own
    """Wrap a driver *error*, raised on *connection* if any, in `DBAPIError` as SQLAlchemy does."""
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
    found.connection_invalidated |= fault_of(found, dialect.name) == "lost"
    return found
