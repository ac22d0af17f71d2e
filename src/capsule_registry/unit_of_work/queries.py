"""
Queries, each defined once, and the scopes that answer them.

A query names a table and the columns that must have given values. A scope answers it: from the live
tables by the query's statement, or from the history as of some revision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    func,
    or_,
    select,
)

from capsule_registry.database.dialects.expressions import DatabaseNow
from capsule_registry.schema.tables import capsules, leases, uplinks, uuid_mappings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult, Executable

    from capsule_registry.clocks import Clock, Moment
    from capsule_registry.unit_of_work.high_water_mark import HighWaterMark

    Row = Mapping[Any, Any]

P = ParamSpec("P")
T = TypeVar("T")

#: The columns that give the order of registration.
ORDER: Final[dict[str, tuple[str, ...]]] = {
    capsules.name: ("registered_revision", "position"),
    uplinks.name: ("created_revision", "position"),
    uuid_mappings.name: ("created_revision", "position"),
    leases.name: ("opened_revision",),
}
_now = select(DatabaseNow())


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """
    The rows of `table` in a namespace whose columns `by` equal the parameters of the same names.

    A parameter of a column in `among` is a list, and the column must equal one of its values. Only
    registered capsules count. Rows come in order of registration, the first `limit` if set.
    """

    table: Table
    by: tuple[str, ...]
    statement: Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]
    among: tuple[str, ...] = ()
    limit: int | None = None
    #: Only rows after (`after_revision`, `after_position`), and at most `most` of them.
    is_page: bool = False
    #: Rows of capsules include the format and text of their manifests.
    with_manifest: bool = False
    #: There is always a row, and each includes the head of the namespace.
    with_head: bool = False
    #: By table, the columns that must have the values of which parameters: rows that are inserted
    #: in a unit change the answer only if they have these too. `None`: any row may.
    found_by: Mapping[Table, Mapping[str, str]] | None = None
    #: Returns the same rows by simpler queries, for scopes that cannot run the statement's joins.
    in_parts: Callable[..., Sequence[Row]] | None = None


def matching(table: Table, by: Iterable[str], among: Iterable[str] = ()) -> ColumnElement[bool]:
    """Return the WHERE condition of a query."""
    conditions = [table.c.namespace == bindparam("namespace")]
    conditions += [table.c[name] == bindparam(name) for name in by]
    conditions += [table.c[name].in_(bindparam(name, expanding=True)) for name in among]
    if table is capsules:
        conditions.append(capsules.c.registered_revision.is_not(None))
    return and_(*conditions)


def query(
    table: Table,
    *by: str,
    among: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    limit: int | None = None,
    is_ordered: bool = True,
) -> Query:
    """
    Return a query for whole rows, or for some *columns*.

    If not *is_ordered*, the caller sorts the rows: an index in that order would tempt the database
    to walk the whole namespace instead of looking up the few rows wanted.
    """
    wanted = [table.c[name] for name in columns or table.c.keys()]
    statement = select(*wanted).where(matching(table, by, among)).limit(limit)
    if is_ordered:
        statement = statement.order_by(*(table.c[name] for name in ORDER[table.name]))
    return Query(table, by, statement, among, limit, found_by=rows_by(table, *by, *among))


def rows_by(table: Table, *names: str) -> Mapping[Table, Mapping[str, str]]:
    """Return that rows of *table* are found by the columns of the parameters' *names*."""
    # What the database computes is not in rows that are to be inserted.
    return {table: {name: name for name in names if table.c[name].computed is None}}


def page(table: Table, *by: str, columns: tuple[str, ...]) -> Query:
    """Return a query for one page of rows, in order."""
    revision, position = (table.c[name] for name in ORDER[table.name])
    # Written so that each database walks the index from there on.
    is_after = and_(
        revision >= bindparam("after_revision"),
        or_(revision > bindparam("after_revision"), position > bindparam("after_position")),
    )
    statement = (
        select(*(table.c[name] for name in columns))
        .where(matching(table, by), is_after)
        .order_by(revision, position)
        .limit(bindparam("most", type_=Integer))
    )
    return Query(table, by, statement, is_page=True)


def counting(table: Table, *by: str) -> Query:
    """Return a query for the number of rows, as the column `count`."""
    statement = select(func.count().label("count")).select_from(table).where(matching(table, by))
    return Query(table, by, statement)


def derived(table: Table, *by: str, among: tuple[str, ...] = ()) -> Query:
    """
    Return a query for rows derived from manifests, with the order and state of their capsules.

    The caller sorts them (see `in_order`): to sort a few rows itself, the database would walk all
    capsules.
    """
    of_capsule = and_(
        capsules.c.namespace == table.c.namespace, capsules.c.id == table.c.capsule_id
    )
    if "generation" in table.c:  # What another generation declared does not count.
        of_capsule = and_(of_capsule, capsules.c.generation == table.c.generation)
    statement = select(
        table,
        capsules.c.registered_revision,
        capsules.c.position.label("capsule_position"),
        capsules.c.state,
        capsules.c.generation,
        capsules.c.registered_at,
        capsules.c.rules,
    ).join(capsules, of_capsule)
    return Query(table, by, statement.where(matching(table, by, among)), among)


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return derived rows in the order of their capsules' registration, then of the manifest."""
    return sorted(
        rows,
        key=lambda row: (row["registered_revision"], row["capsule_position"], row["position"]),
    )


def put_in_order(table: Table, rows: Iterable[Row]) -> list[Row]:
    """Return rows of *table* in order of registration."""
    return sorted(rows, key=lambda row: [row[name] for name in ORDER[table.name]])


class LookupScope(ABC):
    """What a lookup needs: answers to queries on one namespace, and a clock."""

    __slots__ = ()
    namespace: str
    clock: Clock
    #: Refuses answers from behind the latest head seen; `None` for scopes that may be behind.
    seen: HighWaterMark | None

    @abstractmethod
    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """Return the rows that *query* finds for *values*, in its order."""

    def row(self, query: Query, **values: Any) -> Row | None:  # noqa: ANN401 - bound values
        """Return the first row that *query* finds for *values*, or `None`."""
        found = self.rows(query, **values)
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Scope(LookupScope):
    """The live tables of one namespace, on a connection."""

    conn: Connection
    namespace: str
    clock: Clock
    seen: HighWaterMark | None = field(default=None, kw_only=True)

    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """Return the rows that *query* finds for *values*, in its order."""
        values["namespace"] = self.namespace
        return self.conn.execute(query.statement, values).mappings().all()

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run *statement* with *values*."""
        return self.conn.execute(statement, values)

    def scalar(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - any column's value
        """Return the first column of the first row, or `None`."""
        return self.execute(statement, values).scalar()

    def moment(self) -> Moment:
        """Return the current time."""
        return self.clock.moment(self.scalar(_now))

    def count(self, query: Query, **values: Any) -> int:  # noqa: ANN401 - bound values
        """Return the number of rows by *query*, which `counting` made."""
        return int(self.rows(query, **values)[0]["count"])


class Reading(Protocol):
    """How a registry reads: strictly, and not inside its own transaction."""

    def __call__(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `work(scope, *args, **kwargs)`."""
