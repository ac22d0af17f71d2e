"""The databases that are measured: created on demand, and dropped at the end."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Self

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from capsule_registry import CapsuleRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB", "mysql": "MariaDB"}


@dataclass
class Databases:
    """SQLite files in a directory, or databases of a server whose user may create some."""

    directory: Path
    server: str | None = None
    made: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def title(self) -> str:
        """The product's name."""
        return _TITLES[make_url(self.server).get_backend_name()] if self.server else "SQLite"

    @property
    def is_server(self) -> bool:
        """Whether the databases are on a server."""
        return self.server is not None

    def new(self) -> str:
        """Return the URL of a new database with the schema and an empty registry."""
        url = self._empty()
        CapsuleRegistry.open(url, migrate=True).close()
        return url

    def _empty(self) -> str:
        number = next(self._numbers)
        if self.server is None:
            return f"sqlite:///{self.directory}/benchmark-{number}.db"
        name = f"capsule_registry_benchmark_{os.getpid()}_{number}"
        self._tell(f"CREATE DATABASE {name}")
        self.made.append(name)
        return make_url(self.server).set(database=name).render_as_string(hide_password=False)

    def version(self) -> str:
        """Return the version that the server reports."""
        found = re.search(r"\d[\w.]*", self._tell("SELECT version()") or "")
        return found.group() if found else ""

    def _tell(self, statement: str) -> str | None:
        engine = create_engine(
            _with_driver(self.server or ""), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        with engine.connect() as conn:
            found = conn.exec_driver_sql(statement)
            return str(found.scalar()) if found.returns_rows else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        while self.made:
            self._tell(f"DROP DATABASE {self.made.pop()}")


def _with_driver(url: str) -> str:
    """Return *url* with the driver that the registry uses."""
    parsed = make_url(url)
    driver = "psycopg" if parsed.get_backend_name() == "postgresql" else "pymysql"
    named = parsed.set(drivername=f"{parsed.get_backend_name()}+{driver}")
    return named.render_as_string(hide_password=False)
