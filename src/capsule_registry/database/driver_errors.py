"""What becomes of a failure of the database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from capsule_registry.database.dialects.faults import ERRORS
from capsule_registry.errors import OutcomeUnknownError, RegistryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Transaction

    from capsule_registry.database.address import Address
    from capsule_registry.database.dialects.dialect import Dialect


class UnknownOutcomeError(Exception):
    """The connection broke at COMMIT: whoever holds the unit's `request_id` must look it up."""


class UnconnectedError(RegistryUnavailableError):
    """No connection could be made, so nothing was done."""


@contextmanager
def translating(address: Address) -> Iterator[None]:
    """Turn a failure of the database at *address* into an error of ours; let a bug through."""
    try:
        yield
    except PoolTimeoutError as error:
        reason = "no connection became free in time"
        raise RegistryUnavailableError(str(address), reason) from error
    except UnconnectedError as error:
        raise RegistryUnavailableError(str(address), error.reason) from error.__cause__
    except UnknownOutcomeError as error:
        reason = "the connection broke at COMMIT, and it is not known whether it took place"
        raise OutcomeUnknownError(str(address), reason) from error
    except DBAPIError as error:
        failure = translated(error, address)
        if failure is error:
            raise
        raise failure from error


def translated(error: DBAPIError, address: Address) -> Exception:
    """Return the error of ours that *error* is, or *error* itself if that is a bug."""
    fault = address.dialect.fault(error)
    if fault is None:
        return error
    return ERRORS[fault](str(address), str(error.orig).partition("\n")[0])


def commit(transaction: Transaction, dialect: Dialect) -> None:
    """
    Commit *transaction*.

    Raises:
        UnknownOutcomeError: The connection broke, and nobody knows whether it took place.
    """
    try:
        transaction.commit()
    except DBAPIError as error:
        if dialect.fault(error) == "lost":
            raise UnknownOutcomeError from error
        raise
