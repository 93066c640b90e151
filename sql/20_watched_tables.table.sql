-- Which tables are guarded. watch_orders() writes a row here, unwatch_orders() deletes it.
--
-- No order write reads this table: write_guard() puts what the guard needs into the guard itself.

create table walltrack.watched_tables (
    table_id regclass primary key,
    table_name text not null,
    columns jsonb not null,
    column_types jsonb not null default '{}',
    cancel_pattern text not null,
    order_actions boolean not null default true,
    notify text not null default 'event',
    watched_since timestamptz not null default clock_timestamp(),
    constraint watched_tables_columns_are_an_object check (jsonb_typeof(columns) = 'object'),
    constraint watched_tables_column_types_are_an_object check (jsonb_typeof(column_types) = 'object'),
    constraint watched_tables_notify_is_known check (notify in ('event', 'transaction', 'off'))
);

-- At every upgrade:

comment on table walltrack.watched_tables is 'The orders tables that have a guard, one row per table.';
comment on column walltrack.watched_tables.table_id is 'The table; for a partitioned table, its root.';
comment on column walltrack.watched_tables.table_name is
'The name of the table when watch_orders() was last called for it. A different table of this name is probably its successor, '
'and health() reports that it is not watched.';
comment on column walltrack.watched_tables.columns is
'Fact of an order -> column of the table; a fact that is not listed is NULL. The facts are the attributes of '
'walltrack.order_facts, and columns that only operators read or change, e.g. locked_until.';
comment on column walltrack.watched_tables.column_types is
'Fact -> type of its column when the guard was last generated; a fact that is missing here had no column then. Columns are '
'identified by name, because a restored dump renumbers them.';
comment on column walltrack.watched_tables.cancel_pattern is
'If the last_error of an exhausted, cancelled order matches this regular expression, the retry worker cancelled it when it gave '
'up. This is not the decision of an operator, so the alert stays open.';
comment on column walltrack.watched_tables.order_actions is
'Whether operators may retry and cancel orders of the table.';
comment on column walltrack.watched_tables.notify is
'When order writes notify listeners: event (each event), transaction (once per transaction) or off (listeners poll).';
comment on column walltrack.watched_tables.watched_since is
'When the table was first watched. Orders that the retry worker cancelled before that are history and raise no alerts.';
