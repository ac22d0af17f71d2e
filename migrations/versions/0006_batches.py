"""
Let one transaction append several revisions to a SQLite file: those of units that commit together.

A trigger admitted the next revision alone. It stays true that nothing takes the place of what is
there: a new row lies beyond the head.
"""

from alembic.operations import Operations

revision = "v0006"
down_revision = "v0005"
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one.
oldest_compatible = "v0005"

MESSAGE = "the history is append-only: only pruning deletes, and nothing changes it"
HEAD = "(SELECT revision FROM namespaces WHERE name = NEW.namespace)"
#: By table: what is refused besides a rowid that is there, and a revision that does not come next.
ALSO_REFUSED = {
    "events": "",
    "revisions": " OR EXISTS (SELECT 1 FROM revisions WHERE request_id = NEW.request_id)",
}


def upgrade(op: Operations) -> None:
    """Admit every revision beyond the head."""
    if op.get_context().dialect.name == "sqlite":
        fence(op, f"(NEW.revision > {HEAD}) IS NOT 1")


def downgrade(op: Operations) -> None:
    """Admit the next revision alone."""
    if op.get_context().dialect.name == "sqlite":
        fence(op, f"NEW.revision IS NOT {HEAD.replace('revision', 'revision + 1')}")


def fence(op: Operations, refused: str) -> None:
    """Make the triggers anew."""
    for table, also in ALSO_REFUSED.items():
        same_rowid = f" OR EXISTS (SELECT 1 FROM {table} WHERE rowid = NEW.rowid)"
        op.execute(f"DROP TRIGGER {table}_appended")
        op.execute(
            f"CREATE TRIGGER {table}_appended BEFORE INSERT ON {table} WHEN "
            f"{refused}{same_rowid}{also} BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        )
