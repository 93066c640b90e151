"""Migrated databases, lent to one test after another: creating one takes longer than most tests.

A database is lent again only if it is as created: same catalogues, no sessions, a handful of rows to delete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import psycopg
from psycopg import sql

ROWS = (
    "order_actions", "alert_events", "alerts", "alert_faults", "order_status_log", "orders", "given_usage",
    "button_presses", "sent_messages", "finished_deliveries", "deliveries", "chat_pace", "notification_targets", "silences",
    "relay_duties", "relays",
)  # fmt: skip
MOST_LOANS = 25
MOST_GROWTH = 4_000_000
"""Bytes that the tests before may have left behind as dead rows."""

# Every kind of object a test could have changed; what vacuum and analyze write there does not count.
_CATALOGUES = (
    "pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_default_acl", "pg_event_trigger",
    "pg_extension", "pg_index", "pg_inherits", "pg_namespace", "pg_policy", "pg_proc", "pg_rewrite", "pg_sequence",
    "pg_statistic_ext", "pg_trigger", "pg_type",
)  # fmt: skip
_FINGERPRINT = (
    " union all ".join(
        f"select '{name}', count(*)::text || ' ' || coalesce(sum(xmin::text::bigint), 0) from pg_catalog.{name}"
        for name in _CATALOGUES
    )
    + " union all select 'settings', count(*)::text from pg_catalog.pg_db_role_setting as s "
    + "join pg_catalog.pg_database as d on d.oid = s.setdatabase where d.datname = current_database()"
    + " union all select 'watched', coalesce(string_agg(w::text, ' '), '') from walltrack.watched_tables as w"
    + " union all select 'steps', coalesce(string_agg(s::text, ' ' order by s), '') from walltrack.escalation_steps as s"
    + " union all select 'version', coalesce(string_agg(version_num, ' '), '') from walltrack.alerts_version"
)
# One statement, without triggers and the order of foreign keys; identities begin anew.
_EMPTY = sql.SQL("; ").join(
    [
        sql.SQL("set session_replication_role = replica"),
        *(sql.SQL("delete from {}").format(sql.Identifier("walltrack", name)) for name in ROWS),
        sql.SQL(
            "select setval(s.seqrelid, 1, false) from pg_sequence as s join pg_depend as d on d.objid = s.seqrelid "
            "where d.classid = 'pg_class'::regclass and d.deptype = 'i' and d.refobjid = any ({}::regclass[])"
        ).format([f"walltrack.{name}" for name in ROWS]),
    ]
)
_SESSIONS = """
select (select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
    and backend_type = 'client backend')
  + (select count(*) from pg_prepared_xacts where database = current_database())
  + (select count(*) from pg_replication_slots where database = current_database())
"""


class Lender:
    """Lends a database made by `make`, which clones one template, one loan at a time."""

    def __init__(self, make: Callable[[], AbstractContextManager[str]]) -> None:
        self._make = make
        self._owned = ExitStack()
        self._url: str | None = None
        self._loans = 0
        self._made: tuple[object, int] | None = None
        """The fingerprint and the size of every clone."""

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The URL of a migrated database without rows."""
        if self._url is None:
            self._url = self._owned.enter_context(self._make())
            self._loans = 0
            if self._made is None:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    self._made = _fingerprint(connection), _size(connection)
        self._loans += 1
        try:
            yield self._url
        finally:
            if self._loans >= MOST_LOANS or not self._emptied():
                self.close()

    def close(self) -> None:
        """Drop the database."""
        self._url = None
        self._owned.close()

    def _emptied(self) -> bool:
        """Delete every row; return False if that does not restore the database."""
        assert self._url is not None and self._made is not None
        fingerprint, size = self._made
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                (others,) = connection.execute(_SESSIONS).fetchone() or (1,)
                if others or _fingerprint(connection) != fingerprint or _size(connection) > size + MOST_GROWTH:
                    return False
                connection.execute(_EMPTY)
                return True
        except psycopg.Error:
            return False


def _fingerprint(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute(_FINGERPRINT).fetchall()  # type: ignore[arg-type]


def _size(connection: psycopg.Connection) -> int:
    (size,) = connection.execute("select pg_database_size(current_database())").fetchone() or (0,)
    return int(size)
