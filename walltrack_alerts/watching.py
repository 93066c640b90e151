"""Watches and unwatches orders tables: the plan, and its execution without blocking writers for long."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from walltrack_alerts.database import connect
from walltrack_alerts.errors import PermissionDeniedError, UnwatchableTableError, translate
from walltrack_alerts.migrations import LOCK_PAUSE, LOCK_TIMEOUT, LOCK_TRIES

log = logging.getLogger(__name__)

# A cast to regclass would need rights on the schema.
_FIND: LiteralString = """
select c.oid
from parse_ident(%s) as name
inner join pg_class as c on c.relname = name[cardinality(name)] and c.relkind in ('r', 'p', 'v', 'm', 'f')
inner join pg_namespace as n on n.oid = c.relnamespace
where case cardinality(name) when 1 then n.nspname = any (current_schemas(false)) when 2 then n.nspname = name[1] else false end
order by array_position(current_schemas(false), n.nspname)
limit 1
"""
_SIMILAR: LiteralString = """
select string_agg(format('%%I.%%I', n.nspname, c.relname), ', ' order by n.nspname, c.relname)
from pg_class as c
inner join pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition
  and lower(c.relname) = lower(btrim(regexp_replace(%s::text, '^.*[.]', ''), '" '))
"""
_FOREIGN: LiteralString = """
select o.rolname
from pg_namespace as n
inner join pg_roles as o on o.oid = n.nspowner
inner join pg_roles as m on m.rolname = current_user
where n.nspname = 'walltrack' and o.oid <> m.oid and not (o.rolsuper and m.rolsuper)
"""
_PLAN: LiteralString = """
select
  p.table_name as table,
  exists (select from walltrack.watched_tables as w where w.table_id = p.table_id) as is_watched,
  (
    select json_object_agg(f.name, p.columns -> f.name order by f.place)
    from walltrack.fact_names() with ordinality as f (name, place)
    where p.columns ? f.name
  ) as columns,
  array(select f from walltrack.fact_names() as f where not p.columns ? f) as missing,
  array(select 'walltrack_alerts_' || e from walltrack.missing_triggers(p.table_id) as e) as triggers,
  p.cancel_pattern, p.order_actions, p.notify
from walltrack.plan_watch(%(table)s::oid, %(columns)s, %(cancel_pattern)s, %(order_actions)s, %(notify)s) as p
"""
_WATCH: LiteralString = (
    "select walltrack.watch_orders(%(table)s::oid, %(columns)s, %(cancel_pattern)s, %(order_actions)s, %(notify)s)"
)
_GUARD: LiteralString = """
select
  w.table_id::oid as id, coalesce(walltrack.table_name(w.table_id), w.table_name) as table,
  array(
    select t.tgname::text
    from pg_trigger as t
    where t.tgrelid = w.table_id and starts_with(t.tgname, 'walltrack_alerts_')
    order by 1
  ) as triggers,
  (select count(*) from walltrack.open_order_alerts() as a where a.order_table = w.table_id) as open_alerts
from walltrack.watched_tables as w
where w.table_id = %(id)s::oid or (w.table_name = %(table)s and walltrack.table_name(w.table_id) is null)
"""
_UNWATCH: LiteralString = "select walltrack.unwatch_orders(%(table)s::oid)"


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """How a table is (or would be) watched, and the triggers to create for it."""

    table: str
    is_watched: bool
    """Whether it is watched already, so that only differences are applied."""

    columns: dict[str, str]
    """Order fact -> column of the table."""

    missing: list[str]
    """Facts without a column in the table; alerts leave them out."""

    triggers: list[str]
    cancel_pattern: str
    order_actions: bool
    notify: str


@dataclass(frozen=True, slots=True)
class Unwatched:
    """The triggers that are (or would be) dropped, and the number of open alerts, which stay."""

    id: int
    """The oid of the table, which may have been dropped."""

    table: str
    triggers: list[str]
    open_alerts: int


def watch(
    dsn: str,
    table: str,
    columns: dict[str, str],
    *,
    cancel_pattern: str | None = None,
    order_actions: bool | None = None,
    notify: str | None = None,
    dry_run: bool = False,
) -> WatchPlan:
    """Watch a table; settings that are None keep their value or get their default (UnwatchableTableError, nothing changed)."""
    try:
        with connect(dsn) as connection:
            _refuse_other_roles(connection)
            found = _find(connection, table)
            if found is None:
                raise _no_table(connection, table)
            values: dict[str, Any] = {
                "table": found,
                "columns": Jsonb(columns),
                "cancel_pattern": cancel_pattern,
                "order_actions": order_actions,
                "notify": notify,
            }
            with connection.cursor(row_factory=class_row(WatchPlan)) as cursor:
                plan = cursor.execute(_PLAN, values).fetchone()
            assert plan is not None
            if not dry_run:
                _execute_with_retries(connection, _WATCH, values, plan.table)
            return plan
    except psycopg.Error as error:
        raise translate(error) from error


def unwatch(dsn: str, table: str, *, dry_run: bool = False) -> Unwatched:
    """Stop watching a table; its alerts stay (UnwatchableTableError, nothing changed)."""
    try:
        with connect(dsn) as connection:
            _refuse_other_roles(connection)
            found = _find(connection, table)
            with connection.cursor(row_factory=class_row(Unwatched)) as cursor:
                guard = cursor.execute(_GUARD, {"id": found, "table": table}).fetchone()
            if guard is None:
                raise (
                    _no_table(connection, table)
                    if found is None
                    else UnwatchableTableError(f"Table {table} is not watched.\n{_watched(connection)}")
                )
            if not dry_run:
                _execute_with_retries(connection, _UNWATCH, {"table": guard.id}, guard.table)
            return guard
    except psycopg.Error as error:
        raise translate(error) from error


def _refuse_other_roles(connection: psycopg.Connection) -> None:
    """Refuse any role but the schema owner: the guard runs with the privileges of the role that creates it."""
    owner = _value(connection, _FOREIGN)
    if owner is not None:
        raise PermissionDeniedError(
            f"Schema walltrack belongs to {owner}, and only that role may watch tables; this is {connection.info.user}.\n"
            f"Connect as {owner}."
        )


def _find(connection: psycopg.Connection, table: str) -> object:
    """The oid of the table with this name, with or without its schema, quoted as in SQL; None if there is none."""
    try:
        return _value(connection, _FIND, table)
    except psycopg.errors.InvalidParameterValue:
        return None  # the text is not a name


def _no_table(connection: psycopg.Connection, table: str) -> UnwatchableTableError:
    similar = _value(connection, _SIMILAR, table)
    return UnwatchableTableError(
        f"There is no table {table}.\n"
        + (f"Did you mean {similar}?" if similar else "Name it as in SQL, with its schema: public.trades, '\"Trades\"'.")
    )


def _watched(connection: psycopg.Connection) -> str:
    names = _value(connection, "select string_agg(w.table_name, ', ' order by 1) from walltrack.watched_tables as w")
    return f"Watched tables: {names}" if names else "No table is watched."


def _value(connection: psycopg.Connection, query: LiteralString, *parameters: object) -> object:
    row = connection.execute(query, parameters or None).fetchone()
    return row[0] if row else None


def _execute_with_retries(connection: psycopg.Connection, statement: LiteralString, values: dict[str, Any], table: str) -> None:
    """Run a statement that locks the table. It queues behind all writers and delays later ones: it waits briefly and retries."""
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            with connection.transaction():
                connection.execute("select set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
                connection.execute(statement, values)
        except psycopg.errors.LockNotAvailable:
            if attempt == LOCK_TRIES:
                raise
            log.warning("%s is busy, trying again (%d of %d)", table, attempt, LOCK_TRIES)
            time.sleep(LOCK_PAUSE)
        else:
            return
