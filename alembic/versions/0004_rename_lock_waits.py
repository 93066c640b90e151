"""Rename functions and parameters on the path of order writes."""

from walltrack_alerts.migrations import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# CREATE OR REPLACE cannot rename a parameter, and a renamed function would stay under its old name, too. Only alerting itself
# calls these.
FORGET = """
-- squawk-ignore ban-drop-function
drop function if exists walltrack.sync_order(
  regclass, text, text, text, int, int, text, text, text, text, text, numeric, boolean, text, text, boolean, text, int, text,
  boolean, boolean, boolean, boolean
);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.sync_stored_order(regclass, jsonb, text, text, text, text, boolean, timestamptz, text, boolean);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.sync_unusual_write(regclass, jsonb, text, text, text, text, text, boolean, boolean);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.waiting_totals();
-- squawk-ignore ban-drop-function
drop function if exists walltrack.add_waiting(timestamptz, int);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.raise_cancel(timestamptz, text);
"""


def upgrade() -> None:
    """Drop the functions under their old names; sql/ creates them again."""
    run_script(FORGET)


def downgrade() -> None:
    """Change nothing: the functions are dropped with the schema."""
