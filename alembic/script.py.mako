"""${message[0].upper() + message[1:]}."""

from walltrack_alerts.migrations import run_script

revision = "${up_revision}"
down_revision = "${down_revision}"
branch_labels = None
depends_on = None

# Runs before the files of sql/, on an empty database too: change only what exists.
UPGRADE = """
"""

# Runs before any other object is dropped: drop the views, triggers and functions that need what this drops.
DOWNGRADE = """
"""


def upgrade() -> None:
    """Change the objects that exist."""
    run_script(UPGRADE)


def downgrade() -> None:
    """Take the change back."""
    run_script(DOWNGRADE)
