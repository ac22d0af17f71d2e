"""Files of a directory as they are, and databases as a crash leaves them."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from capsule_registry import sqlite_module

if TYPE_CHECKING:
    from collections.abc import Sequence

#: More than fits into the smallest cache, so that half of a transaction is in the file.
_MORE_THAN_FITS: Final = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100) "
    "INSERT INTO half SELECT randomblob(1000) FROM n"
)
#: How another program may leave a database: the journal mode, whether it is closed, and what is
#: left of the files beside it.
STATES: Final = {
    "rollback journal": ("delete", True, ()),
    "write-ahead log": ("wal", True, ()),
    "log left": ("wal", False, ("-wal",)),
    "log and index left": ("wal", False, ("-wal", "-shm")),
    "journal left": ("delete", False, ("-journal",)),
}


def contents(directory: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Return owner, group, mode and bytes of each file in *directory*; of an index no bytes."""
    found = {path.name: path for path in directory.iterdir()}
    return {
        name: (
            path.stat().st_uid,
            path.stat().st_gid,
            path.stat().st_mode,
            b"" if name.endswith("-shm") else path.read_bytes(),
        )
        for name, path in found.items()
    }


def leave(file: Path, state: str, statements: Sequence[str]) -> None:
    """Create the database *file* by *statements*, and leave it as that state of `STATES` says."""
    mode, is_closed, ends = STATES[state]
    with TemporaryDirectory() as place:
        made = Path(place, "made.db")
        connection = sqlite_module.connect(made, isolation_level=None)
        connection.execute(f"PRAGMA journal_mode = {mode}")
        for statement in statements:
            connection.execute(statement)
        if "-journal" in ends:
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("BEGIN")
            connection.execute("CREATE TABLE half (done)")
            connection.execute(_MORE_THAN_FITS)
        if is_closed:
            connection.close()
        for end in ("", *ends):
            shutil.copyfile(f"{made}{end}", f"{file}{end}")
        connection.close()
