"""psql on the server of a connection that is open, and with its options."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.database.dialects.dialect import Shell
from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.engine import URL

#: Behind the options of the URL, since the last of several counts.
_READ_ONLY: Final = b"-c default_transaction_read_only=on"
#: The options that are not copied. Two are given otherwise, what the user's own service file says
#: is in the others, and the host is chosen: by now none has to be writable.
_NOT_COPIED: Final = frozenset(
    (
        *("options", "password", "service", "servicefile"),
        *("target_session_attrs", "load_balance_hosts"),
    )
)
#: Defaults that libpq computes; an older one knows nothing of the option.
_COMPUTED: Final = {"sslcertmode": b"allow"}


def shell(conn: Connection, directory: Path) -> Shell:
    """
    Return psql with the options of *conn*, which are written to a service file in *directory*.

    The user's own start-up file is not read, since it could lift the fence.

    Raises:
        InvalidDatabaseError: A service file cannot hold the value of an option.
    """
    driver: Any = conn.connection.driver_connection
    known = driver.pgconn.info
    values = {option.keyword: option.val for option in known}
    options = b" ".join(filter(None, (values[b"options"], _READ_ONLY)))
    file = directory / "service"
    file.touch(mode=0o600)
    file.write_bytes(
        b"\n".join((b"[capsule-registry]", *_lines(known, conn.engine.url), b"options=" + options))
    )
    password = values[b"password"]
    return Shell(
        arguments=("psql", "--no-psqlrc"),
        question=("-Atqc", "SHOW default_transaction_read_only"),
        answer="on",
        environment={
            # What they say is among the options, unless the URL says otherwise.
            **{option.envvar.decode(): None for option in known if option.envvar},
            "PGPASSWORD": None if password is None else os.fsdecode(password),
            "PGSERVICEFILE": str(file),
            "PGSERVICE": "capsule-registry",
        },
    )


def _lines(known: Iterable[Any], url: URL) -> Iterator[bytes]:
    """Yield the line of each option that is not at its default, or that *url* names."""
    for option in known:
        keyword, value = option.keyword.decode(), option.val
        default = _COMPUTED.get(keyword, option.compiled)
        if value is None or keyword in _NOT_COPIED:
            continue
        if value == default and keyword not in url.query:
            continue
        if b"\n" in value or value != value.rstrip():
            reason = f"psql cannot be given {keyword}, which has a line break or ends with a blank"
            raise InvalidDatabaseError(f"{url.drivername}://…", reason)
        yield option.keyword + b"=" + value
