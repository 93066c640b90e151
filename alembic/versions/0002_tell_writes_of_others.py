"""Distinguish writes of other programs from alerting's own by a column that only alerting writes."""

from walltrack_alerts.migrations import run_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ADD = """
alter table if exists walltrack.alerts add column if not exists own_writes bigint not null default 0;
"""

# Their parameters have been renamed, which CREATE OR REPLACE does not allow. Only alerting itself calls them.
FORGET = """
-- squawk-ignore ban-drop-function
drop function if exists walltrack.refresh_alert(uuid, text, text, text, jsonb, regclass, text, int, boolean);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.repeat_alert(
  uuid, text, text, text, text, jsonb, boolean, text, regclass, text, int, boolean, text, text
);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.sync_unusual_write(regclass, jsonb, text, text, text, text, text, boolean, boolean);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.raise_swallowed_cancel();
-- squawk-ignore ban-drop-function
drop function if exists walltrack.order_facts_of(jsonb);
"""

DROP = """
drop function if exists walltrack.tg_alerts__append_delete_event cascade;
drop view if exists walltrack.open_alerts;
alter table if exists walltrack.alerts drop column if exists own_writes;
"""


def upgrade() -> None:
    """Add the column if the table exists, and drop the functions whose parameters have been renamed."""
    run_script(ADD)
    run_script(FORGET)


def downgrade() -> None:
    """Drop the column, with the view that reads it and the trigger function that was added with it."""
    run_script(DROP)
