"""Lazy imports, also by two threads at once."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.backends import ServerBackend

#: While one thread is importing the dialect, the other needs it.
TWO_THREADS_OPEN = r"""
import sys, threading
from capsule_registry import CapsuleRegistry

is_half_imported, has_failed = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "sqlalchemy.dialects." + sys.argv[2]:
            is_half_imported.set()
            has_failed.wait(1)

def open_it():
    try:
        CapsuleRegistry.open(sys.argv[1]).close()
        sys.stdout.write("open\n")
    except Exception as error:
        has_failed.set()
        sys.stdout.write(f"{error!r}\n")

sys.meta_path.insert(0, Slow())
first, second = (threading.Thread(target=open_it) for _ in range(2))
first.start()
assert is_half_imported.wait(10)
second.start()
first.join()
second.join()
"""
#: A module that the dialect's package imports after its own submodules.
LATE = {"mariadb": "mysql.expression", "postgresql": "postgresql.dml"}


def test_two_threads_may_open_the_first_registries_at_once(server: ServerBackend, url: str) -> None:
    """Neither sees a half-imported dialect."""
    result = subprocess.run(
        [sys.executable, "-c", TWO_THREADS_OPEN, url, LATE[server.name]],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ["open", "open"] == result.stdout.split("\n")[:-1]
