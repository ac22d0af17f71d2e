"""
The tables as each database makes them, kept in docs/schema so that a review sees every change.

After a change of the tables: python tests/support/schemas.py
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy.schema import CreateIndex, CreateTable

from capsule_registry.schema.tables import cache_log, metadata
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
    for table in (*metadata.sorted_tables, *([cache_log] if name == "sqlite" else [])):
        parts.append(CreateTable(table))
        parts += [
            CreateIndex(index) for index in sorted(table.indexes, key=lambda index: str(index.name))
        ]
    texts = [str(part.compile(dialect=dialect)).strip() for part in parts]
    scripts = ScriptDirectory(str(migrations_directory()))
    first = scripts.get_revision("v0001")
    assert first is not None
    made = [one for one in first.module.statements(name) if "CREATE TABLE" not in one]
    texts += [textwrap.dedent(text).strip() for text in made]
    lines = [
        line.rstrip().replace("\t", "    ") for text in texts for line in f"{text};".split("\n")
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name in URLS:
        file_of(name).write_text(statements(name))
