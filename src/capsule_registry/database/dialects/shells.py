"""The database's own shell, opened so that it can only read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import URL


@dataclass(frozen=True, slots=True)
class Shell:
    """A program with its arguments, and what its environment must have besides."""

    arguments: tuple[str, ...]
    #: A password stands here, since others can read the arguments of a process.
    environment: Mapping[str, str] = field(default_factory=dict)


def sqlite_shell(url: URL) -> Shell:
    """Return the shell of SQLite."""
    return Shell(("sqlite3", "-readonly", url.database or ":memory:"))


def postgresql_shell(url: URL) -> Shell:
    """Return the shell of PostgreSQL."""
    place = url.set(drivername="postgresql", password=None)
    password = {"PGPASSWORD": str(url.password)} if url.password else {}
    options = {"PGOPTIONS": "-c default_transaction_read_only=on"}
    return Shell(("psql", place.render_as_string()), {**options, **password})


def mariadb_shell(url: URL) -> Shell:
    """Return the shell of MariaDB."""
    given = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "database": url.database,
        "init-command": "SET SESSION TRANSACTION READ ONLY",
    }
    arguments = (f"--{name}={value}" for name, value in given.items() if value is not None)
    password = {"MYSQL_PWD": str(url.password)} if url.password else {}
    return Shell(("mariadb", *arguments), password)
