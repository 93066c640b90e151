"""Rename tables and columns of deliveries, and drop functions that have another name, result or parameter names now."""

from walltrack_alerts.migrations import run_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# CREATE OR REPLACE cannot rename a parameter or change a result, and a renamed function would stay beside the new one.
FORGET = """
do $$
declare
  v_function text;
begin
  foreach v_function in array array[
    'alert_order_id(walltrack.alerts)',
    'alerted_order_id(jsonb, text)',
    'answer_alert(walltrack.alerts, text, text, text)',
    'answer_message(bigint, text, text, text, text)',
    'batch_query(walltrack.watched_tables, text)',
    'choose_error(text, text, text, text)',
    'claim_dedupe_key(text)',
    'close_gone_targets(bigint[], text)',
    'close_alerts_of(regclass, text, text, text)',
    'derive_order_id(walltrack.alerts)',
    'disable_gone_targets(bigint[], text[])',
    'due_assignment(walltrack.watched_tables)',
    'failing_targets()',
    'find_order(walltrack.watched_tables, text)',
    'history_condition(walltrack.watched_tables, text)',
    'is_resolve_in_force(walltrack.alerts)',
    'lock_free_alerts(uuid[])',
    'lock_order_of_alert(walltrack.alerts, walltrack.watched_tables, text)',
    'missing_column_refusal(walltrack.watched_tables, jsonb)',
    'order_action_refusal(walltrack.watched_tables, jsonb, text, text)',
    'order_outcome(text, boolean, boolean)',
    'raise_missing(regclass, text, int, boolean)',
    'resolve_ended(boolean, regclass)',
    'restrict_update(walltrack.alerts, walltrack.alerts, walltrack.alerts)',
    'sent_results(bigint[], jsonb)',
    'sync_alert(text, regclass, boolean)',
    'sync_order(regclass, text, text, text, int, int, text, text, text, text, text, numeric, boolean, text, text, boolean, '
    'text, int, text, boolean, boolean, boolean, boolean)',
    'table_action_refusal(regclass)',
    'table_refusal(walltrack.watched_tables)',
    'unreadable_facts(regclass, jsonb)',
    'was_told(bigint, uuid)',
    'write_order_status(walltrack.watched_tables, jsonb, text, text, text)'
  ] loop
    execute 'drop function if exists walltrack.' || v_function;
  end loop;
end
$$;
"""


# CREATE OR REPLACE cannot rename a column of a view either.
RENAME = """
do $$
declare
  v_constraint name;
begin
  if to_regclass('walltrack.message_answers') is not null then
    alter table walltrack.message_answers rename to button_presses;
    alter index walltrack.message_answers_of_alert rename to button_presses_of_alert;
    for v_constraint in
      select conname from pg_constraint
      where conrelid = 'walltrack.button_presses'::regclass and starts_with(conname, 'message_answers_')
    loop
      execute format(
        'alter table walltrack.button_presses rename constraint %I to %I',
        v_constraint, replace(v_constraint, 'message_answers_', 'button_presses_')
      );
    end loop;
  end if;
  if exists (
    select from pg_attribute as a where a.attrelid = to_regclass('walltrack.deliveries') and a.attname = 'last_answer'
  ) then
    drop view walltrack.undelivered, walltrack.target_states;
    alter table walltrack.deliveries rename last_answer to last_response;
    alter table walltrack.deliveries rename constraint deliveries_answers_are_short to deliveries_responses_are_short;
    alter table walltrack.finished_deliveries rename last_answer to last_response;
  end if;
end
$$;
"""


def upgrade() -> None:
    """Drop the functions under their old names and parameters; sql/ creates the new ones."""
    run_script(FORGET)
    run_script(RENAME)


def downgrade() -> None:
    """Change nothing: the functions are dropped with the schema."""
