"""
Which keys exist: asked by one query for several tables, and ahead for the units of a batch.

What was asked ahead stays true, since nobody else writes while the head is locked, and rows that
are inserted are noted. A deletion, which may cascade, makes all be asked again.
"""

from __future__ import annotations

from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import String, literal_column, union_all

from capsule_registry.database.dialects.dialect import existing_keys
from capsule_registry.schema.row_images import SUBJECTS
from capsule_registry.schema.tables import capsules, manifests, uplinks, uuid_mappings
from capsule_registry.unit_of_work.prepared_statements import batches
from capsule_registry.unit_of_work.queries import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, Table

    from capsule_registry.database.dialects.dialect import Dialect, ExistingKeys
    from capsule_registry.unit_of_work.queries import Row

    #: Keys of rows that may exist, by table.
    Keys = Mapping[Table, Collection[Any]]
    #: Returns the rows that a query finds for values.
    Ask = Callable[..., Iterable[Row]]

P = ParamSpec("P")
T = TypeVar("T")

#: The columns of the keys that are asked for, and the names of their tables, for SQL.
_KEYS: Final[Mapping[Table, Column[Any]]] = {
    capsules: SUBJECTS[capsules],
    manifests: manifests.c.digest,
    uplinks: SUBJECTS[uplinks],
    uuid_mappings: SUBJECTS[uuid_mappings],
}
_NAMES: Final[Mapping[Table, ColumnElement[str]]] = {
    capsules: literal_column("'capsules'", String),
    manifests: literal_column("'manifests'", String),
    uplinks: literal_column("'uplinks'", String),
    uuid_mappings: literal_column("'uuid_mappings'", String),
}
_TABLES: Final = {table.name: table for table in _KEYS}
_READERS: Final[Mapping[Table, Callable[[str], Any]]] = {uplinks: UUID, uuid_mappings: UUID}
#: So many keys are asked for in the same way on every database.
_FEW: Final = 4
#: By function: returns, given its arguments, the keys it will ask for.
_ASKED: Final[dict[Callable[..., object], Callable[..., Keys]]] = {}


class KnownKeys:
    """Which keys exist, as far as was asked ahead in one transaction."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._known: dict[Table, dict[Any, bool]] = {table: {} for table in _KEYS}

    def ask_ahead(self, wanted: Keys, ask: Ask) -> None:
        """Ask which of *wanted* exist, and remember it."""
        existing = self._find(wanted, ask)
        for table, keys in wanted.items():
            self._known[table] = {key: key in existing[table] for key in keys}

    def find(self, wanted: Keys, ask: Ask) -> Mapping[Table, set[Any]]:
        """Return those of *wanted* that exist; *ask* returns the rows of a query."""
        known = self._known
        unknown = {
            table: [key for key in keys if key not in known[table]]
            for table, keys in wanted.items()
        }
        found = self._find(unknown, ask)
        for table, keys in wanted.items():
            found[table].update(key for key in keys if known[table].get(key))
        return found

    def _find(self, wanted: Keys, ask: Ask) -> dict[Table, set[Any]]:
        found: dict[Table, set[Any]] = {table: set() for table in wanted}
        asked = {table: [*keys] for table, keys in wanted.items() if keys}
        are_many = any(len(keys) > _FEW for keys in asked.values())
        select_existing = self._dialect.existing_keys if are_many else existing_keys
        for some in zip_longest(*map(batches, asked.values()), fillvalue=()):
            values = dict(zip((table.name for table in asked), some, strict=True))
            for row in ask(_existing(tuple(asked), select_existing), **values):
                table = _TABLES[row["kind"]]
                read = _READERS.get(table)
                found[table].add(read(row["key"]) if read else row["key"])
        return found

    def note(self, table: Table, rows: Sequence[Row]) -> None:
        """Note that *rows* are inserted."""
        if table in _KEYS and (known := self._known[table]):
            name = _KEYS[table].name
            known |= {row[name]: True for row in rows if row[name] in known}

    def drop(self, table: Table, rows: Sequence[Row]) -> None:
        """Ask again for the keys of *rows*, which are not inserted after all."""
        if table in _KEYS:
            for row in rows:
                self._known[table].pop(row[_KEYS[table].name], None)

    def forget(self) -> None:
        """Ask for every key again."""
        for known in self._known.values():
            known.clear()


def asking(
    keys: Callable[..., Keys],
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark work on a unit with what returns, given its arguments, the keys it will ask for."""

    def mark(work: Callable[P, T]) -> Callable[P, T]:
        _ASKED[work] = keys
        return work

    return mark


def keys_of(work: Callable[..., object], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Keys:
    """Return the keys for which *work*, called with a unit and these arguments, will ask."""
    keys = _ASKED.get(getattr(work, "__func__", work))
    return {} if keys is None else keys(*args, **kwargs)


def merged(many: Iterable[Keys]) -> Keys:
    """Return all keys of *many*."""
    found: dict[Table, dict[Any, None]] = {}
    for one in many:
        for table, keys in one.items():
            found.setdefault(table, {}).update(dict.fromkeys(keys))
    return found


@cache
def _existing(tables: tuple[Table, ...], select_existing: ExistingKeys) -> Query:
    """Return the query for those keys of *tables* that exist, as text, each with its table."""
    return Query(
        capsules,
        (),
        union_all(*(select_existing(_KEYS[table], _NAMES[table]) for table in tables)),
        among=tuple(table.name for table in tables),
        found_by={table: {_KEYS[table].name: table.name} for table in tables},
    )
