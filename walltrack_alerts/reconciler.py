"""Reconciles alerts with orders: walks the watched tables in bounded batches, each in its own transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from walltrack_alerts.database import connect
from walltrack_alerts.errors import translate

BATCH = 20_000
"""Orders examined in one transaction; only those with a wrong alert are locked."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Counts: orders examined, alerts raised and resolved (or to be), and alerts that could not be healed."""

    scanned: int
    raised: int
    resolved: int
    failed: int


def reconcile(dsn: str, *, dry_run: bool, progress: Callable[[int, int], None]) -> Reconciled:
    """Reconcile every watched table; `progress` gets (examined, estimated total) of orders (AlertsError)."""
    try:
        with connect(dsn) as connection:
            return _reconcile(connection, dry_run, progress)
    except psycopg.Error as error:
        raise translate(error) from error


def _reconcile(connection: psycopg.Connection, dry_run: bool, progress: Callable[[int, int], None]) -> Reconciled:
    def value(query: str, *parameters: object) -> int:
        row = connection.execute(query, parameters).fetchone()
        return int(row[0]) if row else 0

    known = connection.execute("select walltrack.known_faults()").fetchone()
    resolved = value("select walltrack.resolve_ended_alerts(%s)", dry_run)
    tables = connection.execute(
        "select w.table_id::oid, greatest(c.reltuples, 0)::bigint from walltrack.watched_tables as w "
        "join pg_class as c on c.oid = w.table_id"
    ).fetchall()
    total = sum(estimate for _, estimate in tables)
    scanned = raised = 0
    for table, _ in tables:
        last = None
        while True:
            row = connection.execute(
                "select last_id, scanned, raised from walltrack.raise_missing_alerts(%s::oid, %s, %s, %s)",
                (table, last, BATCH, dry_run),
            ).fetchone()
            if row is None or row[0] in (None, last):
                break
            last, scanned, raised = row[0], scanned + row[1], raised + row[2]
            progress(scanned, max(total, scanned))
    if not dry_run:
        connection.execute("select walltrack.clear_faults(%s)", known)
    failed = value(
        "select count(*) from walltrack.alert_faults where fault_id <> all (%s) and sqlstate <> 'WT007'", *(known or ([],))
    )
    return Reconciled(scanned, raised, resolved, failed)
