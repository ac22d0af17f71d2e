"""The choice of the SQLite library and of a journal mode that is safe with it."""

from __future__ import annotations

import importlib
import sqlite3
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from types import ModuleType


def has_wal_reset_race(version: tuple[int, ...]) -> bool:
    """
    Return whether this SQLite can corrupt a write-ahead log that two connections write.

    Source: https://sqlite.org/wal.html#walresetbug (3.7.0 to 3.51.2; fixed in 3.51.3 and in the
    patch lines 3.50.7 and 3.44.6).
    """
    fixed_patch = {(3, 44): 6, (3, 50): 7, (3, 51): 3}
    line = version[:2]
    if line >= (3, 52) or version < (3, 7):
        return False
    return line not in fixed_patch or version[2] < fixed_patch[line]


def _find_sqlite() -> ModuleType:
    """Return the interpreter's SQLite, or the packaged one where the interpreter's is unsafe."""
    if has_wal_reset_race(sqlite3.sqlite_version_info):
        try:
            return importlib.import_module("pysqlite3.dbapi2")
        except ModuleNotFoundError:
            pass  # No wheel for this platform: `journal_mode` falls back to a safe one.
    return sqlite3


#: The one SQLite library that may open a registry's file in this process.
sqlite_module: Final = _find_sqlite()


def journal_mode() -> Literal["wal", "delete"]:
    """Return the journal mode that is safe with the library in use."""
    return "delete" if has_wal_reset_race(sqlite_module.sqlite_version_info) else "wal"


#: Values of `PRAGMA synchronous`. A rollback journal commits by being deleted: at FULL the
#: directory is not synchronised, so the journal can be back after a power cut, and undo the commit.
#: Source: https://sqlite.org/pragma.html#pragma_synchronous.
FULL: Final = 2
EXTRA: Final = 3


def synchronous() -> int:
    """Return the level at which acknowledged commits outlast a power cut."""
    return FULL if journal_mode() == "wal" else EXTRA
