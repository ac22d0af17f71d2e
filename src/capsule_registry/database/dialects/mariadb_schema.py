"""Changes of the schema on MariaDB: what they need of a server, their script, and lost triggers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError

from capsule_registry.database.dialects.dialect import Finding, Probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Row

#: READ COMMITTED needs the changes of rows in the binary log, not the statements.
BINLOG_FORMAT: Final = Probe(
    "binlog_format",
    "SELECT IF(@@log_bin, @@binlog_format, 'no binary log')",
    frozenset({"ROW", "MIXED", "no binary log"}),
    "nothing can be written: set binlog_format = ROW on the server",
)
_NEEDS: Final = (
    BINLOG_FORMAT,
    Probe(
        "innodb_page_size",
        "SELECT IF(@@innodb_page_size < 16384, @@innodb_page_size, 'enough')",
        frozenset({"enough"}),
        "the keys need a server with innodb_page_size = 16384 or more",
    ),
    Probe(
        "enforce_storage_engine",
        "SELECT COALESCE(@@enforce_storage_engine, 'none')",
        frozenset({"InnoDB", "none"}),
        "set enforce_storage_engine = InnoDB on the server, or unset it",
    ),
)
#: Truncates no text silently. An Oracle mode would change what functions in views do.
_MODE: Final = "TRADITIONAL"
#: Modes that an engine has found at its first connection, and writes statements for.
_WRITTEN: Final = ("ANSI_QUOTES", "NO_BACKSLASH_ESCAPES")
_set_mode = text("SET sql_mode = :mode")
_is_creator_checked = text("SELECT @@log_bin AND NOT @@log_bin_trust_function_creators")
_CREATORS: Final = ("SUPER", "ALL PRIVILEGES")
#: Errors for a table that one may not read. Source: MariaDB error codes.
_DENIED: Final = (1044, 1142)

_triggers_of_others = text(
    "SELECT trigger_name, action_timing, event_manipulation, event_object_table, action_statement,"
    " definer FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    " AND event_object_table IN :tables AND definer <> CURRENT_USER()"
).bindparams(bindparam("tables", expanding=True))
_accounts = text("SELECT CONCAT(User, '@', Host) FROM mysql.global_priv")


@contextmanager
def schema_settings(conn: Connection) -> Iterator[None]:
    """
    Change the schema as any connection of the registry does, also on an engine of the caller's own.

    What decides how the engine writes names and texts stays, and the rest is set back at the end.
    """
    mode: str = conn.scalar(text("SELECT @@sql_mode")) or ""
    written = [name for name in _WRITTEN if name in mode.split(",")]
    conn.execute(_set_mode, {"mode": ",".join([_MODE, *written])})
    try:
        yield
    finally:
        conn.execute(_set_mode, {"mode": mode})


def upgrade_needs(conn: Connection) -> Iterator[Finding]:
    """Yield what an upgrade needs of the server and the user."""
    yield from (probe.find(conn) for probe in _NEEDS)
    may = not conn.scalar(_is_creator_checked) or any(
        any(right in grant.partition(" ON *.*")[0] for right in _CREATORS)
        for (grant,) in conn.execute(text("SHOW GRANTS"))
        if " ON *.* TO " in grant
    )
    remedy = "set log_bin_trust_function_creators = 1 on the server, or grant SUPER to the user"
    yield Finding("may create triggers", "yes" if may else "no", None if may else remedy)


def lost_triggers(conn: Connection, tables: Iterable[str]) -> list[str]:
    """
    Return the names of the triggers on *tables* whose definer is no account here.

    A trigger acts as its definer, and fails once that is gone, as after a dump was restored
    elsewhere. A user who may not see the accounts cannot tell: then it is any other definer.
    """
    return [trigger.trigger_name for trigger in _lost(conn, tables)]


def adopt_triggers(conn: Connection, tables: Iterable[str]) -> None:
    """Create the lost triggers on *tables* again, as those of the user of *conn*."""
    quote = conn.dialect.identifier_preparer.quote
    for found in _lost(conn, tables):
        statement = (
            f"CREATE OR REPLACE TRIGGER {quote(found.trigger_name)}"
            f" {found.action_timing} {found.event_manipulation}"
            f" ON {quote(found.event_object_table)} FOR EACH ROW {found.action_statement}"
        )
        conn.exec_driver_sql(statement.replace("%", "%%"))


def _lost(conn: Connection, tables: Iterable[str]) -> Sequence[Row[Any]]:
    others = conn.execute(_triggers_of_others, {"tables": [*tables]}).all()
    accounts = _known_accounts(conn) if others else ()
    return [trigger for trigger in others if trigger.definer not in accounts]


def _known_accounts(conn: Connection) -> frozenset[str]:
    try:
        return frozenset(conn.scalars(_accounts))
    except DBAPIError as error:
        if getattr(error.orig, "args", (None,))[0] not in _DENIED:
            raise
        return frozenset()


def script(settings: Iterable[str], statements: Iterable[str]) -> Iterator[str]:
    """
    Yield *statements* as a script of the `mariadb` program, with the *settings* of a connection.

    Each change of the schema commits at once, but what is inserted at the end is one transaction:
    a script that was stopped can be run again.
    """
    for statement in ("SET NAMES utf8mb4", *settings, "SET autocommit = 0", *statements):
        has_body = ";" in statement
        yield f"DELIMITER $$\n{statement}$$\nDELIMITER ;" if has_body else f"{statement};"
    yield "COMMIT;"
