"""What a failure of the database becomes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from capsule_registry.database.dialects.known import dialect_named
from capsule_registry.errors import (
    CapsuleRegistryError,
    HistoryCorruptError,
    InvalidDatabaseError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RegistryUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from capsule_registry.database.address import Address
    from capsule_registry.database.dialects.dialect import Fault

#: The error that each kind of failure becomes.
_ERRORS: Final[dict[Fault, type[CapsuleRegistryError]]] = {
    "busy": RegistryUnavailableError,
    "corrupt": HistoryCorruptError,
    "lost": RegistryUnavailableError,
    "not_a_database": InvalidDatabaseError,
    "permission": PermissionDeniedError,
    "unavailable": RegistryUnavailableError,
    "unparsed": RegistryUnavailableError,
}


class UnknownOutcomeError(Exception):
    """The connection broke at COMMIT: whoever holds the unit's `request_id` must look it up."""


class UnconnectedError(RegistryUnavailableError):
    """No connection could be made, so nothing was done."""


#: What `raise_translated` translates.
FAILURES: Final = (DBAPIError, PoolTimeoutError, UnconnectedError, UnknownOutcomeError)


def raise_translated(error: Exception, address: Address) -> NoReturn:
    """Raise the error of ours that *error*, one of `FAILURES`, is; a bug is raised as it is."""
    match error:
        case PoolTimeoutError():
            reason = "no connection became free in time"
            raise RegistryUnavailableError(str(address), reason) from error
        case UnconnectedError():
            raise RegistryUnavailableError(str(address), error.reason) from error.__cause__
        case UnknownOutcomeError():
            reason = "the connection broke at COMMIT, and it is not known whether it took place"
            raise OutcomeUnknownError(str(address), reason) from error
        case DBAPIError() if (failure := translated(error, address)) is not error:
            raise failure from error
        case _:
            raise error


@contextmanager
def translating(address: Address) -> Iterator[None]:
    """Turn a failure of the database at *address* into an error of ours; let a bug through."""
    try:
        yield
    except FAILURES as error:
        raise_translated(error, address)


def translated(error: DBAPIError, address: Address) -> Exception:
    """Return the error of ours that *error* is, or *error* itself if that is a bug."""
    fault = address.dialect.fault(error)
    if fault is None:
        return error
    return _ERRORS[fault](str(address), str(error.orig).partition("\n")[0])


def fault_of(error: DBAPIError, name: str) -> Fault | None:
    """Return what kind of failure *error* is on the dialect of SQLAlchemy's called *name*."""
    dialect = dialect_named(name)
    return None if dialect is None else dialect.fault(error)


def wrap(error: Any, engine: Engine, connection: object = None) -> DBAPIError:  # noqa: ANN401 - the driver's own
    """Return *error* of the driver, raised on *connection* if on any, as SQLAlchemy would."""
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
