"""A plain ORM on the same tables: mapped classes, a session per call, no history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, MetaData, Table, create_engine, event
from sqlalchemy.orm import Session, registry

from capsule_registry import sqlite_module
from support.rows import HISTORY, WRITTEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from support.rows import Rows


def _engine(url: str) -> Engine:
    """Return an engine for a file, as durable and strict as the registry's."""
    engine = create_engine(url, module=sqlite_module)

    def tell(connection: Any, record: object) -> None:  # noqa: ARG001, ANN401 - the driver's own
        for setting in ("synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {setting}")

    event.listen(engine, "connect", tell)
    return engine


def _classes(engine: Engine) -> dict[str, type[Any]]:
    """Return a class for each table, mapped by reflection."""
    found, metadata = {}, MetaData()
    mapper = registry(metadata=metadata)
    for name in (table.name for table in WRITTEN if table.name not in HISTORY):
        mapped = type(name, (), {})
        mapper.map_imperatively(mapped, Table(name, metadata, autoload_with=engine))
        found[name] = mapped
    return found


def find_by_session(url: str) -> Callable[[UUID], str]:
    """Return a function that gets a UUID's row by its key, in a session of its own."""
    engine = _engine(url)
    mapped = _classes(engine)["uuid_mappings"]

    def find(uuid: UUID) -> str:
        with Session(engine) as session:
            found: str = session.get_one(mapped, ("default", str(uuid))).capsule_id
            return found

    return find


def registering(url: str) -> Callable[[Rows], None]:
    """Return a function that adds the live rows of a registration and commits."""
    engine = _engine(url)
    classes = _classes(engine)

    def register(rows: Rows) -> None:
        with Session(engine) as session:
            for name in rows.of:
                if name in classes:
                    session.add_all(classes[name](**row) for row in rows.dicts(name))
                    session.flush()  # Without relationships, the session does not know the order.
            session.commit()

    return register
