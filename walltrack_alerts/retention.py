"""Retention: deletes alerts that were resolved long ago, and their deliveries, in bounded batches of one transaction each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from walltrack_alerts.database import connect
from walltrack_alerts.errors import translate

BATCH = 5_000
"""Alerts examined in one transaction."""


@dataclass(frozen=True, slots=True)
class Purged:
    """Counts of alerts: examined, deleted (or to be deleted), and kept although they are old enough."""

    scanned: int
    purged: int
    kept: int


def purge(dsn: str, older_than: str, *, dry_run: bool, progress: Callable[[int, int], None]) -> Purged:
    """Delete alerts resolved longer ago than an interval such as '90 days'; `progress` gets (examined, total) (AlertsError)."""
    try:
        with connect(dsn) as connection:
            return _purge(connection, older_than, dry_run, progress)
    except psycopg.Error as error:
        raise translate(error) from error


def _purge(connection: psycopg.Connection, older_than: str, dry_run: bool, progress: Callable[[int, int], None]) -> Purged:
    before, total = connection.execute(
        "select b.before, (select count(*) from walltrack.alerts as a where a.status = 'resolved' and a.resolved_at < b.before) "
        "from walltrack.purge_cutoff(%s::interval) as b (before)",
        (older_than,),
    ).fetchone() or (None, 0)
    scanned = purged = 0
    place: tuple[object, object] = (None, None)
    while True:
        row = connection.execute(
            "select last_at, last_id, scanned, purged from walltrack.purge_batch(%s, %s, %s, %s, %s)",
            (before, *place, BATCH, dry_run),
        ).fetchone()
        if row is None or row[1] is None:
            break
        place, scanned, purged = (row[0], row[1]), scanned + row[2], purged + row[3]
        progress(scanned, max(total, scanned))
    while not dry_run:
        row = connection.execute("select walltrack.purge_delivery_history(%s, %s)", (before, BATCH)).fetchone()
        if row is None or row[0] < BATCH:
            break
    return Purged(scanned, purged, scanned - purged)
