"""${message}

A revision holds only what changes a table that exists already, and does nothing where the table does not exist: sql/ creates it
then, in its current form. The downgrade runs before any other object is dropped, so it also drops the views, triggers and functions
that need what it removes.
"""

from walltrack_alerts.migrations import run_script

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None

UPGRADE = """
"""

DOWNGRADE = """
"""


def upgrade() -> None:
    """Change the tables that exist."""
    run_script(UPGRADE)


def downgrade() -> None:
    """Take the change back."""
    run_script(DOWNGRADE)
