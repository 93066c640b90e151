-- walltrack_alerts: the database itself raises the alarm when an order has finally failed.
--
-- Read the files in their order; it is the way of the data.
--
--   10_orders.table.sql          the table of the trading bot (created here only where there is none)
--   20_watched_tables.table.sql  which tables are guarded, how their columns are called
--   21_order_facts.table.sql     one order as everything after the guard sees it
--   30_alerts.table.sql          what needs a person: at most one open alert per dedupe key
--   31_alert_events.table.sql    what happened to each alert, never edited
--   32_alert_faults.table.sql    what went wrong in alerting itself
--   33_order_actions.table.sql   what operators did to orders
--   40_guard.sql                 the trigger: leaves at once unless this order write matters; watch_orders()
--   41_follow_ddl.sql            writes the guard again when the columns of its table change
--   50_order_changed.sql         decides: raise, repeat, refresh, resolve or nothing
--   60_lifecycle.sql             the only functions that write alerts, one per transition
--   65_order_actions.sql         retry and cancel of the order of an alert
--   70_events.sql                appends the event and wakes the listeners
--   71_read_events.sql           the stream: every event after a cursor, once, in order
--   80_views.sql                 open_alerts, alert_counts, alert_summary, alert_timeline
--   82_lists.sql                 lists with filters, page by page
--   85_health.sql                whether alerting itself works
--   87_statistics.sql            what the charts show
--   90_reconcile.sql             compares orders with alerts and heals what is missing
--   92_purge.sql                 forgets what was resolved long ago
--   95_privileges.sql            who may do what: nobody, until grant_access() says so
--   99_refresh_guards.sql        writes the guards of all watched tables again after an upgrade
--
-- The life of one alert, in the order of the calls:
--
--   update orders ...                        the last attempt of an order fails
--     tg_orders__guard()                     a watched column changed and the order is exhausted
--       order_changed(table, old, new)       reads the facts of the order from the row
--         follow_order(table, old, new)      no alert is open for it: raise one
--           upsert_alert(...)                inserts the alert
--             append_event(alert, 'raised')  inserts the event, pg_notify on channel walltrack_alerts
--   commit                                   all of it becomes visible, or none of it
--
--   the next attempt fails                   the same alert: occurrences + 1, event 'repeated'
--   acknowledge_alert(id, 'ada')             a person has seen it, event 'acknowledged'
--   update orders set status = 'filled'      close_alert(..., 'Order filled'), event 'resolved'
--
-- Lock order: first the row of orders, then the row of alerts. A function that takes both takes them in this order, and
-- the reconciler, which holds several, never waits for an order.
--
-- A file NAME.table.sql holds one table (or type); what stands above its line "At every upgrade" is run only while the
-- table does not exist. Everything else can be run again at any time. The runner is `walltrack-alerts migrate` or `alembic upgrade head`.

-- Errors and symbols come from everywhere, and alerts quote them.
do $$
begin
  if getdatabaseencoding() <> 'UTF8' then
    raise exception 'the encoding of database % is %: alerts need UTF8', current_database(), getdatabaseencoding()
      using errcode = 'feature_not_supported', hint = 'Load a dump of it into one that is made with: create database ... encoding ''UTF8'' template template0.';
  end if;
end
$$;

create schema if not exists walltrack;
