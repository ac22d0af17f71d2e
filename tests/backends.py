"""The databases that behaviour tests run on, and what tests need to know about each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import capsule_registry
from capsule_registry import CapsuleRegistry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass
class SqliteBackend:
    """A SQLite file of its own for each test, copied from one that was migrated once."""

    directory: Path
    name = "sqlite"
    #: What the database itself calls whoever is connected.
    database_user: str | None = None

    def __post_init__(self) -> None:
        self._numbers = count()
        self._template = self.directory / "template.db"
        CapsuleRegistry.open(f"sqlite:///{self._template}").close()

    def new_url(self) -> str:
        """Return the URL of a database that has the schema and the namespace `default`."""
        file = self.directory / f"registry-{next(self._numbers)}.db"
        shutil.copy(self._template, file)
        file.chmod(0o600)
        return f"sqlite:///{file}"

    def empty_url(self) -> str:
        """Return the URL of a database that does not exist."""
        return f"sqlite:///{self.directory}/registry-{next(self._numbers)}.db"

    def rows(self, url: str, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a connection of another kind sees, through the one SQLite library in use."""
        connection = capsule_registry.sqlite_module.connect(url.removeprefix("sqlite:///"))
        try:
            connection.execute("PRAGMA foreign_keys = 1")
            with connection:
                return [*connection.execute(query, parameters)]
        finally:
            connection.close()
