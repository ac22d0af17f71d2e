"""Where a database is: its URL, how it is shown, and the file that stands in for none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from capsule_registry.dialects import Dialect, dialect_named
from capsule_registry.errors import InvalidDatabaseError


@dataclass(frozen=True, slots=True)
class Address:
    """A database's URL, read. `file` is set for SQLite alone, and `None` there for memory."""

    url: URL
    dialect: Dialect
    file: Path | None

    def __str__(self) -> str:
        """Return the address as it may be shown: without user, password and options."""
        if self.dialect.upgrades_itself:
            return f"sqlite:///{self.file}" if self.file else "sqlite://"
        place = URL.create(
            self.url.drivername,
            host=self.url.host,
            port=self.url.port,
            database=self.url.database,
        )
        return place.render_as_string()


def default_file() -> Path:
    """Return the path of the database that is used when none is named."""
    return platformdirs.user_data_path("capsule-registry") / "registry.db"


def read_address(url: str | None) -> Address:
    """
    Return the address that *url* says; without one, the file in the user's data directory.

    Raises:
        InvalidDatabaseError: The text is no URL, or of a database that is not supported. Neither
            the message nor the attributes hold what may be a password.
    """
    if url is None:
        url = f"sqlite:///{default_file()}"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # A port that is no number is a plain ValueError.
        raise InvalidDatabaseError(_shown(url), _EXPECTED) from None
    dialect = dialect_named(parsed.drivername)
    if dialect is None:
        raise InvalidDatabaseError(f"{parsed.drivername}://…", _EXPECTED)
    if not dialect.upgrades_itself:
        return Address(parsed.set(drivername=f"{dialect.name}+{dialect.driver}"), dialect, None)
    if parsed.query or parsed.host or parsed.username:
        reason = "a SQLite URL is sqlite:///relative/path, sqlite:////absolute/path or sqlite://"
        raise InvalidDatabaseError(f"{parsed.drivername}://…", reason)
    memory = parsed.database in (None, "", ":memory:")
    return Address(parsed, dialect, None if memory else Path(parsed.database or "").resolve())


_EXPECTED = "use sqlite:///FILE, postgresql://… or mariadb://…"


def _shown(url: str) -> str:
    return "the text" if "@" in url or "://" in url else repr(url)
