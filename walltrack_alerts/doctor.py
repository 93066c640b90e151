"""Checks whether alerting works: connection, version, schema, then walltrack.health(). Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import psycopg
from psycopg.rows import class_row, dict_row

from walltrack_alerts import migrations
from walltrack_alerts.database import Database, connect
from walltrack_alerts.errors import translate
from walltrack_alerts.models import Check

OLDEST_SERVER = 150000

# From the catalogues, which every role may read. The role that migrates is the owner of the schema, else one that may create it.
_SITUATION: LiteralString = """
select
  format('ask %I to run `select walltrack.grant_access(%L, ''reader'')`', w.rolname, quote_ident(current_user)) as grant,
  format(
    case
      when o.oid is null and has_database_privilege(d.oid, 'create') then 'run `%2$s`'
      when w.rolname = current_user or (w.rolsuper and m.rolsuper) then 'run `%2$s`'
      when pg_has_role(w.oid, 'member') then 'as %1$I, run `%2$s`'
      else 'ask %1$I to run `%2$s`'
    end,
    w.rolname, 'walltrack-alerts migrate'
  ) as migrate,
  v.oid is not null as is_migrated,
  coalesce(has_schema_privilege(n.oid, 'usage') and has_table_privilege(v.oid, 'select'), true) as may_read,
  has_function_privilege(h.oid, 'execute') is true as may_examine
from pg_database as d
inner join pg_roles as m on m.rolname = current_user
left join pg_namespace as n on n.nspname = 'walltrack'
left join pg_roles as o on o.oid = n.nspowner
inner join pg_roles as w on w.oid = coalesce(o.oid, d.datdba)
left join pg_class as v on v.relnamespace = n.oid and v.relname = 'alerts_version'
left join pg_proc as h on h.pronamespace = n.oid and h.proname = 'health'
where d.datname = current_database()
"""


def examine(database: Database) -> Iterator[Check]:
    """The checks in order; a failure that makes the following checks pointless ends them."""
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

    with connection.cursor(row_factory=dict_row) as cursor:
        situation = cursor.execute(_SITUATION).fetchone()
    assert situation is not None
    no_rights = Check(
        name="rights",
        ok=False,
        found=f"{connection.info.user} may not examine alerting",
        advice=_sentence(situation["grant"]),
    )
    if not situation["may_read"]:
        yield no_rights
        return
    revision = _value(connection, "select version_num from walltrack.alerts_version") if situation["is_migrated"] else None
    head = migrations.head_revision()
    yield Check(
        name="migrated",
        ok=revision == head,
        found=f"revision {revision or 'none'}" + ("" if revision == head else f", this package has {head}"),
        advice=migrations.NEWER if revision and not migrations.is_known(revision) else _sentence(situation["migrate"]),
    )
    if revision != head:
        return
    if not situation["may_examine"]:
        yield no_rights
        return

    with connection.cursor(row_factory=class_row(Check)) as cursor:
        yield from cursor.execute("select * from walltrack.health()")
    counts = connection.execute("select severity, total from walltrack.alert_counts").fetchall()
    yield Check(name="open alerts", ok=True, found=", ".join(f"{total} {severity}" for severity, total in counts))


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _value(connection: psycopg.Connection, query: LiteralString) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None
