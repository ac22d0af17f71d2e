"""Retrying a whole transaction after transient failures."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

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
    from capsule_registry.database.measures import Measures

T = TypeVar("T")

#: How long a unit is retried after transient failures.
RETRY_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 0.005
_LONGEST_PAUSE_SECONDS: Final = 1.0


class Backoff:
    """Exponential backoff with full jitter, up to a deadline."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._longest = _FIRST_PAUSE_SECONDS

    def pause(self) -> bool:
        """Sleep and return `True`; return `False` at once if the deadline would pass."""
        if time.monotonic() + self._longest > self._deadline:
            return False
        time.sleep(random.uniform(0, self._longest))  # noqa: S311 - nothing secret
        self._longest = min(2 * self._longest, _LONGEST_PAUSE_SECONDS)
        return True


class Retried(Protocol):
    """A database on which transactions are retried."""

    address: Address
    measures: Measures

    def is_passing(self, error: BaseException | None) -> bool:
        """Return whether *error* is a transient failure."""


def run_with_retries(
    work: Callable[[Connection], T],
    begin: Callable[[], AbstractContextManager[Connection]],
    database: Retried,
    unsettled: UnknownOutcomeError | None = None,
) -> T:
    """
    Return the result of *work* in a transaction, with retries.

    *work* is retried as a whole, in a new transaction, after transient failures and after a COMMIT
    whose outcome is unknown; until that is known, an unreachable server is retried too.

    Args:
        work: What to run; after a COMMIT of unknown outcome it must check whether that took place.
        begin: Returns a connection in a transaction.
        database: Tells which failures are transient, and counts retries.
        unsettled: An earlier COMMIT whose outcome *work* determines.

    Raises:
        OutcomeUnknownError: The outcome of a COMMIT could not be determined by the deadline.
        CapsuleRegistryError: Another failure of the database, translated.
    """
    backoff = Backoff(RETRY_SECONDS)
    while True:
        try:
            with begin() as conn:
                return work(conn)
        except OutcomeUnknownError:  # The lookup itself could not tell.
            raise
        except (RegistryUnavailableError, *FAILURES) as error:
            if isinstance(error, UnknownOutcomeError):
                unsettled = error
            is_worthwhile = unsettled is not None or database.is_passing(error)
            if not (is_worthwhile and backoff.pause()):
                raise_translated(unsettled or error, database.address)
        database.measures.retry()
