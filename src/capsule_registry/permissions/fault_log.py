"""Logging of faults that deny a check: each is logged, but not on every message."""

from __future__ import annotations

import logging
import time
from typing import Final
from uuid import UUID

from capsule_registry.identifiers import CapsuleId
from capsule_registry.schema.row_images import UNREADABLE

#: What denies if raised while deciding: unreadable rows, or a bug of ours.
CHECK_FAULTS: Final = (*UNREADABLE, AttributeError, IndexError, KeyError)
#: The time after which the same fault of the same subject is logged again.
_INTERVAL_SECONDS: Final = 60.0
#: At most so many denials are logged in that time, so that one fault of all does not flood the log.
_MAX_LOGGED: Final = 100
_LONGEST_NAME: Final = 64

_logger: Final = logging.getLogger("capsule_registry")
#: When a fault was last logged, by type and subject. No lock, which a fork could leave held: two
#: threads at once may log the same fault twice.
_logged: Final[dict[tuple[str, str], float]] = {}


def log_denial(fault: Exception, subject: object) -> None:
    """
    Log at WARNING that *fault* denied *subject*, unless that was logged in the last minute.

    Args:
        fault: Logged with its traceback.
        subject: The sender's UUID, or the capsule; anything else is named by its type.
    """
    key, now = (type(fault).__name__, _name_of(subject)), time.monotonic()
    if now - _logged.get(key, -_INTERVAL_SECONDS) < _INTERVAL_SECONDS:
        return
    if len(_logged) >= _MAX_LOGGED:
        if now - next(iter(_logged.values())) < _INTERVAL_SECONDS:
            return
        _logged.clear()
    _logged[key] = now
    fields = {"subject": key[1]}
    _logger.warning("Denied for a fault: %s", fault, exc_info=fault, extra=fields)


def _name_of(subject: object) -> str:
    # Untrusted objects may be huge, and their `__str__` may do anything.
    if type(subject) in (UUID, CapsuleId, str):
        return str(subject)[:_LONGEST_NAME]
    return type(subject).__name__
