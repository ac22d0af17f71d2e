"""
A log of what changed, for those who keep rows in memory: on SQLite alone, where there are such.

This file is history: it never changes once it is released, and it imports nothing of the library.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one: triggers write the log.
oldest_compatible = "0003"

#: How many rows are kept, and how often the rest is removed. Whoever is further behind than that
#: lets go of all it keeps.
KEPT, EVERY = 10_000, 1_000

#: Of each table, the column that names a row. Capsules go with their grants, all with their
#: manifest.
KEYS = {"capsules": "id", "grants": "capsule_id", "manifests": "digest", "uuid_mappings": "uuid"}


def log(row: str, kind: str, key: str) -> str:
    """A statement that logs one row."""
    return (
        "INSERT INTO cache_log (namespace, kind, key)"
        f" VALUES ({row}.namespace, '{kind}', {row}.{key});"
    )


def statements() -> list[str]:
    """Return what makes the log and the triggers."""
    made = [
        """CREATE TABLE cache_log (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    namespace VARCHAR(63) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    "key" VARCHAR(128) NOT NULL
)""",
        f"""CREATE TRIGGER cache_log_pruned AFTER INSERT ON cache_log WHEN NEW.seq % {EVERY} = 0
BEGIN DELETE FROM cache_log WHERE seq <= NEW.seq - {KEPT}; END""",
    ]
    for table, key in KEYS.items():
        kind = "capsules" if table == "grants" else table
        old, new = log("OLD", kind, key), log("NEW", kind, key)
        for verb, logged in (("INSERT", new), ("UPDATE", f"{old} {new}"), ("DELETE", old)):
            name = f"{table}_{verb.lower()}_logged"
            made.append(f"CREATE TRIGGER {name} AFTER {verb} ON {table}\nBEGIN {logged} END")
    # A lease that lasts longer than before takes nothing from anybody.
    gone = log("OLD", "leases", "id")
    made.append(f"CREATE TRIGGER leases_delete_logged AFTER DELETE ON leases\nBEGIN {gone} END")
    made.append(f"""CREATE TRIGGER leases_update_logged AFTER UPDATE ON leases
WHEN NEW.namespace IS NOT OLD.namespace OR NEW.id IS NOT OLD.id
    OR NEW.boot_id IS NOT OLD.boot_id
    OR coalesce(NEW.expires_at < OLD.expires_at, 1)
    OR (NEW.expires_uptime_ms IS NOT OLD.expires_uptime_ms
        AND coalesce(NEW.expires_uptime_ms < OLD.expires_uptime_ms, 1))
BEGIN {gone} END""")
    return made


def upgrade() -> None:
    """Make the log and the triggers that fill it."""
    if op.get_context().dialect.name == "sqlite":
        for statement in statements():
            op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    if op.get_context().dialect.name == "sqlite":
        names = [
            f"{table}_{verb}_logged" for table in KEYS for verb in ("insert", "update", "delete")
        ]
        for name in [*names, "leases_delete_logged", "leases_update_logged"]:
            op.execute(f"DROP TRIGGER {name}")
        op.execute("DROP TABLE cache_log")
