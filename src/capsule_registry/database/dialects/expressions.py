"""SQL expressions that each database compiles in its own way."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from capsule_registry.database.dialects.types import UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler


class DatabaseNow(FunctionElement[datetime]):
    """The database's clock when the expression is evaluated; null if it has none."""

    inherit_cache = True
    type = UtcDateTime()


class DatabaseUser(FunctionElement[str]):
    """The database user of the connection; null if the database has no users."""

    inherit_cache = True
    type = String()


@compiles(DatabaseNow)
@compiles(DatabaseUser)
def _nothing(element: object, compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401, ARG001
    return "NULL"


@compiles(DatabaseNow, "postgresql")
def _postgresql_now(element: object, compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401, ARG001
    return "clock_timestamp()"


@compiles(DatabaseUser, "postgresql")
def _postgresql_user(element: object, compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401, ARG001
    return "session_user"


@compiles(DatabaseNow, "mysql", "mariadb")
def _mariadb_now(element: object, compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401, ARG001
    return "CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00')"


@compiles(DatabaseUser, "mysql", "mariadb")
def _mariadb_user(element: object, compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401, ARG001
    return "current_user()"
