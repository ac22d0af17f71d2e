"""Where something is read: a connection, a namespace, and the live tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection

    from capsule_registry.queries import Query

    Row = Mapping[Any, Any]

T = TypeVar("T")


class Reading(Protocol):
    """How a registry has something read: strictly, and not inside its own transaction."""

    def __call__(self, work: Callable[[Scope], T]) -> T:
        """Return *work* of a scope."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a read needs: a connection, and the namespace to read."""

    conn: Connection
    namespace: str

    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """Return the rows that *query* finds for *values*, in its order."""
        values["namespace"] = self.namespace
        return self.conn.execute(query.statement, values).mappings().all()

    def row(self, query: Query, **values: Any) -> Row | None:  # noqa: ANN401 - bound values
        """Return the first row that *query* finds for *values*, or `None`."""
        found = self.rows(query, **values)
        return found[0] if found else None

    def count(self, query: Query) -> int:
        """Return the number that *query* (see `counting`) gives."""
        return int(self.rows(query)[0]["count"])
