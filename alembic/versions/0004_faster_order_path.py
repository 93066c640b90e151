"""Replace functions on the path of order writes, and index only resolved alerts by dedupe key and time."""

from walltrack_alerts.migrations import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# CREATE OR REPLACE cannot rename a parameter, and a function with other parameters would stay beside the new one. Only alerting
# itself calls these.
FORGET = """
-- squawk-ignore ban-drop-function
drop function if exists walltrack.sync_order(
  regclass, text, text, text, int, int, text, text, text, text, text, numeric, boolean, text, text, boolean, text, int, text,
  boolean, boolean, boolean
);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.sync_stored_order(regclass, jsonb, text, text, text, text, boolean, timestamptz, text, boolean);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.sync_unusual_write(regclass, jsonb, text, text, text, text, text, boolean, boolean);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.repeat_alert(
  uuid, text, text, text, text, jsonb, boolean, text, regclass, text, int, boolean, text, text
);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.close_alert(uuid, text, text, text, jsonb, boolean, text, text, text, text);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.notification_queue_share(bigint);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.waiting_totals();
-- squawk-ignore ban-drop-function
drop function if exists walltrack.add_waiting(timestamptz, int);
-- squawk-ignore ban-drop-function
drop function if exists walltrack.raise_cancel(timestamptz, text);
"""

INDEX = """
do $$
begin
  if to_regclass('walltrack.alerts_of_dedupe_key') is not null then
    drop index walltrack.alerts_of_dedupe_key;
    create index alerts_of_dedupe_key on walltrack.alerts (dedupe_key, resolved_at) where resolved_at is not null;
  end if;
end
$$;
"""


def upgrade() -> None:
    """Drop the functions under their old names and parameters; sql/ creates the new ones."""
    run_script(FORGET)
    run_script(INDEX)


def downgrade() -> None:
    """Change nothing: the functions and the index are dropped with the schema."""
