"""Where a database is: its URL, how it is shown, and the file that stands in for none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from capsule_registry.dialects.dialect import Dialect, dialect_for_files, dialect_named
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
    import platformdirs  # noqa: PLC0415 - who names a database needs none

    return platformdirs.user_data_path("capsule-registry") / "registry.db"


def read_address(url: str | None) -> Address:
    """
    Return the address that *url* says; without one, the file in the user's data directory.

    Raises:
        InvalidDatabaseError: The text is no URL, or of a database that is not supported. Neither
            the message nor the attributes hold what may be a password.
    """
    if url is None:
        file = default_file()
        return Address(URL.create(_FILES.name, database=str(file)), _FILES, file)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # A port that is no number is a plain ValueError.
        raise InvalidDatabaseError(_shown(url), _EXPECTED) from None
    dialect = dialect_named(parsed.drivername)
    if dialect is None:
        raise InvalidDatabaseError(f"{parsed.drivername}://…", _EXPECTED)
    if dialect.upgrades_itself:
        return Address(parsed, dialect, _file_of(parsed))
    if "@" in (parsed.host or ""):
        # What stands before it is the end of a password.
        raise InvalidDatabaseError(f"{parsed.drivername}://…", "write an @ in a password as %40")
    return Address(parsed.set(drivername=f"{dialect.name}+{dialect.driver}"), dialect, None)


def _file_of(url: URL) -> Path | None:
    if url.query or url.host or url.username or "\0" in (url.database or ""):
        raise InvalidDatabaseError(
            f"{url.drivername}://…",
            "a SQLite URL is sqlite:///relative/path, sqlite:////absolute/path or sqlite://",
        )
    if url.database in (None, "", ":memory:"):
        return None
    try:
        return Path(url.database or "").resolve()
    except (OSError, RuntimeError) as error:  # A link that leads to itself.
        raise InvalidDatabaseError(f"sqlite:///{url.database}", str(error)) from error


_FILES = dialect_for_files()
_EXPECTED = "use sqlite:///FILE, postgresql://… or mariadb://…"


def _shown(url: str) -> str:
    return "the text" if "@" in url or "://" in url else repr(url)
