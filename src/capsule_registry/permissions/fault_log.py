"""Faults that deny: each is logged, but not on every message."""

from __future__ import annotations

import logging
import time
from threading import Lock
from typing import Final

from capsule_registry.schema.row_images import UNREADABLE

#: What denies where it is raised while deciding: rows that cannot be read, or a bug of ours.
FAULTS: Final = (*UNREADABLE, AttributeError, KeyError)
#: The same fault of the same subject is logged again after so long.
_INTERVAL_SECONDS: Final = 60.0
_MAX_SUBJECTS: Final = 1_000

_logger: Final = logging.getLogger("capsule_registry")
_lock: Final = Lock()
#: When a fault was logged last, by kind and subject.
_logged: Final[dict[tuple[str, str], float]] = {}


def log_denial(fault: Exception, subject: object) -> None:
    """
    Log at WARNING that *fault* denied what *subject* asked, unless that was logged a minute ago.

    Args:
        fault: With its traceback.
        subject: Whom it was about: a session UUID, or a capsule.
    """
    key, now = (type(fault).__name__, str(subject)), time.monotonic()
    with _lock:
        if now - _logged.get(key, -_INTERVAL_SECONDS) < _INTERVAL_SECONDS:
            return
        if len(_logged) >= _MAX_SUBJECTS:
            _logged.clear()
        _logged[key] = now
    fields = {"subject": key[1]}
    _logger.warning("Denied for a fault: %s", fault or key[0], exc_info=fault, extra=fields)
