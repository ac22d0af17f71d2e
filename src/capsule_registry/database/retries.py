"""Running a transaction again, as a whole, after what is known to pass by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy.exc import DBAPIError

from capsule_registry.database.driver_errors import UnknownOutcomeError
from capsule_registry.database.patience import Patience
from capsule_registry.errors import OutcomeUnknownError, RegistryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

T = TypeVar("T")

#: How long a unit is run again after failures that are known to be passing.
RETRY_SECONDS: Final = 30.0


def persist(
    work: Callable[[Connection], T],
    begin: Callable[[], AbstractContextManager[Connection]],
    is_passing: Callable[[BaseException], bool],
    unsettled: UnknownOutcomeError | None,
) -> T:
    """
    Return *work* of a connection in the transaction that *begin* gives.

    Again and again after failures that are passing, and after a COMMIT that was not answered; as
    long as an outcome hangs on it, a server that is gone is waited for too.

    Raises:
        UnknownOutcomeError: Until the deadline nobody could look what became of a COMMIT.
    """
    patience = Patience(RETRY_SECONDS)
    while True:
        try:
            with begin() as conn:
                return work(conn)
        except OutcomeUnknownError:  # It was looked up, and cannot be told.
            raise
        except (DBAPIError, RegistryUnavailableError, UnknownOutcomeError) as error:
            if isinstance(error, UnknownOutcomeError):
                unsettled = error
            if (unsettled is not None or is_passing(error)) and patience.pause():
                continue
            if unsettled is None:
                raise
            raise unsettled from unsettled.__cause__
