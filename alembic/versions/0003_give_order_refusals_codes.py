"""Give order refusals codes: the functions that say why an order cannot be changed return a row instead of a text."""

from walltrack_alerts.migrations import run_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# CREATE OR REPLACE cannot change what a function returns, and with other parameters it creates a second function. Only alerting
# itself calls these.
FORGET = """
-- squawk-ignore ban-drop-function
drop function if exists walltrack.order_action_refusal(walltrack.watched_tables, jsonb, text, text);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.lock_refusal(jsonb);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.waiting_reason(jsonb);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.is_order_alert(walltrack.alerts);
"""

DROP = """
drop type if exists walltrack.order_refusal cascade;
"""


def upgrade() -> None:
    """Drop the functions whose results or parameters have changed; sql/ creates them again."""
    run_script(FORGET)


def downgrade() -> None:
    """Drop the type of a refusal, with the functions that return it."""
    run_script(DROP)
