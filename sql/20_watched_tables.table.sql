-- Which tables are guarded. watch_orders() writes a row here, unwatch_orders() takes it away.

create table walltrack.watched_tables (
    table_id regclass primary key,
    columns jsonb not null,
    column_types jsonb not null default '{}',
    cancel_pattern text not null,
    order_actions boolean not null default true,
    watched_since timestamptz not null default clock_timestamp(),
    constraint watched_tables_columns_are_an_object check (jsonb_typeof(columns) = 'object'),
    constraint watched_tables_column_types_are_an_object check (jsonb_typeof(column_types) = 'object')
);

-- At every upgrade:

comment on table walltrack.watched_tables is 'The tables whose orders are guarded, one row per table.';
comment on column walltrack.watched_tables.table_id is 'The table, or the root of a partitioned one.';
comment on column walltrack.watched_tables.columns is
'Fact of an order -> column of the table; a fact that is absent is read as NULL. The facts are the attributes of '
'walltrack.order_facts and what only people read or change, e.g. locked_until.';
comment on column walltrack.watched_tables.column_types is
'Fact -> type of its column when the guard was last written; one that is in columns but not here had no column then. By '
'names and not by numbers, which a restored dump assigns anew.';
comment on column walltrack.watched_tables.cancel_pattern is
'A cancel of an exhausted order whose last_error matches this regular expression is the retry worker giving up, '
'not somebody''s decision: the alert stays open.';
comment on column walltrack.watched_tables.order_actions is
'Whether operators may retry and cancel its orders from their alerts.';
comment on column walltrack.watched_tables.watched_since is
'When the table was first watched. Orders cancelled by the retry worker before that are history and wake nobody.';
