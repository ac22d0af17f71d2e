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
FILE_URLS: Final = "a SQLite URL is sqlite:///relative/path, sqlite:////absolute/path or sqlite://"


def dialect_named(name: str) -> Dialect | None:
    """Return the dialect by the scheme of a database URL, or `None` if it is not supported."""
    return _DIALECTS.get(name.partition("+")[0])
