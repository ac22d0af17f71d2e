"""The supported databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from capsule_registry.database.dialects.mariadb import MARIADB
from capsule_registry.database.dialects.postgresql import POSTGRESQL
from capsule_registry.database.dialects.sqlite import SQLITE

if TYPE_CHECKING:
    from capsule_registry.database.dialects.dialect import Dialect

_DIALECTS: Final = {
    "sqlite": SQLITE,
    "postgresql": POSTGRESQL,
    "mariadb": MARIADB,
    "mysql": MARIADB,
}
#: The dialect of file databases.
FILES: Final = SQLITE
#: What to write instead of an invalid URL.
URLS: Final = "use sqlite:///FILE, postgresql://… or mariadb://…"
FILE_ENGINE: Final = "engine= takes an engine of a server; open a SQLite file by its URL"
#: The names by which some programs know a supported database.
_ALIASES: Final = {"postgres": "postgresql", "pgsql": "postgresql", "sqlite3": "sqlite"}


def dialect_named(name: str) -> Dialect | None:
    """Return the dialect by its name in SQLAlchemy, or `None` if it is not supported."""
    return _DIALECTS.get(name)


def dialect_of_scheme(scheme: str) -> Dialect | None:
    """Return the dialect by the scheme of a URL; `None` if that or its driver is not supported."""
    name, plus, driver = scheme.partition("+")
    dialect = _DIALECTS.get(name)
    return dialect if dialect and driver == (dialect.driver if plus else "") else None


def scheme_meant(scheme: str) -> str:
    """Return what to write instead of the unsupported *scheme*."""
    name = scheme.partition("+")[0].lower()
    name = _ALIASES.get(name, name)
    if dialect := _DIALECTS.get(name):
        return f"no other driver is supported: write {name}://… or {name}+{dialect.driver}://…"
    return URLS
