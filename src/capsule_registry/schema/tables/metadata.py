"""The naming convention of constraints, and marks on columns."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import MetaData

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: Marks columns that row images omit, such as a manifest, which its digest identifies.
NOT_IMAGED: Final[dict[str, Any]] = {"imaged": False}


def imaged_unless(value: object) -> dict[str, Any]:
    """Return the mark of a column that row images omit if it has that *value*."""
    return {"imaged_unless": value}
