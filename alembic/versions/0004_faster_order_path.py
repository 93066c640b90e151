"""Replace functions on the path of order writes, and index only resolved alerts by dedupe key and time."""

from walltrack_alerts.migrations import run_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# CREATE OR REPLACE cannot rename a parameter or change a result, and a renamed function would stay beside the new one.
FORGET = """
do $$
declare
  v_function text;
begin
  foreach v_function in array array[
    'add_waiting(timestamptz, int)',
    'alert_order_id(walltrack.alerts)',
    'alerted_order_id(jsonb, text)',
    'batch_query(walltrack.watched_tables, text)',
    'choose_error(text, text, text, text)',
    'claim_dedupe_key(text)',
    'close_alert(uuid, text, text, text, jsonb, boolean, text, text, text, text)',
    'close_gone_targets(bigint[], text)',
    'close_alerts_of(regclass, text, text, text)',
    'derive_order_id(walltrack.alerts)',
    'due_assignment(walltrack.watched_tables)',
    'find_order(walltrack.watched_tables, text)',
    'history_condition(walltrack.watched_tables, text)',
    'is_resolve_in_force(walltrack.alerts)',
    'lock_free_alerts(uuid[])',
    'lock_order_of_alert(walltrack.alerts, walltrack.watched_tables, text)',
    'missing_column_refusal(walltrack.watched_tables, jsonb)',
    'notification_queue_share(bigint)',
    'order_action_refusal(walltrack.watched_tables, jsonb, text, text)',
    'order_outcome(text, boolean, boolean)',
    'raise_cancel(timestamptz, text)',
    'raise_missing(regclass, text, int, boolean)',
    'repeat_alert(uuid, text, text, text, text, jsonb, boolean, text, regclass, text, int, boolean, text, text)',
    'resolve_ended(boolean, regclass)',
    'restrict_update(walltrack.alerts, walltrack.alerts, walltrack.alerts)',
    'sync_alert(text, regclass, boolean)',
    'sync_order(regclass, text, text, text, int, int, text, text, text, text, text, numeric, boolean, text, text, boolean, '
    'text, int, text, boolean, boolean, boolean)',
    'sync_stored_order(regclass, jsonb, text, text, text, text, boolean, timestamptz, text, boolean)',
    'sync_unusual_write(regclass, jsonb, text, text, text, text, text, boolean, boolean)',
    'table_action_refusal(regclass)',
    'table_refusal(walltrack.watched_tables)',
    'unreadable_facts(regclass, jsonb)',
    'waiting_totals()',
    'write_order_status(walltrack.watched_tables, jsonb, text, text, text)'
  ] loop
    execute 'drop function if exists walltrack.' || v_function;
  end loop;
end
$$;
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
