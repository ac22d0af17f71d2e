"""
${message}

House rules of a migration:
- It imports `alembic.operations` and `sqlalchemy` only: names in the library may change, this may
  not. `alembic.op` is the host's: use the argument.
- The previous release must run on the schema that it leaves (`oldest_compatible`): add first,
  and remove in a later release.
- On MariaDB every statement commits at once: one change of the schema in a migration where that
  is possible, and each statement such that it can be run again.
"""

import sqlalchemy as sa
from alembic.operations import Operations

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}
#: The oldest schema version whose library can still run on this one.
oldest_compatible = ${repr(up_revision)}


def upgrade(op: Operations) -> None:
    ${upgrades if upgrades else "pass"}


def downgrade(op: Operations) -> None:
    ${downgrades if downgrades else "pass"}
