"""Finds out whether alerting works: connection, version, schema, then what walltrack.health() says. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg.rows import class_row

from walltrack_alerts import migrations
from walltrack_alerts.database import Database, connect
from walltrack_alerts.errors import translate
from walltrack_alerts.models import Check

OLDEST_SERVER = 150000


def examine(database: Database) -> Iterator[Check]:
    """The checks in their order; the first one that makes the next ones pointless ends them."""
    name = "connection"
    try:
        with connect(database.dsn) as connection:
            yield Check(name=name, ok=True, found=f"{database.label} as {connection.info.user}")
            name = "examination"
            yield from _examine(connection)
    except psycopg.Error as error:
        first, *advice = str(translate(error)).splitlines()
        yield Check(name=name, ok=False, found=first, advice=" ".join(advice))


def _examine(connection: psycopg.Connection) -> Iterator[Check]:
    version = connection.info.server_version
    yield Check(
        name="server version",
        ok=version >= OLDEST_SERVER,
        found=f"PostgreSQL {version // 10000}.{version % 10000}",
        advice="PostgreSQL 15 or newer is needed.",
    )

    revision = _value(connection, "select to_regclass('walltrack.alerts_version') is not null") and _value(
        connection, "select version_num from walltrack.alerts_version"
    )
    head = migrations.head_revision()
    yield Check(
        name="migrated",
        ok=revision == head,
        found=f"revision {revision or 'none'}" + ("" if revision == head else f", this package has {head}"),
        advice=migrations.NEWER if revision and not migrations.is_known(revision) else "Run `walltrack-alerts migrate`.",
    )
    if revision != head:
        return

    with connection.cursor(row_factory=class_row(Check)) as cursor:
        yield from cursor.execute("select * from walltrack.health()")
    counts = connection.execute("select severity, total from walltrack.alert_counts").fetchall()
    yield Check(name="open alerts", ok=True, found=", ".join(f"{total} {severity}" for severity, total in counts))


def _value(connection: psycopg.Connection, query: str) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None
