"""Errors of a driver in place of a statement."""

from __future__ import annotations

from threading import Thread, current_thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from capsule_registry import CapsuleRegistry


class Injection:
    """Raises an error in place of one statement of the writing pool, or of its COMMIT."""

    def __init__(self, registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        #: The threads whose statements neither count nor fail.
        self.spared: list[Thread] = []
        self._at: int | None = None
        self._error: Exception | None = None
        database = registry._database
        for dialect in {database.engine.dialect, database.reader.dialect}:
            for name in ("do_execute", "do_execute_no_params", "do_executemany", "do_commit"):
                monkeypatch.setattr(dialect, name, self._counting(getattr(dialect, name)))

    def arm(self, error: Exception, at: int) -> None:
        """Raise *error* once, at step number *at* from now on."""
        self.count, self._at, self._error = 0, at, error

    @property
    def is_spent(self) -> bool:
        return self._error is None

    def _counting(self, original: Callable[..., None]) -> Callable[..., None]:
        def step(*args: Any, **options: Any) -> None:
            is_counted = "DISCARD PLANS" not in args  # It is sent now and then alone.
            if is_counted and current_thread() not in self.spared:
                self.count += 1
                if self._error is not None and self.count - 1 == self._at:
                    error, self._error = self._error, None
                    raise error
            original(*args, **options)

        return step
