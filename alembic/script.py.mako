"""${message}

A revision holds only what changes a table that exists already, and does nothing where the table does not exist yet:
sql/ creates it then, in its current form. Its downgrade runs before anything else is dropped: it also drops the views, triggers and
functions that need what it takes away.
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
