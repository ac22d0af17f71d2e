"""Errors of a driver in place of a statement."""

from __future__ import annotations

from threading import Thread, current_thread, main_thread
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry import CapsuleRegistry
    from support.backends import Backend


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


class LostCommit:
    """Breaks the connection at the first COMMIT of a thread that is not the main one."""

    def __init__(
        self, registry: CapsuleRegistry, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not backend.lost:
            pytest.skip(f"{backend.name} loses no connection")
        self.error = backend.error(backend.lost[0])
        self.is_lost = False
        #: Whether it takes place before the connection breaks.
        self.took_place = True
        #: Whether the server is away from then on.
        self.is_away = False
        dialect: Any = registry._database.engine.dialect
        for name in ("do_commit", "do_execute"):
            monkeypatch.setattr(dialect, name, self._breaking(name, dialect))

    def _breaking(self, name: str, dialect: Any) -> Callable[..., None]:
        original, undo = getattr(dialect, name), dialect.do_rollback

        def step(*args: Any, **options: Any) -> None:
            if current_thread() is main_thread():
                original(*args, **options)
            elif name == "do_commit" and not self.is_lost:
                self.is_lost = True
                (original if self.took_place else undo)(*args)
                raise self.error
            elif self.is_lost and self.is_away:
                raise self.error
            else:
                original(*args, **options)

        return step
