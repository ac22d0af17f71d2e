"""
What can be looked up, said once.

A query names a table and the columns that must have given values. A scope answers it: from the live
tables by its statement, or from the history as it was at some revision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

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

from capsule_registry.schema.tables import capsules, leases, uplinks, uuid_mappings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

T = TypeVar("T")

#: How many values a statement is given at once.
BATCH: Final = 500
#: The columns that say in which order rows were registered.
ORDER: Final[dict[str, tuple[str, ...]]] = {
    capsules.name: ("registered_revision", "position"),
    uplinks.name: ("created_revision", "position"),
    uuid_mappings.name: ("created_revision", "position"),
    leases.name: ("opened_revision",),
}


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """
    Rows of `table` in a namespace whose columns `by` have the values of the parameters so named.

    A parameter of a column in `among` is a list, and the column has one of its values. Of capsules
    the registered ones alone. In order of registration, the first `limit` if that is set.
    """

    table: Table
    by: tuple[str, ...]
    statement: Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]
    among: tuple[str, ...] = ()
    limit: int | None = None
    #: Only what comes after the place `after_revision`, `after_position`, and at most `most` rows.
    is_page: bool = False
    #: Rows of capsules come with their manifests' format and text.
    with_manifest: bool = False


def matching(table: Table, by: Iterable[str], among: Iterable[str] = ()) -> ColumnElement[bool]:
    """Return the condition of a query."""
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
    Return a query for whole rows, or for some *columns* where no more is needed.

    Not *is_ordered*, the caller puts the rows in order: an index that has the order would tempt
    the database to walk the whole namespace instead of looking up what is asked for.
    """
    wanted = [table.c[name] for name in columns or table.c.keys()]
    statement = select(*wanted).where(matching(table, by, among)).limit(limit)
    if is_ordered:
        statement = statement.order_by(*(table.c[name] for name in ORDER[table.name]))
    return Query(table, by, statement, among, limit)


def page(table: Table, *by: str, columns: tuple[str, ...]) -> Query:
    """Return a query for some of the rows at a time, in order."""
    revision, position = (table.c[name] for name in ORDER[table.name])
    # Said so that each database walks the index from there on.
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


def counting(table: Table) -> Query:
    """Return a query for how many rows there are, as the column `count`."""
    statement = select(func.count().label("count")).select_from(table).where(matching(table, ()))
    return Query(table, (), statement)


def put_in_order(table: Table, rows: Iterable[Mapping[Any, Any]]) -> list[Mapping[Any, Any]]:
    """Return rows of *table* in the order in which they were registered."""
    return sorted(rows, key=lambda row: [row[name] for name in ORDER[table.name]])


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield *values* in parts that a statement takes."""
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]


def derived(table: Table, *by: str, among: tuple[str, ...] = ()) -> Query:
    """
    Return a query for rows that follow from manifests, with what tells of their capsules.

    The caller puts them in order (see `in_order`): ordered by the database, it would walk all
    capsules for a few rows.
    """
    of_capsule = and_(
        capsules.c.namespace == table.c.namespace, capsules.c.id == table.c.capsule_id
    )
    statement = select(
        table,
        capsules.c.registered_revision,
        capsules.c.position.label("capsule_position"),
        capsules.c.state,
        capsules.c.generation,
        capsules.c.registered_at,
    ).join(capsules, of_capsule)
    return Query(table, by, statement.where(matching(table, by, among)), among)


def in_order(rows: Iterable[Mapping[Any, Any]]) -> list[Mapping[Any, Any]]:
    """Return derived rows in the order of their capsules' registration, then of the manifest."""
    return sorted(
        rows,
        key=lambda row: (row["registered_revision"], row["capsule_position"], row["position"]),
    )
