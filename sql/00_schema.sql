-- walltrack_alerts: the database itself raises an alert when an order has failed permanently.
--
-- Read the files in order: a function calls only functions above it. ARCHITECTURE.md has a glossary.
--
--   10_orders.table.sql          the orders of the trading bot (created only where the table is missing)
--   20_watched_tables.table.sql  which tables are watched, and the mapping of their columns
--   21_order_facts.table.sql     one order, independent of the columns of its table
--   22_order_alert_data.table.sql  the data of an order alert
--   23_event_detail.table.sql    the detail of an event
--   24_order_refusal.table.sql   why an order cannot be retried or cancelled
--   30_alerts.table.sql          alerts: at most one open alert per dedupe key
--   31_alert_events.table.sql    the history of each alert, append-only
--   32_alert_faults.table.sql    errors of alerting itself
--   33_order_actions.table.sql   what operators did to orders
--   34_given_usage.table.sql     the roles to which grant_access() gave usage on the schema
--   35_texts.sql                 parsing and formatting; what severities and statuses mean
--   36_notification_targets.table.sql  targets: where events are delivered, and which ones
--   37_deliveries.table.sql      one event for one target, until it is finished
--   38_finished_deliveries.table.sql  deliveries that are done
--   39_sent_messages.table.sql   chat messages that can be edited and have buttons
--   40_waiting.sql               limits how long an order write waits for alerting; records errors
--   41_button_presses.table.sql  button presses
--   42_silences.table.sql        silences: rules that mute alerts for a while
--   43_escalation_steps.table.sql  when an unacknowledged alert is escalated
--   44_relays.table.sql          the relay processes
--   45_events.sql                events and their notifications
--   46_relay_duties.table.sql    periodic work that one relay at a time does for all
--   47_chat_pace.table.sql       when a chat can get its next message
--   48_writers.sql               the functions that write alerts, one per transition, each with its event
--   50_lifecycle.sql             the functions that operators and services call: raise, acknowledge, snooze, resolve
--   55_sync_order.sql            synchronizes the alert of one order with the order: raise, repeat, refresh, resolve or nothing
--   57_facts.sql                 the facts of an order, and the SQL that reads them from its table
--   58_foreign_tables.sql        which tables are not read, so that no code of other roles runs with the privileges of the schema owner
--   60_stored_orders.sql         sync_order() for a stored order, e.g. after nested writes
--   61_complete_alerts.sql       fills in the facts of order alerts that another program wrote
--   62_other_writers.sql         normalizes what other programs write to alerts by plain statements
--   63_check_lifecycle.sql       the trigger that enforces the lifecycle of an alert, for every writer
--   63_register.sql              the list of the tables and functions of alerting
--   64_access.sql                least privilege: no role may do anything until grant_access() says so
--   65_guard.sql                 the trigger on orders: returns at once unless the write matters
--   66_follow_ddl.sql            rewrites the guard when the columns of its table change
--   67_watch.sql                 watch_orders() and unwatch_orders()
--   68_order_refusals.sql        why the state of an order rules out a retry or a cancel
--   70_order_actions.sql         retries or cancels the order of an alert
--   71_read_events.sql           the stream: every event after a cursor, once, in order
--   72_check_targets.sql         validates what add_target() and set_target() are given
--   72_targets.sql               adds, changes, enables, disables and removes targets; which events a target gets
--   73_silences.sql              adds and ends silences
--   74_check_relay.sql           validates what relays pass to functions
--   74_fan_out.sql               creates deliveries from the event stream
--   75_claim.sql                 what a relay sends next, and what is not sent any more
--   75_claim_chats.sql           digests and rate limits of chats; the claim for all kinds of targets
--   76_finish.sql                records the outcome of what a relay has sent
--   77_messages.sql              handles button presses
--   78_escalation.sql            escalates alerts that no operator has acknowledged
--   79_relays.sql                what relays report about themselves
--   80_views.sql                 open_alerts, alert_counts, alert_summary, alert_timeline
--   81_delivery_views.sql        undelivered, target_states
--   82_lists.sql                 lists with filters, page by page
--   87_statistics.sql            statistics for the charts
--   88_relay_metrics.sql         what the relay exports to Prometheus
--   90_reconcile.sql             compares orders with alerts and heals what is missing
--   91_health_checks.sql         the checks of health(), with advice for the calling role
--   92_purge.sql                 retention: deletes alerts that were resolved long ago, and old deliveries
--   93_delivery_health.sql       the checks of relays, targets and deliveries
--   94_health.sql                health(): whether alerting itself works
--   95_privileges.sql            revokes default privileges of PUBLIC and of the roles of a public API
--   99_refresh_guards.sql        regenerates the guards of all watched tables after an upgrade
--
-- The life of one alert, in the order of the calls:
--
--   update orders ...                        the last attempt of an order fails
--     tg_orders__guard()                     a watched column changed and the order is exhausted
--       sync_order(table, facts ...)         the write names the cause, so no alert is read: raise one
--         open_alert(...)                    inserts the alert and its event 'raised'
--           notify_event(...)                pg_notify on channel walltrack_alerts
--   commit                                   all of it becomes visible, or none of it
--
--   the next attempt fails                   repeat_alert(...): the same alert, occurrences + 1, event 'repeated'
--   acknowledge_alert(id, 'ada')             an operator has seen it, event 'acknowledged'
--   update orders set status = 'filled'      close_order_alert(..., 'Order filled'), event 'resolved'
--
-- Lock order: first the row of orders, then the row of alerts. The reconciler, which holds several locks, never waits for an
-- order.
--
-- A file NAME.table.sql holds one table (or type); the part above its line "At every upgrade" runs only if the table
-- does not exist. All other parts can run again at any time. The runner is `walltrack-alerts migrate` or
-- `alembic upgrade head`.

-- Alerts quote error texts and token symbols, which may contain any character.
do $$
begin
  if getdatabaseencoding() <> 'UTF8' then
    raise exception 'database % has encoding %, but alerting requires UTF8', current_database(), getdatabaseencoding()
      using errcode = 'feature_not_supported',
      hint = 'Restore a dump of it into a database created with: create database ... encoding ''UTF8'' template template0.';
  end if;
end
$$;

create schema if not exists walltrack;
