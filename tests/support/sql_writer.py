"""Another process that changes a file with plain SQL, as any program may."""

from __future__ import annotations

import subprocess
import sys
from uuid import UUID

SESSION = UUID("0000aaaa-0000-4000-8000-00000000000a")
WRITER = """
import sys
from capsule_registry import sqlite_module
path, session = sys.argv[1:]
def opened():
    connection = sqlite_module.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA foreign_keys = 1")
    connection.execute("PRAGMA synchronous = OFF")
    return connection
POINT = "UPDATE uuid_mappings SET capsule_id = ? WHERE uuid = ?"
run = opened()
for line in sys.stdin:
    verb, _, value = line.strip().partition(" ")
    if verb == "point":
        run.execute(POINT, (value, session))
    elif verb == "remove":
        run.execute("DELETE FROM uuid_mappings WHERE uuid = ?", (session,))
    elif verb == "file":
        run.execute("INSERT INTO uuid_mappings VALUES ('default', ?, ?, NULL,"
                    " '2026-01-01T00:00:00.000000Z', 3, 0)", (session, value))
    elif verb == "state":
        run.execute("UPDATE capsules SET state = ? WHERE id = 'alpha'", (value,))
    elif verb == "grant":
        run.execute("UPDATE grants SET value = ? WHERE capsule_id = 'alpha'", (value,))
    elif verb == "other":
        run.execute("UPDATE capsules SET state_reason = ? WHERE id = 'beta'", (value,))
    elif verb == "checkpoint":
        run.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    elif verb == "vacuum":
        run.execute("VACUUM")
    elif verb == "reopen":
        run.close()
        run = opened()
    else:
        run.execute("BEGIN IMMEDIATE")
        run.execute(POINT, ("beta", session))
        run.execute("DELETE FROM grants")
        if verb == "rollback":
            run.execute("ROLLBACK")
    print("done", flush=True)
"""


class Writer:
    """Another process that changes the file."""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite:///")
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-c", WRITER, self._path, str(SESSION)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, step: str) -> None:
        """Have it do this, and return once that is done, and committed if it commits anything."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{step}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """Kill it inside a transaction, and start another."""
        self.do("leave")
        self.close()
        self._start()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
