"""Running a transaction again, as a whole, after failures that are known to pass by themselves."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final, TypeVar

from capsule_registry.database.driver_errors import (
    FAILURES,
    UnknownOutcomeError,
    raise_translated,
)
from capsule_registry.errors import OutcomeUnknownError, RegistryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from capsule_registry.database.address import Address

T = TypeVar("T")

#: How long a unit is run again after failures that are known to pass.
RETRY_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 0.005
_LONGEST_PAUSE_SECONDS: Final = 1.0


class Backoff:
    """A deadline, and pauses that grow, with full jitter so that nobody comes back together."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._longest = _FIRST_PAUSE_SECONDS

    def pause(self) -> bool:
        """Sleep a while and return `True`; past the deadline return `False` at once."""
        if time.monotonic() + self._longest > self._deadline:
            return False
        time.sleep(random.uniform(0, self._longest))  # noqa: S311 - nothing secret
        self._longest = min(2 * self._longest, _LONGEST_PAUSE_SECONDS)
        return True


def run_with_retries(
    work: Callable[[Connection], T],
    begin: Callable[[], AbstractContextManager[Connection]],
    is_passing: Callable[[BaseException], bool],
    address: Address,
    unsettled: UnknownOutcomeError | None = None,
) -> T:
    """
    Return *work* of a connection in the transaction that *begin* gives.

    It is run again, as a whole and in a new transaction, after failures that *is_passing*, and
    after a COMMIT that was not answered; as long as an outcome hangs on it, a server that is gone
    is waited for too.

    Args:
        work: What to do; after a COMMIT that was not answered it must look whether it was done.
        begin: Gives a connection in a transaction.
        is_passing: Returns whether a failure passes by itself.
        address: Of the database, for errors.
        unsettled: A COMMIT of before whose outcome *work* is to find out.

    Raises:
        OutcomeUnknownError: Until the deadline nobody could look what became of a COMMIT.
        CapsuleRegistryError: What a failure of the database is to our callers.
    """
    backoff = Backoff(RETRY_SECONDS)
    while True:
        try:
            with begin() as conn:
                return work(conn)
        except OutcomeUnknownError:  # It was looked up, and cannot be told.
            raise
        except (RegistryUnavailableError, *FAILURES) as error:
            if isinstance(error, UnknownOutcomeError):
                unsettled = error
            is_worthwhile = unsettled is not None or is_passing(error)
            if not (is_worthwhile and backoff.pause()):
                raise_translated(unsettled or error, address)
