"""The address of a database: its parsed URL, how it is shown, and the default file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from capsule_registry.database.dialects.known import FILE_URLS, FILES, URLS, dialect_named
from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from capsule_registry.database.dialects.dialect import Dialect


class Host(NamedTuple):
    """One of several hosts in a URL."""

    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """The driver's connection options for this host."""
        port = {} if self.port is None else {"port": self.port}
        return {"host": self.name, **port}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed database URL. `file` is set for SQLite files only."""

    url: URL
    dialect: Dialect
    file: Path | None
    #: The hosts in `host=`, if there are several.
    hosts: tuple[Host, ...] = ()

    def __str__(self) -> str:
        """Return the address without user, password and options, so that it may be shown."""
        if self.dialect.is_file:
            return f"{self.dialect.name}://" + (f"/{self.file}" if self.file else "")
        if self.hosts:
            names = ",".join(map(str, self.hosts))
            return f"{self.url.drivername}:///{self.url.database or ''}?host={names}"
        place = URL.create(
            self.url.drivername,
            host=self.url.host,
            port=self.url.port,
            database=self.url.database,
        )
        return place.render_as_string()

    @property
    def first_url(self) -> URL:
        """The URL of the first host alone, for programs that support only one."""
        if not self.hosts:
            return self.url
        alone = self.url.difference_update_query(["host", *self.dialect.limits_of_hosts])
        return alone.set(host=self.hosts[0].name, port=self.hosts[0].port)


def default_file() -> Path:
    """
    Return the path of the database that is used by default.

    Raises:
        InvalidDatabaseError: The user has no home directory for it.
    """
    import platformdirs  # noqa: PLC0415 - only the default needs it

    with suppress(RuntimeError):  # Or the path that it returns begins with `~`.
        file = platformdirs.user_data_path("capsule-registry") / "registry.db"
        if file.is_absolute():
            return file
    raise InvalidDatabaseError("by default", "the user has no home: name the database, or set HOME")


def read_address(url: str | None) -> Address:
    """
    Parse *url*; `None` is the file in the user's data directory.

    Raises:
        InvalidDatabaseError: *url* is invalid, or of an unsupported database. Neither the message
            nor the attributes contain what may be a password.
    """
    if url is None:
        file = default_file()
        return Address(URL.create(FILES.name, database=str(file)), FILES, file)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # A port that is not a number raises a plain ValueError.
        raise InvalidDatabaseError(_shown(url), URLS) from None
    dialect = dialect_named(parsed.drivername)
    if dialect is None:
        raise InvalidDatabaseError(f"{parsed.drivername}://…", URLS)
    if dialect.is_file:
        return Address(parsed, dialect, _file_of(parsed))
    if "@" in (parsed.host or ""):
        # The part before it is the end of a password.
        raise InvalidDatabaseError(f"{parsed.drivername}://…", "write an @ in a password as %40")
    whole, hosts = parsed.set(drivername=f"{dialect.name}+{dialect.driver}"), _hosts_of(parsed)
    if len(hosts) > 1:
        return Address(_spread(whole, dialect), dialect, None, hosts)
    if hosts:
        whole = whole.difference_update_query(["host"]).set(host=hosts[0].name, port=hosts[0].port)
    return Address(whole, dialect, None)


def _hosts_of(url: URL) -> tuple[Host, ...]:
    """Return the hosts of `?host=NAME:PORT,NAME:PORT`, or of several `host=`."""
    given = url.query.get("host", ())
    texts = ",".join([given] if isinstance(given, str) else given)
    return tuple(_host(text) for text in texts.split(",") if text)


def _host(text: str) -> Host:
    name, colon, port = text.rpartition(":")
    if not colon or "]" in port:  # An IPv6 address without a port.
        return Host(text.strip("[]"), None)
    if not port.isdecimal():
        raise InvalidDatabaseError("…?host=", f"the port {port!r} is no number")
    return Host(name.strip("[]"), int(port))


def _spread(url: URL, dialect: Dialect) -> URL:
    """Return *url* in the driver's format, with timeouts after which another host is tried."""
    if not dialect.driver_takes_hosts:
        url = url.difference_update_query(["host"])
    elif isinstance(hosts := url.query["host"], str):
        url = url.update_query_dict({"host": hosts.split(",")})
    missing = {key: value for key, value in dialect.limits_of_hosts.items() if key not in url.query}
    return url.update_query_dict(missing)


def _file_of(url: URL) -> Path | None:
    if url.query or url.host or url.username or "\0" in (url.database or ""):
        raise InvalidDatabaseError(f"{url.drivername}://…", FILE_URLS)
    if url.database in (None, "", ":memory:"):
        return None
    try:
        return Path(url.database or "").resolve()
    except (OSError, RuntimeError) as error:  # A symbolic link to itself.
        raise InvalidDatabaseError(f"{url.drivername}:///{url.database}", str(error)) from error


def _shown(url: str) -> str:
    return "the text" if "@" in url or "://" in url else repr(url)
