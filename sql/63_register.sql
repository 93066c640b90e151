-- The list of the objects of alerting, by name, because the host may keep tables and functions of its own in the schema. All code that
-- grants, revokes or drops uses it.

create or replace function walltrack.own_relations() returns setof regclass
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select c.oid::regclass
  from pg_class as c
  where c.relnamespace = 'walltrack'::regnamespace and c.relname in (
    'alerts', 'alert_events', 'order_actions', 'alert_faults', 'watched_tables', 'given_usage', 'open_alerts', 'alert_counts',
    'alert_summary', 'alert_timeline', 'alerts_version', 'alert_events_event_id_seq', 'order_actions_action_id_seq',
    'alert_faults_fault_id_seq', 'waited_in_transaction', 'active_silences', 'undelivered', 'target_states',
    'notification_targets', 'deliveries', 'finished_deliveries', 'sent_messages', 'button_presses', 'silences', 'escalation_steps',
    'relays', 'relay_duties', 'chat_pace', 'notification_targets_target_id_seq', 'deliveries_delivery_id_seq', 'deliveries_lease_seq',
    'silences_silence_id_seq'
  )
$$;

comment on function walltrack.own_relations() is
'The tables, views and sequences of alerting, without those that the host keeps in the schema.';


create or replace function walltrack.own_functions() returns setof regprocedure
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- Longer than a screen: it is a list. By name, and the guards by what they call, because the host may keep functions of its own
  -- in the schema.
  select p.oid::regprocedure
  from pg_proc as p
  where p.pronamespace = 'walltrack'::regnamespace
    and (
      p.proname in (
        'accept_insert', 'accept_update', 'acknowledge_alert', 'acknowledge_alerts', 'act_on_order',
        'actionable_order_id', 'actor_or_user', 'add_silence', 'add_target', 'alert_condition', 'alerts_since',
        'append_event', 'apply_button', 'base_type', 'build_event_detail', 'can_hide_orders',
        'can_read_fact', 'can_read_orders', 'can_run_foreign_code', 'cancel_order', 'changed_alerts', 'chart_errors',
        'chart_open', 'chart_raised', 'chart_response', 'chart_times', 'chart_tokens', 'chat_claim', 'chat_messages',
        'check_argument', 'check_capacity', 'check_escalation_step', 'check_event_cursor', 'check_keys',
        'check_placeholder', 'check_readable', 'check_relay', 'check_results', 'check_role', 'check_start',
        'check_table', 'check_url', 'check_watchable', 'checked_apprise', 'checked_config', 'checked_telegram',
        'checked_webhook', 'choose_error', 'claim_deliveries', 'claim_each', 'claim_message', 'clear_faults', 'clip',
        'clock_time', 'close_order_alert', 'cluster_id', 'column_types', 'complete_alert', 'complete_alert_data',
        'complete_order_alerts', 'cursor_origin', 'delivery_item', 'described_watches', 'digest_of',
        'disable_gone_targets', 'disable_target', 'drop_deliveries', 'due_assignment', 'due_in_chat', 'due_time',
        'enable_row_security', 'enable_target', 'end_expired_leases', 'end_silence', 'ended_order_refusal',
        'error_family', 'escalate_alert', 'escalate_overdue', 'event_cursor', 'events_of_deliveries',
        'existing_guard_name', 'existing_watched_tables', 'fact_expression', 'fact_length', 'fact_names',
        'failing_targets', 'fan_out_events', 'fan_out_target', 'filter_interval', 'filter_texts', 'filtered_target',
        'find_actionable_table', 'find_and_sync_order', 'find_named_alerts', 'find_order_table', 'find_stored_orders',
        'find_target', 'finish_deliveries', 'finish_unsent', 'first_text', 'follow_columns', 'foreign_alert_order_id',
        'format_age', 'format_sentence', 'format_utc', 'grant_access', 'grant_reading', 'grant_targets',
        'granted_functions', 'granted_policies', 'guard_defects', 'guard_name', 'guard_source', 'guard_template',
        'has_alert', 'has_foreign_owner', 'has_other_rights', 'health', 'health_of_dead_letters',
        'health_of_deliveries', 'health_of_dumps', 'health_of_event_trigger', 'health_of_faults', 'health_of_guards',
        'health_of_notification_queue', 'health_of_order_actions', 'health_of_orders', 'health_of_progress',
        'health_of_relays', 'health_of_schema', 'health_of_targets', 'health_of_watching', 'history_condition',
        'hold_dead', 'hold_deliveries', 'hold_heads', 'hold_queues', 'hold_targets', 'id_condition', 'is_awake',
        'is_comparable', 'is_duplicate', 'is_exhausted', 'is_given_up', 'is_guard_source', 'is_open', 'is_order_alert',
        'is_relay_running', 'is_resolution_in_force', 'is_ringing',
        'is_trusted', 'known_faults', 'knows_alert', 'last_success_of', 'late_events', 'leave_out_unsent',
        'limit_amount', 'limit_lock_wait', 'list_alerts', 'list_place', 'lock_alert', 'lock_available_alerts',
        'lock_dedupe_key', 'lock_order_of_alert', 'lock_refusal', 'lock_targets_of', 'lock_wait_totals', 'map_columns',
        'matching_columns', 'median_seconds_to_acknowledge', 'metrics_of_deliveries', 'metrics_of_delivery_lag',
        'metrics_of_open_alerts', 'metrics_of_response', 'metrics_of_stream', 'missing_column_refusal',
        'missing_triggers', 'narrow_grants', 'narrow_target_grants', 'newest_order_action', 'normalize_alert',
        'normalize_lifecycle', 'notification_queue_share', 'notify_event', 'one_line', 'open_alert',
        'open_alert_states', 'open_order_alerts', 'open_page_query', 'order_action_refusal', 'order_dedupe_key',
        'order_label', 'order_message', 'order_of_alert', 'order_outcome', 'overdue_escalations', 'own_functions',
        'own_relations', 'ownership_instruction', 'parse_event_cursor', 'parse_int', 'parse_is_simulated',
        'parse_list_place', 'parse_number', 'parse_time', 'pass_quiet_hours', 'plan_watch', 'press_button', 'purge_alerts',
        'purge_batch', 'purge_cutoff', 'purge_delivery_history', 'quiet_target', 'raise_alert', 'raise_missing_alerts',
        'raise_pending_cancel', 'raise_refusal', 'read_events', 'read_facts_unchecked', 'read_order',
        'read_order_facts', 'read_refusal', 'read_values_unchecked', 'readable_data', 'readable_snapshot',
        'reconcile_instruction', 'reconcile_orders', 'record_escalation_fault', 'record_fault', 'record_lock_wait',
        'record_messages', 'record_missing_event', 'record_order_state', 'recorded_order_id', 'refresh_alert',
        'refuse_resolved', 'refuse_target', 'relay_metrics', 'relay_seen', 'relay_stopped', 'remaining_lock_wait',
        'remove_escalation_step', 'remove_target', 'renew_grants', 'repeat_alert', 'repeat_open_alert',
        'replay_deliveries', 'required_facts', 'resolve_alert', 'resolve_alerts', 'resolve_alerts_of_table',
        'resolve_by_dedupe_key', 'resolve_ended_alerts', 'resolve_raised_alert', 'resolved_page_query',
        'restrict_update', 'retry_delay', 'retry_now', 'retry_order', 'revoke_access', 'revoke_api_roles',
        'run_instruction', 'scan_query', 'sent_results', 'set_escalation_step', 'set_target', 'settle_queues',
        'severity_rank', 'silence_of', 'snooze_alert', 'snooze_alerts', 'start_lock_wait_totals', 'sync_arguments',
        'sync_deleted_order', 'sync_order', 'sync_stored_order', 'sync_unusual_write', 'table_name', 'table_refusal',
        'table_tree', 'take_duty', 'target_address', 'target_filters', 'target_wants', 'text_condition',
        'text_expression', 'tg_alert_events__append_only', 'tg_alert_events__protect_commit',
        'tg_alerts__append_delete_event', 'tg_alerts__check_lifecycle', 'tg_alerts__delete_events', 'tg_ddl__follow',
        'tg_ddl__forget', 'tg_ddl__warn', 'tg_order_actions__append_only', 'tg_watched__truncated', 'token_label',
        'trigger_search_path', 'trim_to_null', 'type_name', 'types_unchanged_expression', 'unchanged_expression',
        'undelivered_alerts', 'unread_events', 'unread_events_of', 'unread_tables', 'unreadable_facts', 'unused_xid',
        'unwatch_orders', 'unwatched_successors', 'update_refusal', 'waiting_reason', 'wanted_events', 'was_notified',
        'watch_orders', 'watched_root', 'write_guard', 'write_order_status', 'yield_heads'
      )
      or walltrack.is_guard_source(p.prosrc)
    )
$$;

comment on function walltrack.own_functions() is 'The functions of alerting, without those that the host keeps in the schema.';
