"""One statement that only reads, on SQLite."""

from __future__ import annotations

from typing import Any, Final

#: Return values of an authorizer, and the actions that it is asked about. Source:
#: https://sqlite.org/c3ref/c_alter_table.html
_ALLOWED: Final = 0
_DENIED: Final = 1
_PRAGMA: Final = 19
_FUNCTION: Final = 31
_READING: Final = frozenset({20, 21, 33})  # READ, SELECT, RECURSIVE
#: PRAGMAs also run as functions: `SELECT * FROM pragma_optimize`.
_READING_PRAGMAS: Final = frozenset(
    (
        *("table_info", "table_list", "table_xinfo", "index_info", "index_list", "index_xinfo"),
        *("foreign_key_check", "foreign_key_list", "integrity_check", "quick_check"),
        *("application_id", "data_version", "encoding", "schema_version", "user_version"),
        *("freelist_count", "page_count", "page_size", "compile_options", "database_list"),
        *("collation_list", "function_list", "module_list", "pragma_list"),
    )
)


def query(connection: Any, statement: str, shown: str) -> Any:  # noqa: ANN401, ARG001 - the driver's own
    """Run *statement* where it may do nothing but read; see `Dialect.query`."""
    connection.set_authorizer(_authorize)
    try:
        return connection.execute(statement)
    finally:
        connection.set_authorizer(None)


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Return whether a statement may do *action*; a function's name is the second argument."""
    if action in _READING:
        return _ALLOWED
    if action == _FUNCTION:
        return _DENIED if (second or "").lower() == "load_extension" else _ALLOWED
    is_reading = action == _PRAGMA and (first or "").lower() in _READING_PRAGMAS
    return _ALLOWED if is_reading else _DENIED
