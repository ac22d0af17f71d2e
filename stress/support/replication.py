"""A PostgreSQL primary and its streaming standby, for stress commands to kill and promote."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Final, Self

import psycopg

from support.servers import Postgresql, found

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE_SECONDS: Final = 60.0


class Member(Postgresql):
    """One of the two servers."""

    def ask(self, *statements: str) -> Sequence[Sequence[object]]:
        """Run *statements* as administrator, and return the rows of the last."""
        url = self.url.replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            rows: Sequence[Sequence[object]] = ()
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else ()
            return rows

    def follow(self, primary: Member) -> None:
        """Become a new standby of *primary*, and wait until it streams."""
        self.stop(self.crash)
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
        into = ["-D", str(self.directory / "data"), "-R", "-X", "stream", "-c", "fast"]
        self.run([found("pg_basebackup"), *source, *into])
        self.start()
        wait_for(lambda: self.is_standby and primary.has_standby, "the standby does not follow")

    @property
    def is_standby(self) -> bool:
        """Whether it answers and is a standby."""
        try:
            return self.ask("SELECT pg_is_in_recovery()") == [(True,)]
        except psycopg.OperationalError:
            return False

    @property
    def has_standby(self) -> bool:
        """Whether a standby is streaming from it."""
        return self.ask("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'") != []

    def wait_for_standby(self, *, to_commit: bool) -> None:
        """Let COMMIT wait for a standby, or not."""
        names = "*" if to_commit else ""
        self.ask(
            f"ALTER SYSTEM SET synchronous_standby_names = '{names}'", "SELECT pg_reload_conf()"
        )
        if to_commit:
            question = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
            wait_for(lambda: self.ask(question) != [], "the standby is not waited for")

    def leave(self) -> None:
        """Stop following the primary, but stay a standby, and so fall behind."""
        self.ask("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        question = "SELECT 1 FROM pg_stat_wal_receiver"
        wait_for(lambda: self.ask(question) == [], "the standby goes on following")

    def promote(self) -> None:
        """Become the primary."""
        self.ask("SELECT pg_promote(true)")


class Pair:
    """A primary and its standby; a context manager."""

    def __init__(self) -> None:
        self.primary = Member()
        self.standby = Member()

    def __enter__(self) -> Self:
        self.primary.start()
        self.standby.follow(self.primary)
        return self

    @property
    def url(self) -> str:
        """The URL of both, whichever of them is the primary."""
        hosts = "&".join(f"host=127.0.0.1:{one.port}" for one in (self.primary, self.standby))
        return f"postgresql://postgres@/postgres?{hosts}"

    def fail_over(self) -> None:
        """Kill the primary, and promote the standby."""
        self.primary.kill()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def __exit__(self, *exception: object) -> None:
        self.primary.remove()
        self.standby.remove()


def wait_for(condition: object, problem: str) -> None:
    """Wait until *condition*, a function, returns true."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise TimeoutError(problem)
        time.sleep(0.05)
