"""Where something is read: a connection, a namespace, the live tables, and what time it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import select

from capsule_registry.database.dialects.expressions import DatabaseNow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult, Executable

    from capsule_registry.clocks import Clock, Moment
    from capsule_registry.unit_of_work.queries import Query

    Row = Mapping[Any, Any]

T = TypeVar("T")

_now = select(DatabaseNow())


class Reading(Protocol):
    """How a registry has something read: strictly, and not inside its own transaction."""

    def __call__(self, work: Callable[[Scope], T]) -> T:
        """Return *work* of a scope."""


class LookupScope(ABC):
    """What a lookup needs: what answers queries, for which namespace, and what tells the time."""

    __slots__ = ()
    namespace: str
    clock: Clock

    @abstractmethod
    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """Return the rows that *query* finds for *values*, in its order."""

    def row(self, query: Query, **values: Any) -> Row | None:  # noqa: ANN401 - bound values
        """Return the first row that *query* finds for *values*, or `None`."""
        found = self.rows(query, **values)
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Scope(LookupScope):
    """What a read needs besides: a connection."""

    conn: Connection
    namespace: str
    clock: Clock

    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """Return the rows that *query* finds for *values*, in its order."""
        values["namespace"] = self.namespace
        return self.execute(query.statement, values).mappings().all()

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Return what *statement* gives for *values*."""
        return self.conn.execute(statement, values)

    def scalar(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - any column's value
        """Return the first column of the first row, or `None`."""
        return self.execute(statement, values).scalar()

    def moment(self) -> Moment:
        """Return what time it is."""
        return self.clock.moment(self.scalar(_now))

    def count(self, query: Query) -> int:
        """Return the number that *query* (see `counting`) gives."""
        return int(self.rows(query)[0]["count"])
