"""Processes with nothing of the one that starts them, but with the library imported already."""

from __future__ import annotations

from multiprocessing import get_context
from typing import Final

#: Each is a fork of a server that has imported the library once, and has opened nothing.
WORKERS: Final = get_context("forkserver")
WORKERS.set_forkserver_preload(
    ["alembic.command", "capsule_registry.api.registry", "sqlite3", "psycopg", "pymysql"]
)
