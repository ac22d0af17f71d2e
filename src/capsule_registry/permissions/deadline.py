"""Decisions in time: what cannot be decided, or comes too late, is denied."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from capsule_registry.errors import InvalidDatabaseError, RegistryUnavailableError
from capsule_registry.permissions.checks import Decision, denial
from capsule_registry.permissions.fault_log import CHECK_FAULTS
from capsule_registry.permissions.judgement import DecisionReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from capsule_registry.permissions.checks import Decided


def decided_in_time(
    decide: Callable[[float], Sequence[Decided]], senders: Sequence[object], timeout: timedelta
) -> list[Decision]:
    """
    Return the decisions that *decide* makes, each for one of *senders*.

    Args:
        decide: Called with the seconds that there are.
        senders: The UUIDs that ask, to log what denies them.
        timeout: Later than this, all are denied.

    Raises:
        RegistryUnavailableError: The database could not be reached, within the timeout.
        InvalidDatabaseError: Nobody can be asked.
    """
    began, seconds = time.monotonic(), timeout.total_seconds()
    try:
        found = decide(seconds)
    except InvalidDatabaseError:
        raise
    except RegistryUnavailableError:
        if time.monotonic() - began < seconds:
            raise
        return [too_late()] * len(senders)
    except CHECK_FAULTS as fault:  # On the way to the rows, or translated on the way back.
        found = [fault] * len(senders)
    decisions = [
        one if isinstance(one, Decision) else denial(one, sender)
        for one, sender in zip(found, senders, strict=True)
    ]
    if time.monotonic() - began > seconds:
        return [too_late(one.revision) for one in decisions]
    return decisions


def too_late(revision: int | None = None) -> Decision:
    """Return the denial in place of a decision as of *revision* that came after the timeout."""
    return Decision(allowed=False, why=DecisionReason.TOO_LATE, revision=revision)
