"""One statement that only reads, on MariaDB."""

from __future__ import annotations

import re
from typing import Any, Final

from capsule_registry.errors import PermissionDeniedError

#: SERVER_STATUS_IN_TRANS_READONLY. Source: MariaDB, "OK_Packet".
_IN_READ_ONLY_TRANSACTION: Final = 0x2000
#: COM_SET_OPTION, and MYSQL_OPTION_MULTI_STATEMENTS_OFF. Source: MariaDB, "COM_SET_OPTION".
_SET_OPTION: Final = 0x1B
_ONE_STATEMENT: Final = b"\x01\x00"

#: What the server reads as text, as a quoted name or as a comment. `--` begins a comment only
#: before an ASCII blank or control character.
_QUOTED: Final = re.compile(
    r"""
      '(?:[^'\\]|\\.|'')*'
    | "(?:[^"\\]|\\.|"")*"
    | `(?:[^`]|``)*`
    | --(?=[\x01-\x20\x7f]|\Z)[^\n]*
    | \#[^\n]*
    | /\*(?!M?!).*?\*/
    """,
    re.VERBOSE | re.DOTALL,
)
#: INTO may follow a number, or `\N`, without a blank.
_INTO: Final = re.compile(r"(?:(?<![a-z_$])|(?<=\\N))into(?![a-z0-9_$])", re.IGNORECASE)


def query(connection: Any, statement: str, shown: str) -> Any:  # noqa: ANN401 - the driver's own
    """Run *statement* alone in a read-only transaction; see `Dialect.query`."""
    if refusal := _refusal(statement):
        raise PermissionDeniedError(shown, refusal)
    # The URL may have allowed several statements.
    connection._execute_command(_SET_OPTION, _ONE_STATEMENT)  # noqa: SLF001 - it has no other name
    connection._read_packet()  # noqa: SLF001
    # How the server tells words and texts apart must be as `_QUOTED` has it.
    connection.set_character_set("utf8mb4")
    cursor = connection.cursor()
    cursor.execute("SET sql_mode = ''")
    cursor.execute("START TRANSACTION READ ONLY")
    if not connection.server_status & _IN_READ_ONLY_TRANSACTION:
        raise PermissionDeniedError(shown, "the server did not begin a read-only transaction")
    cursor.execute(statement)
    return cursor


def _refusal(statement: str) -> str | None:
    """Return why *statement* is not run, though the server would run it in such a transaction."""
    # A blank, since the server separates words at a comment as well.
    bare = _QUOTED.sub(" ", statement)
    if "/*" in bare:
        return "a query has no executable comment"
    if _INTO.search(bare):
        return "a query has no INTO: it would write a file on the server, or a variable"
    return None
