"""Finds out whether alerting works: connection, version, schema, guards, counts. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from walltrack_alerts import migrations
from walltrack_alerts.database import Database, with_defaults
from walltrack_alerts.errors import translate

OLDEST_SERVER = 150000


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, whether it is well, what was seen and, if it is ill, what to do."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def examine(database: Database) -> Iterator[Check]:
    """The checks in their order; the first one that makes the next ones pointless ends them."""
    try:
        with psycopg.connect(with_defaults(database.dsn), autocommit=True) as connection:
            yield Check("connection", True, f"{database.label} as {connection.info.user}")
            yield from _examine(connection)
    except psycopg.Error as error:
        first, *advice = str(translate(error)).splitlines()
        yield Check("connection", False, first, " ".join(advice))


def _examine(connection: psycopg.Connection) -> Iterator[Check]:
    version = connection.info.server_version
    yield Check(
        "server version",
        version >= OLDEST_SERVER,
        f"PostgreSQL {version // 10000}.{version % 10000}",
        "PostgreSQL 15 or newer is needed.",
    )

    revision = _value(connection, "select to_regclass('walltrack.alerts_version') is not null") and _value(
        connection, "select version_num from walltrack.alerts_version"
    )
    head = migrations.head_revision()
    yield Check(
        "migrated",
        revision == head,
        f"revision {revision or 'none'}" + ("" if revision == head else f", this package has {head}"),
        "Run `walltrack-alerts migrate`.",
    )
    if revision != head:
        return

    watched = connection.execute(
        """
        select w.table_id::regclass::text,
          array(
            select e.event || case when t.tgenabled is null then ' missing' else ' disabled' end
            from unnest(array['insert', 'update', 'delete', 'truncate']) as e (event)
            left join pg_trigger as t on t.tgrelid = w.table_id and t.tgname = 'walltrack_alerts_' || e.event
            where t.tgenabled is null or t.tgenabled not in ('O', 'A')
          )
        from walltrack.watched_tables as w
        order by 1
        """
    ).fetchall()
    if not watched:
        yield Check("guard", False, "no table is watched", "Run `walltrack-alerts migrate`.")
    for table, ill in watched:
        yield Check(
            f"guard on {table}",
            not ill,
            f"trigger {', '.join(ill)}" if ill else "in place and enabled",
            f"Disabled: `alter table {table} enable trigger user`. Missing: "
            f"`select walltrack.unwatch_orders('{table}'); select walltrack.watch_orders('{table}')`. "
            "Then `walltrack-alerts reconcile`.",
        )
    for table, fact, column in connection.execute(
        """
        select w.table_id::regclass::text, f.key, f.value
        from walltrack.watched_tables as w cross join lateral jsonb_each_text(w.columns) as f
        where not exists (
          select from pg_attribute as a where a.attrelid = w.table_id and a.attname = f.value and not a.attisdropped
        )
        """
    ).fetchall():
        yield Check(
            f"guard on {table}",
            False,
            f"column {column} ({fact}) does not exist any more: order writes may fail",
            f"Give the new name at once: `select walltrack.watch_orders('{table}', '{{\"{fact}\": \"new_name\"}}')`.",
        )

    faults = _value(connection, "select count(*) from walltrack.alert_faults where sqlstate <> 'WT007'")
    yield Check(
        "faults",
        not faults,
        f"{faults} in walltrack.alert_faults",
        "Read them, mend the cause, then run `walltrack-alerts reconcile`.",
    )
    usage = float(str(_value(connection, "select pg_notification_queue_usage()")))
    skipped = _value(connection, "select count(*) from walltrack.alert_faults where sqlstate = 'WT007'")
    yield Check(
        "notification queue",
        usage <= 0.5 and not skipped,
        f"{usage:.0%} full, {skipped} notifications skipped" + (_stuck(connection) if usage > 0.1 else ""),
        "A listener in a long transaction holds the queue: end it with pg_terminate_backend(pid). What was skipped is in "
        "walltrack.alert_events; `walltrack-alerts reconcile` clears the count.",
    )
    counts = connection.execute("select severity, total from walltrack.alert_counts").fetchall()
    yield Check("open alerts", True, ", ".join(f"{total} {severity}" for severity, total in counts))


def _stuck(connection: psycopg.Connection) -> str:
    """The session with the oldest transaction of the cluster: whoever listens in it keeps the queue from draining."""
    row = connection.execute(
        """
        select pid, age(clock_timestamp(), xact_start)::interval(0)::text, application_name, state
        from pg_stat_activity
        where xact_start is not null and pid <> pg_backend_pid() and backend_type = 'client backend'
        order by xact_start
        limit 1
        """
    ).fetchone()
    if row is None:
        return "; no long transaction is visible to this role (pg_read_all_stats would show all)"
    pid, age, name, state = row
    return f"; oldest transaction: pid {pid}, {state} for {age}, application {name or 'unnamed'}"


def _value(connection: psycopg.Connection, query: str) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None
