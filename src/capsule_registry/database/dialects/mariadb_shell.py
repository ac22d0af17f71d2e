"""The mariadb client on the server of a connection that is open, and with its options."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.database.dialects.dialect import Shell
from capsule_registry.errors import InvalidDatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

_TLS_FILES: Final = ("ca", "capath", "cert", "key", "cipher")
#: The options of a URL that the client is given, by the driver's names.
_GIVEN: Final = frozenset(
    (
        *(f"ssl_{name}" for name in _TLS_FILES),
        *("ssl_check_hostname", "ssl_disabled", "ssl_verify_cert", "ssl_verify_identity"),
        *("user", "password", "passwd", "host", "port", "unix_socket", "database", "db"),
        *("charset", "connect_timeout", "init_command", "local_infile"),
        *("read_default_file", "read_default_group"),
    )
)
#: Those that concern the driver alone, or that the settings of every connection replace.
_WITHOUT_MEANING: Final = frozenset(
    (
        *("autocommit", "binary_prefix", "max_allowed_packet", "program_name"),
        *("read_timeout", "write_timeout", "sql_mode", "use_unicode"),
    )
)
#: Source: MariaDB, "Option File Syntax".
_ESCAPES: Final = {
    b"\\": b"\\\\",
    b'"': b'\\"',
    b"\n": b"\\n",
    b"\r": b"\\r",
    b"\t": b"\\t",
    b"\b": b"\\b",
}
#: The client cuts longer lines.
_LONGEST_LINE: Final = 4000


def shell(conn: Connection, directory: Path, *, settings: Iterable[str]) -> Shell:
    """
    Return the client with the options of *conn*, written to an option file in *directory*.

    Each of its connections runs *settings*, after the `init_command` of the URL.

    Raises:
        InvalidDatabaseError: The client does not have one of the options.
    """
    driver: Any = conn.connection.driver_connection
    url = conn.engine.url
    shown = f"{url.drivername}://…"
    if unknown := sorted(url.query.keys() - _GIVEN - _WITHOUT_MEANING):
        raise InvalidDatabaseError(shown, f"the client cannot be given {', '.join(unknown)}")
    given = conn.dialect.create_connect_args(url)[1]
    commands = [(driver.init_command or "").strip("; \n"), *settings]
    options = {
        **_place(driver),
        **_tls(driver, _tls_files(given, shown)),
        "init-command": "; ".join(filter(None, commands)),
        "local-infile": str(int(driver._local_infile)),  # noqa: SLF001 - it has no other name
    }
    file = directory / "options"
    file.touch(mode=0o600)
    file.write_bytes(_option_file(options, shown))
    return Shell(
        arguments=("mariadb", f"--defaults-file={file}"),
        question=("--batch", "--skip-column-names", "--execute=SELECT @@tx_read_only"),
        answer="1",
    )


def _place(driver: Any) -> dict[str, Any]:  # noqa: ANN401 - the driver's own
    """Return the options that say where to connect, and as whom; user and password are bytes."""
    socket = {"protocol": "socket", "socket": driver.unix_socket}
    network = {"protocol": "tcp", "host": driver.host, "port": driver.port}
    return {
        **(socket if driver.unix_socket else network),
        "user": driver.user,
        "password": driver.password,
        "database": driver.db,
        "default-character-set": driver.charset,
        "connect-timeout": driver.connect_timeout,
    }


def _tls(driver: Any, files: Mapping[str, str]) -> dict[str, str]:  # noqa: ANN401 - see above
    """Return the options of TLS: as strict as the driver's, or stricter."""
    if not isinstance(driver._sock, ssl.SSLSocket):  # noqa: SLF001 - it has no other name
        return {"ssl": "0"}
    is_verified = driver.ctx.verify_mode != ssl.CERT_NONE
    named = {f"ssl-{name}": value for name, value in files.items()}
    return {"ssl": "1", **named, "ssl-verify-server-cert": str(int(is_verified))}


def _tls_files(given: Mapping[str, Any], shown: str) -> dict[str, str]:
    """Return the files for TLS in the URL, else in the option file that it names."""
    files = dict(given.get("ssl") or {})
    group = given.get("read_default_group") or "client"
    path = given.get("read_default_file") or ("read_default_group" in given and "/etc/my.cnf")
    if path:
        from pymysql.optionfile import Parser  # noqa: PLC0415 - only what is in use is loaded

        parser = Parser()
        parser.read(Path(path).expanduser())
        for name in (*_TLS_FILES, "password"):
            if name not in files and parser.has_option(group, f"ssl-{name}"):
                files[name] = parser.get(group, f"ssl-{name}")
    if "password" in files:
        raise InvalidDatabaseError(shown, "the client cannot be given ssl-password")
    return {name: files[name] for name in _TLS_FILES if name in files}


def _option_file(options: Mapping[str, Any], shown: str) -> bytes:
    """Return an option file with what is not `None` of *options*."""
    lines = [b"[client]"]
    for name, value in options.items():
        if value is None:
            continue
        raw = value if isinstance(value, bytes) else str(value).encode()
        escaped = re.sub(rb'[\\"\n\r\t\b]', lambda found: _ESCAPES[found[0]], raw)
        line = b'%s="%s"' % (name.encode(), escaped)
        if len(line) > _LONGEST_LINE:
            raise InvalidDatabaseError(shown, f"the client cannot be given so long a {name}")
        lines.append(line)
    return b"\n".join([*lines, b""])
