"""Statements sent to a database, by SQLAlchemy or by the driver itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine


def watch_statements(engine: Engine, look: Callable[[Any, str, Any], object]) -> None:
    """Call *look* with cursor, statement and parameters before each statement of *engine*."""
    dialect: Any = engine.dialect
    for name in ("do_execute", "do_executemany"):
        original = getattr(dialect, name)

        def watched(
            cursor: Any, statement: str, parameters: Any, *context: Any, original: Any = original
        ) -> None:
            look(cursor, statement, parameters)
            original(cursor, statement, parameters, *context)

        setattr(dialect, name, watched)
