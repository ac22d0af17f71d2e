"""The URL of a server: everything in it is understood, or it is refused without being shown."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

from sqlalchemy.engine import URL

from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What may follow `://`. Stricter than SQLAlchemy's own, which passes over what it does not
#: understand, and reads `h:1/db?option=a@b` as the user `h` of the host `b`.
_GRAMMAR: Final = re.compile(
    r"(?:(?P<username>[^:/?#@]*)(?::(?P<password>[^/?@]*))?@)?"
    r"(?P<host>\[[0-9A-Za-z:.%]+\]|[^:/?#@\[\]]+)?(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?P<database>[^?#]*))?(?:\?(?P<options>[^#]*))?"
)
_SPELLING: Final = (
    "write user:password@host:port/database?option=value&option=value, and of what is no such mark "
    "@ as %40, / as %2F, ? as %3F, # as %23"
)
#: The options that say again what stands before the `?`.
_PLACES: Final = {
    "user": "username",
    "username": "username",
    "password": "password",
    "passwd": "password",
    "host": "host",
    "port": "port",
    "dbname": "database",
    "database": "database",
    "db": "database",
}
#: An option of SQLAlchemy's own, which loads code.
_PLUGIN: Final = "plugin"
LARGEST_PORT: Final = 65_535


def read_server_url(scheme: str, rest: str) -> URL:
    """
    Parse a server's URL, given its scheme and what follows `://`.

    Raises:
        InvalidDatabaseError: A part has no meaning, two meanings, or is given twice.
    """
    shown = f"{scheme}://…"
    match = _GRAMMAR.fullmatch(rest)
    if match is None:
        raise InvalidDatabaseError(shown, _SPELLING)
    options = parse_qsl(match["options"] or "", keep_blank_values=True)
    url = _url(scheme, match, options)
    for problem in _problems(url, options):
        raise InvalidDatabaseError(shown, problem)
    return url


def _url(scheme: str, match: re.Match[str], options: list[tuple[str, str]]) -> URL:
    query: dict[str, list[str]] = {}
    for name, value in options:
        query.setdefault(name, []).append(value)
    return URL.create(
        scheme,
        username=_decoded(match["username"]),
        password=_decoded(match["password"]),
        host=match["host"] and match["host"].strip("[]"),
        port=None if match["port"] is None else int(match["port"]),
        database=_decoded(match["database"]),
        query={name: found[0] if len(found) == 1 else found for name, found in query.items()},
    )


def _decoded(part: str | None) -> str | None:
    return None if part is None else unquote(part)


def _problems(url: URL, options: list[tuple[str, str]]) -> Iterator[str]:
    """Yield what is wrong with *url*; of its *options*, the names are shown and no values."""
    if url.port is not None and not 0 < url.port <= LARGEST_PORT:
        yield f"a port is a number from 1 to {LARGEST_PORT}"
    for name, count in Counter(name for name, _ in options).items():
        if count > 1 and name != "host":
            yield f"the option {name!r} is given twice"
        if name in _PLACES and getattr(url, _PLACES[name]) is not None:
            yield f"the option {name!r} says again what stands before the ?: write it once"
        if name == _PLUGIN:
            yield f"the option {name!r} is not supported"
    for name, value in options:
        if not (name and value):
            yield f"the option {name!r} has no value: write NAME=VALUE"
    parts = [url.username, url.password, url.database, *(text for pair in options for text in pair)]
    if any("\0" in (part or "") for part in parts):
        yield "it has %00 in it"
