"""
The tables as each database makes them, kept in docs/schema so that a review sees every change.

After a change of the tables: python tests/support/schemas.py
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from capsule_registry.schema.migrations import upgrade_statements

DIRECTORY = Path(__file__).parents[2] / "docs" / "schema"
NAMES = ("sqlite", "postgresql", "mariadb")


def file_of(name: str) -> Path:
    """Return the file that holds that database's statements."""
    return DIRECTORY / f"{name}.sql"


def statements(name: str) -> str:
    """Return the statements that create the schema in that database."""
    made = [text for text in upgrade_statements(name) if not text.startswith("INSERT")]
    lines = [line.rstrip() for text in made for line in f"{textwrap.dedent(text)};".split("\n")]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name in NAMES:
        file_of(name).write_text(statements(name))
