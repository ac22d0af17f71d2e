"""
A SQLite database as a file: made safely, opened with the settings that the guarantees rest on.

What was asked for is read back, and a connection that did not get it is refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.dialects import journal_mode, sqlite_module
from capsule_registry.errors import (
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryUnavailableError,
)

if TYPE_CHECKING:
    from pathlib import Path

#: How long a statement waits for another process's lock before it gives up.
BUSY_TIMEOUT_SECONDS: Final = 30.0
_FULL: Final = 2

#: Sources: `trusted_schema`, `cell_size_check`: https://sqlite.org/security.html, for files from
#: elsewhere. `recursive_triggers`: without it REPLACE passes delete triggers by.
_SETTINGS: Final = {
    "foreign_keys": 1,
    "synchronous": _FULL,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "recursive_triggers": 1,
}


def create_file(path: Path) -> None:
    """
    Make an empty file at *path*, for its owner only, unless there is one.

    A directory that is missing is made only if it is the user's own data directory.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        return
    except FileNotFoundError:
        reason = f"the directory {path.parent} does not exist"
        raise RegistryUnavailableError(f"sqlite:///{path}", reason) from None
    except (PermissionError, OSError) as error:
        raise PermissionDeniedError(f"sqlite:///{path}", f"{error.strerror}") from error


def connect_memory() -> Any:  # noqa: ANN401 - the module is chosen at run time
    """Return a connection to a private database in memory."""
    connection = sqlite_module.connect(
        ":memory:", check_same_thread=False, isolation_level=None, timeout=BUSY_TIMEOUT_SECONDS
    )
    _apply_settings(connection, "sqlite://")
    return connection


def connect_file(path: Path) -> Any:  # noqa: ANN401 - the module is chosen at run time
    """
    Return a connection to the database in the file at *path*, which must exist.

    Raises:
        RegistryUnavailableError: A setting could not be had; the message says which.
    """
    connection = _connect(path, "mode=rw")
    try:
        _apply_settings(connection, f"sqlite:///{path}")
        _set_journal_mode(connection, f"sqlite:///{path}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_file_read_only(path: Path) -> Any:  # noqa: ANN401 - the module is chosen at run time
    """
    Return a connection through which nothing can be written.

    Where the file or its directory cannot be written either, it is opened as it is: with its
    write-ahead log if that is there, else as a file that nobody changes.
    """
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    immutable = not path.with_name(f"{path.name}-wal").exists()
    mode = "mode=rw" if writable else "mode=ro&immutable=1" if immutable else "mode=ro"
    connection = _connect(path, mode)
    try:
        _apply_settings(connection, f"sqlite:///{path}")
        connection.execute("PRAGMA query_only = 1")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, mode: str) -> Any:  # noqa: ANN401 - the module is chosen at run time
    if not path.exists():
        raise RegistryUnavailableError(f"sqlite:///{path}", "the database does not exist")
    if not path.is_file():
        raise InvalidDatabaseError(f"sqlite:///{path}", "it is no file")
    return sqlite_module.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_SECONDS,
    )


def _apply_settings(connection: Any, shown: str) -> None:  # noqa: ANN401 - see above
    for name, value in _SETTINGS.items():
        connection.execute(f"PRAGMA {name} = {value}")
        [found] = connection.execute(f"PRAGMA {name}").fetchone()
        if found != value:
            reason = f"PRAGMA {name} is {found}, and {value} is needed"
            raise RegistryUnavailableError(shown, reason)


def _set_journal_mode(connection: Any, shown: str) -> None:  # noqa: ANN401 - see above
    wanted = journal_mode()
    [found] = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()
    if found != wanted:
        reason = f"journal mode is {found}, and {wanted} is needed with this SQLite library"
        raise RegistryUnavailableError(shown, reason)
