"""
The tables as each database makes them, kept in docs/schema so that a review sees every change.

After a change of the tables: python tests/support/schemas.py
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy.schema import CreateIndex, CreateTable

from capsule_registry import CapsuleRegistry
from capsule_registry.schema.tables import metadata, own_commits
from capsule_registry.schema.upgrade import migrations_directory

DIRECTORY = Path(__file__).parents[2] / "docs" / "schema"
URLS = {
    "sqlite": "sqlite://",
    "postgresql": "postgresql+psycopg://",
    "mariadb": "mariadb+pymysql://",
}


def file_of(name: str) -> Path:
    """Return the file that holds that database's statements."""
    return DIRECTORY / f"{name}.sql"


def statements(name: str) -> str:
    """Return the statements that create the tables in that database."""
    dialect = sa.create_engine(URLS[name]).dialect
    parts: list[sa.DDLElement] = []
    for table in (*metadata.sorted_tables, *([own_commits] if name == "sqlite" else [])):
        parts.append(CreateTable(table))
        parts += [
            CreateIndex(index) for index in sorted(table.indexes, key=lambda index: str(index.name))
        ]
    texts = [str(part.compile(dialect=dialect)).strip() for part in parts]
    texts += [textwrap.dedent(text).strip() for text in _views_and_triggers(name)]
    lines = [
        line.rstrip().replace("\t", "    ") for text in texts for line in f"{text};".split("\n")
    ]
    return "\n".join(lines) + "\n"


def _views_and_triggers(name: str) -> list[str]:
    if name == "sqlite":
        with (
            CapsuleRegistry.open("sqlite://") as registry,
            registry._database.engine.begin() as conn,
        ):
            made = "SELECT sql FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY rowid"
            return [*conn.exec_driver_sql(made).scalars()]
    scripts = ScriptDirectory(str(migrations_directory()))
    first, second = (_module(scripts, version) for version in ("v0001", "v0002"))
    views = second.views(name)
    kept = [one for one in first.statements(name) if not one.startswith(tuple(map(_begins, views)))]
    return [*kept, *views]


def _module(scripts: ScriptDirectory, version: str) -> Any:
    script = scripts.get_revision(version)
    assert script is not None
    return script.module


def _begins(view: str) -> str:
    """Return the words up to the name of the view that a statement makes."""
    return view[: view.index(" AS") + 3]


if __name__ == "__main__":
    for name in URLS:
        file_of(name).write_text(statements(name))
