"""The address of a database: its parsed URL, how it is shown, and the default file."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy.engine import URL

from capsule_registry.database.dialects.known import (
    FILE_ENGINE,
    FILES,
    URLS,
    dialect_named,
    dialect_of_scheme,
    scheme_meant,
)
from capsule_registry.database.dialects.sqlite_url import file_of
from capsule_registry.database.server_url import LARGEST_PORT, read_server_url
from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

    from capsule_registry.database.dialects.dialect import Dialect

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+]*")
#: An address in brackets, the directory of a socket, or a name.
_HOST: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<name>/[^:,]+|[^/:@,\[\]\s]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
#: Options whose values are part of the address that is shown.
_SHOWN: Final = {"host", "port"}
#: Splits the value of an option, such as `-c name=value`, into the words that servers quote.
_WORD_BREAK: Final = re.compile(r"""[\s=,;:'"`()]+""")
#: What is shorter is no secret.
_SHORTEST: Final = 3
#: Control characters, and the ends of lines and paragraphs.
_CONTROLS: Final = {"Cc", "Zl", "Zp"}


#: Names that need no quotes in a search path.
_SCHEMA: Final = re.compile("[a-z_][a-z0-9_]{0,62}")


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

    url: URL = field(repr=False)
    dialect: Dialect
    file: Path | None
    #: The hosts in `host=`, if there are several.
    hosts: tuple[Host, ...] = ()
    #: The schema of `schema=`, if the URL has that.
    schema: str | None = None

    def __str__(self) -> str:
        """Return the address without user, password and most options, so that it may be shown."""
        if self.dialect.is_file:
            return f"{self.dialect.name}://" + (f"/{self.file}" if self.file else "")
        schema = {"schema": self.schema} if self.schema else {}
        if self.hosts:
            names = ",".join(map(str, self.hosts))
            options = "&".join(f"{key}={value}" for key, value in {"host": names, **schema}.items())
            return f"{self.url.drivername}:///{self.url.database or ''}?{options}"
        place = URL.create(
            self.url.drivername,
            host=self.url.host,
            port=self.url.port,
            database=self.url.database,
            query=schema,
        )
        return place.render_as_string()

    def redacted(self, text: str) -> str:
        """Return *text* without the password and the values of options, whole or in words."""
        values = [str(self.url.password or "")]
        for name, value in self.url.query.items():
            if name not in _SHOWN:
                values += [value] if isinstance(value, str) else value
        words = {word for value in values for word in (value, *_WORD_BREAK.split(value))}
        secrets = sorted((word for word in words if len(word) >= _SHORTEST), key=len, reverse=True)
        for secret in secrets:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "…", text)
        return text

    def command(self, words: str) -> str:
        """
        Return the line that runs the command *words* on this database as this user.

        It says which parts of the URL it does not show, since they may be secret.
        """
        given = dict(self.url.query)
        if self.hosts:
            given["host"] = ",".join(map(str, self.hosts))
            for name, value in self.dialect.limits_of_hosts.items():
                if given.get(name) == value:
                    del given[name]
        query = {name: given[name] for name in given if name in self.dialect.shown_options}
        hidden = sorted({*given} - {*query} | ({"password"} if self.url.password else set()))
        place = {name: getattr(self.url, name) for name in ("username", "host", "port", "database")}
        url = URL.create(self.dialect.name, **place, query=query)
        shown = str(self) if self.dialect.is_file else url.render_as_string()
        line = f"`capsule-registry --database {quote(shown)} {words}`"
        return f"{line} (and add to the URL its {', '.join(hidden)})" if hidden else line


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
        InvalidDatabaseError: *url* is of an unsupported database or driver, or something in it is
            not understood. Neither the message nor the attributes contain what may be a password.
    """
    if url is None:
        return _file_address(default_file())
    _require_one_line(url)
    scheme, colon, rest = url.partition("://")
    if not (colon and _SCHEME.fullmatch(scheme)):
        raise InvalidDatabaseError("the text", URLS)
    dialect = dialect_of_scheme(scheme)
    if dialect is None:
        raise InvalidDatabaseError(f"{scheme}://…", scheme_meant(scheme))
    if dialect.is_file:
        return _file_address(file_of(rest))
    return _server_address(read_server_url(scheme, rest), dialect)


def address_of_engine(engine: Engine) -> Address:
    """
    Return the address of the caller's *engine*.

    Raises:
        InvalidDatabaseError: It is of a file, or of an unsupported database or driver.
    """
    if not hasattr(engine, "dialect"):
        raise InvalidDatabaseError("engine=", "it takes an engine of sqlalchemy.create_engine")
    name, driver = engine.dialect.name, engine.dialect.driver
    dialect = dialect_named(name)
    shown = f"{name}+{driver}://…"
    if dialect is None:
        raise InvalidDatabaseError(shown, URLS)
    if dialect.is_file:
        raise InvalidDatabaseError(shown, FILE_ENGINE)
    if driver != dialect.driver:
        raise InvalidDatabaseError(shown, scheme_meant(name))
    return _server_address(engine.url, dialect)


def _require_one_line(url: str) -> None:
    """Refuse what a variable or a file adds at the ends of a URL, and control characters in it."""
    if not isinstance(url, str):
        raise InvalidDatabaseError("the URL", f"it is no text: {URLS}")
    ends = url[:1] + url[-1:]
    if any(character.isspace() or not character.isprintable() for character in ends):
        reason = "it begins or ends with a blank, a newline or what cannot be seen: leave that out"
        raise InvalidDatabaseError("the text", reason)
    if any(unicodedata.category(character) in _CONTROLS for character in url):
        raise InvalidDatabaseError("the text", "it has a control character or a newline in it")


def _file_address(file: Path | None) -> Address:
    return Address(URL.create(FILES.name, database=str(file) if file else None), FILES, file)


def _server_address(url: URL, dialect: Dialect) -> Address:
    whole, schema = _of_schema(url.set(drivername=f"{dialect.name}+{dialect.driver}"), dialect)
    hosts = _hosts_of(url)
    if len(hosts) > 1:
        return Address(_spread(whole, dialect), dialect, None, hosts, schema)
    if hosts:
        whole = whole.difference_update_query(["host"]).set(host=hosts[0].name, port=hosts[0].port)
    return Address(whole, dialect, None, schema=schema)


def _of_schema(url: URL, dialect: Dialect) -> tuple[URL, str | None]:
    """Return *url* as the driver takes it, and the schema that it named, if any."""
    schema = url.query.get("schema")
    if schema is None:
        return url, None
    if dialect.in_schema is None:
        reason = "there are no schemas in a database here: leave schema= out, and name a database"
        raise InvalidDatabaseError(f"{url.drivername}://…", reason)
    if not isinstance(schema, str) or not _SCHEMA.fullmatch(schema):
        reason = "schema= takes one name of lower-case letters, digits and _, at most 63 characters"
        raise InvalidDatabaseError(f"{url.drivername}://…?schema=", reason)
    return dialect.in_schema(url.difference_update_query(["schema"]), schema), schema


def _hosts_of(url: URL) -> tuple[Host, ...]:
    """Return the hosts of `?host=NAME:PORT,NAME:PORT`, or of several `host=`."""
    given = url.query.get("host")
    if given is None:
        return ()
    texts = ",".join([given] if isinstance(given, str) else given)
    hosts = tuple(_host(text) for text in texts.split(","))
    if "port" in url.query and any(host.port for host in hosts):
        raise InvalidDatabaseError("…?host=…&port=…", "the port is given twice")
    return hosts


def _host(text: str) -> Host:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match["port"] or LARGEST_PORT) <= LARGEST_PORT:
        reason = f"write NAME or NAME:PORT, with a port from 1 to {LARGEST_PORT}"
        raise InvalidDatabaseError("…?host=…", reason)
    port = match["port"]
    return Host(match["name"] or match["v6"], None if port is None else int(port))


def _spread(url: URL, dialect: Dialect) -> URL:
    """Return *url* in the driver's format, with timeouts after which another host is tried."""
    if not dialect.driver_takes_hosts:
        url = url.difference_update_query(["host"])
    elif isinstance(hosts := url.query["host"], str):
        url = url.update_query_dict({"host": hosts.split(",")})
    missing = {key: value for key, value in dialect.limits_of_hosts.items() if key not in url.query}
    return url.update_query_dict(missing)
