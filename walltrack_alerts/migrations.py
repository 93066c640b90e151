"""Migrates a database to the current schema. `walltrack-alerts migrate` and `alembic upgrade head` both run this.

The steps, each in its own transaction:

1. the revisions of alembic/versions, which change existing tables, then every file of sql/ in order;
2. the guard on walltrack.orders, if it is missing: the only step that locks the orders table, for a moment;
3. the facts that alerts of an adopted table lack;
4. the reconciler, which raises alerts for orders that were exhausted before.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy.exc
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from alembic import command, context
from walltrack_alerts.database import open_database, sync_engine
from walltrack_alerts.errors import NewerSchemaError, translate

SCHEMA = "walltrack"
VERSION_TABLE = "alerts_version"
ORDERS = "walltrack.orders"
SCHEMA_COMMENT = "Database-native alerting for orders: walltrack_alerts."
"""Marks a schema that alerting created; a downgrade drops it if it is empty."""

NEWER = "A newer version of walltrack_alerts created the schema: upgrade this one."

ORDERS_COMMENT = "Orders of the trading bot; a retry worker tries each one up to max_attempts times."
"""Marks a table of orders that alerting created because there was none."""

LOCK_TIMEOUT = "2s"
LOCK_TRIES = 15
LOCK_PAUSE = 1.0
"""Seconds between two tries, in which waiting writers go ahead."""

_SAFE = "set local search_path = pg_catalog, pg_temp;\n"
"""A migration has many rights: objects that another role put into a schema of the search path must not run in it."""

_BEFORE = f"""\
{_SAFE}set local lock_timeout = '10s';
set local statement_timeout = 0;
do $before$
begin
  if to_regnamespace('{SCHEMA}') is null then
    create schema {SCHEMA};
    comment on schema {SCHEMA} is '{SCHEMA_COMMENT}';
  end if;
exception when unique_violation or duplicate_schema then
  null;  -- another migration has just created it
end
$before$;
do $before$
declare
  v_owner pg_roles := (
    select r from pg_roles as r inner join pg_namespace as n on n.nspowner = r.oid where n.nspname = '{SCHEMA}'
  );
begin
  -- The owner of a schema can replace what is in it, and so run code with the rights of alerting.
  if v_owner.rolname <> current_user
    and not (v_owner.rolsuper and (select r.rolsuper from pg_roles as r where r.rolname = current_user))
  then
    raise exception 'schema {SCHEMA} belongs to %, but this migration runs as %', v_owner.rolname, current_user
      using errcode = 'WT005',
      hint = format(
        'Nothing was changed. Migrate as %I, or run: alter schema {SCHEMA} owner to %I', v_owner.rolname, current_user
      );
  end if;
  -- One migration at a time: only the owner of the schema can take this lock.
  execute format('comment on schema {SCHEMA} is %L', obj_description('{SCHEMA}'::regnamespace, 'pg_namespace'));
end
$before$;
"""  # noqa: S608  # the name is a constant
_AFTER_DOWNGRADE = f"""\
drop table if exists {SCHEMA}.{VERSION_TABLE};
do $after$
begin
  if obj_description('{SCHEMA}'::regnamespace, 'pg_namespace') = '{SCHEMA_COMMENT}' then
    begin
      drop schema {SCHEMA};
    exception when dependent_objects_still_exist then
      comment on schema {SCHEMA} is null;
    end;
  end if;
end
$after$;
"""
_WATCHED = (
    "exists (select from pg_trigger as t inner join pg_proc as p on p.oid = t.tgfoid "
    f"where t.tgname = 'walltrack_alerts_update' and p.pronamespace = '{SCHEMA}'::regnamespace)"
)
"""Whether a table of orders is watched already, under any name."""
_WATCH = f"""\
do $$
begin
  if to_regclass('{ORDERS}') is not null
    and not exists (select from walltrack.watched_tables where table_id = to_regclass('{ORDERS}'))
  then
    perform walltrack.watch_orders('{ORDERS}');
  end if;
end
$$;
"""
_INSTALLED = f"""\
select
  (select count(*) from {SCHEMA}.alerts),
  (select count(*) from {SCHEMA}.alerts as a where a.status <> 'resolved'),
  (select count(*) from {SCHEMA}.alert_events),
  exists (
    select from pg_constraint as c
    where c.conrelid = '{SCHEMA}.alerts'::regclass and c.contype = 'p' and obj_description(c.oid, 'pg_constraint') like 'adopted%'
  ),
  array(select w.table_name from {SCHEMA}.existing_watched_tables() as w order by w.table_name)
"""  # noqa: S608  # the name is a constant
_COMPLETE = "select walltrack.complete_order_alerts();\n"
_RECONCILE = "select * from walltrack.reconcile_orders();\n"

log = logging.getLogger(__name__)


def _folder(name: str) -> Path:
    """The path of a folder that is at the top of a checkout, and inside the package in a wheel."""
    package = Path(__file__).parent
    return next(folder for folder in (package / name, package.parent / name) if folder.is_dir())


def alembic_config(dsn: str | None = None) -> Config:
    """The Alembic configuration of this package for a database; None means the database of the settings."""
    config = Config()
    config.set_main_option("script_location", str(_folder("alembic")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["dsn"] = dsn
    return config


def upgrade(dsn: str) -> None:
    """Migrate the database of a libpq connection string to the current schema (AlertsError, nothing changed)."""
    with _translated():
        command.upgrade(alembic_config(dsn), "head")


def downgrade(dsn: str) -> None:
    """Uninstall the schema; the orders table and its rows stay (AlertsError, nothing changed)."""
    with _translated():
        command.downgrade(alembic_config(dsn), "base")


@dataclass(frozen=True)
class Installed:
    """What a downgrade would delete or keep."""

    alerts: int
    open_alerts: int
    events: int
    adopted: bool
    """Whether the alerts are in an adopted table, which keeps its rows."""
    watched: tuple[str, ...]
    """The tables of orders that would lose their guard."""


def installed(dsn: str) -> Installed | None:
    """What is installed in a database; None if nothing is (AlertsError)."""
    try:
        with psycopg.connect(dsn) as connection:
            row = connection.execute("select to_regclass('walltrack.watched_tables') is not null").fetchone()
            if row != (True,):
                return None
            found = connection.execute(_INSTALLED).fetchone()
            assert found is not None
            alerts, open_alerts, events, adopted, watched = found
            return Installed(alerts, open_alerts, events, adopted=adopted, watched=tuple(watched))
    except psycopg.Error as error:
        raise translate(error) from error


def head_revision() -> str:
    """The newest revision of this package."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def is_known(revision: object) -> bool:
    """Whether this package has the revision; otherwise a newer version has."""
    return any(each.revision == revision for each in ScriptDirectory.from_config(alembic_config()).walk_revisions())


def definitions() -> Iterator[str]:
    """The text of every file of sql/, in order; definitions of tables are wrapped so that they run only for missing tables."""
    for path in sorted(_folder("sql").glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        name = re.fullmatch(r"\d+_(\w+)\.table\.sql", path.name)
        if name is not None:
            once, _, always = text.partition("-- At every upgrade:\n")
            missing = f"to_regclass('{SCHEMA}.{name[1]}') is null" + (f" and not {_WATCHED}" if name[1] == "orders" else "")
            text = (
                f"do $run_once$\nbegin\nif {missing} then\n"
                f"execute $definition$\n{once}$definition$;\nend if;\nend\n$run_once$;\n{always}"
            )
        yield f"-- {path.name}\n{text}"


def _created(*kinds: str, with_tables: bool = False) -> list[str]:
    """The names of the objects of these kinds that sql/ creates in the schema, with or without those of NN_name.table.sql."""
    paths = [path for path in sorted(_folder("sql").glob("*.sql")) if with_tables or ".table." not in path.name]
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    return re.findall(rf"^create (?:or replace )?(?:{'|'.join(kinds)}) (?:if not exists )?{SCHEMA}\.(\w+)", text, re.MULTILINE)


def refuse_planted() -> str:
    """The SQL that refuses a schema where another role owns an object with a name of ours (WT005)."""
    relations = sorted({*_created("table", "view", "sequence", "type", with_tables=True), VERSION_TABLE} - {"alerts", "orders"})
    functions = sorted(set(_created("function", with_tables=True)))
    return f"""\
do $planted$
declare
  v_planted text := (
    select string_agg(format('%s (of %s)', o.what, r.rolname), ', ' order by o.what)
    from (
      select c.oid::regclass::text as what, c.relowner as owner from pg_class as c
      where c.relnamespace = '{SCHEMA}'::regnamespace and c.relname = any ('{{{",".join(relations)}}}')
      union all
      select p.oid::regprocedure::text, p.proowner from pg_proc as p
      where p.pronamespace = '{SCHEMA}'::regnamespace and p.proname = any ('{{{",".join(functions)}}}')
    ) as o
    inner join pg_roles as r on r.oid = o.owner
    where not r.rolsuper and r.rolname <> current_user
  );
begin
  if v_planted is not null then
    raise exception 'schema {SCHEMA} has objects of other roles under names of alerting: %', v_planted
      using errcode = 'WT005', hint = 'Nothing was changed. Drop them, or migrate as the role that owns them.';
  end if;
end
$planted$;
"""  # noqa: S608  # the names are constants


def drop_definitions() -> str:
    """The SQL that drops views and functions, so that a revision can drop the tables, and the tables of deliveries."""
    views, functions = _created("view"), _created("function")
    return (
        f"set local lock_timeout = '{LOCK_TIMEOUT}';\n"
        "do $access$\nbegin\n"
        f"if to_regclass('{SCHEMA}.given_usage') is not null then\n"
        f"perform {SCHEMA}.revoke_access(r.oid::regrole) from {SCHEMA}.given_usage as g "
        "inner join pg_roles as r on r.rolname = g.role_name;\n"
        "end if;\nend\n$access$;\n"
        # With their event triggers, which only a superuser could name.
        f"drop function if exists {SCHEMA}.tg_ddl__follow, {SCHEMA}.tg_ddl__forget, {SCHEMA}.tg_ddl__warn cascade;\n"
        + "".join(f"drop view if exists {SCHEMA}.{name};\n" for name in views)
        + "".join(f"drop function if exists {SCHEMA}.{name};\n" for name in functions if name not in _LAST)
        + f"drop sequence if exists {SCHEMA}.waited_in_transaction;\n"
        + "".join(f"drop table if exists {SCHEMA}.{name};\n" for name in _DELIVERY_TABLES)
    )


_LAST = ("tg_ddl__follow", "tg_ddl__forget", "tg_ddl__warn", "tg_watched__truncated", "tg_alerts__check_lifecycle")
"""Dropped with what they are attached to."""

_DELIVERY_TABLES = (
    "button_presses", "sent_messages", "finished_deliveries", "deliveries", "chat_pace", "notification_targets", "silences",
    "escalation_steps", "relay_duties", "relays",
)  # fmt: skip
"""Newer than the revision that drops the other tables; one that refers to another stands before it."""


def drop_guards() -> str:
    """The SQL that removes the guards from their tables: the last step, because it locks them until the transaction ends."""
    return f"""\
do $guards$
declare
  v_guard regprocedure;
begin
  for v_guard in
    select distinct t.tgfoid::regprocedure
    from pg_trigger as t
    inner join pg_proc as p on p.oid = t.tgfoid
    where t.tgparentid = 0 and t.tgname like 'walltrack_alerts_%' and p.pronamespace = '{SCHEMA}'::regnamespace
  loop
    -- With its triggers, which only the owner of the table could name.
    execute format('drop function %s cascade', v_guard);
  end loop;
  drop function if exists {SCHEMA}.tg_watched__truncated();
end
$guards$;
"""  # noqa: S608  # the name is a constant


def drop_unused_orders() -> str:
    """The SQL that drops an orders table that alerting created, if it is empty."""
    return f"""\
do $orders$
begin
  if obj_description(to_regclass('{ORDERS}'), 'pg_class') is distinct from '{ORDERS_COMMENT}' then
    return;
  end if;
  lock table {ORDERS} in access exclusive mode;
  if not exists (select from {ORDERS}) then
    drop table {ORDERS}, {SCHEMA}.order_status_log;
    drop function {SCHEMA}.tg_orders__touch_updated_at(), {SCHEMA}.tg_orders__log_status();
  end if;
exception when dependent_objects_still_exist or undefined_table or undefined_function then
  null;  -- another object uses it
end
$orders$;
"""


def run_online() -> None:
    """For alembic/env.py: run on the database given to alembic_config(), else on that of the settings."""
    dsn = context.config.attributes.get("dsn")
    if dsn is not None:
        _migrate(dsn)
        return
    with open_database() as database:
        sys.stderr.write(f"Using {database.label}\n")
        _migrate(database.dsn)


def run_offline() -> None:
    """For alembic/env.py with --sql: print the whole script."""
    _configure(dialect_name="postgresql")
    write = context.get_context().impl.static_output
    complete = _command() == "upgrade" and context.get_revision_argument() in (head_revision(), (head_revision(),))
    with context.begin_transaction():
        write(_BEFORE + refuse_planted())
        context.run_migrations()
        if complete:
            for text in definitions():
                write(text)
        elif _command() == "downgrade" and not context.get_revision_argument():  # the base
            write(_AFTER_DOWNGRADE)
    if complete:
        write(f"BEGIN;\n\n{_SAFE}set local lock_timeout = '{LOCK_TIMEOUT}';\n{_WATCH}\nCOMMIT;\n\n")
        for step in (_COMPLETE, _RECONCILE):
            write(f"BEGIN;\n\n{_SAFE}{step}\nCOMMIT;\n\n")


def _migrate(dsn: str) -> None:
    engine = sync_engine(dsn)
    try:
        with engine.connect() as connection:
            _log_notices(connection)
            with connection.begin():
                _configure(connection=connection)
                if _command() in ("upgrade", "downgrade", "do_stamp"):
                    _execute(connection, _BEFORE + refuse_planted())
                context.run_migrations()
                complete = _command() == "upgrade" and context.get_context().get_current_heads() == (head_revision(),)
                if complete:
                    for text in definitions():
                        _execute(connection, text)
                elif _command() == "downgrade" and not context.get_context().get_current_heads():
                    _execute(connection, _AFTER_DOWNGRADE)
            if complete:
                _watch(connection)
                for step in (_COMPLETE, _RECONCILE):
                    with connection.begin():
                        _execute(connection, _SAFE + "set local statement_timeout = 0;\n" + step)
    finally:
        engine.dispose()


def _configure(**target: object) -> None:
    context.configure(
        version_table=VERSION_TABLE,
        version_table_schema=SCHEMA,
        transactional_ddl=True,
        **target,  # type: ignore[arg-type]
    )


def _command() -> str:
    """The Alembic command that runs env.py; commands that only look must not change the schema."""
    function = context.get_context().opts.get("fn")
    return getattr(function, "__name__", "")


def _watch(connection: Connection) -> None:
    """Guard walltrack.orders. CREATE TRIGGER queues behind all writers and delays later ones: it waits briefly and retries."""
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            with connection.begin():
                _execute(connection, f"{_SAFE}set local lock_timeout = '{LOCK_TIMEOUT}';")
                _execute(connection, _WATCH)
        except sqlalchemy.exc.OperationalError as error:
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable) or attempt == LOCK_TRIES:
                raise
            log.warning("%s is busy, trying again (%d of %d)", ORDERS, attempt, LOCK_TRIES)
            time.sleep(LOCK_PAUSE)
        else:
            return


def run_script(text: str) -> None:
    """For revisions: run a script verbatim, or print it in --sql mode."""
    if context.is_offline_mode():
        context.get_context().impl.static_output(text)
    else:
        _execute(context.get_bind(), text)


def _log_notices(connection: Connection) -> None:
    """Log the warnings and notices of alerting (WT2..), but not PostgreSQL's own "already exists, skipping"."""

    def log_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
        if (diagnostic.sqlstate or "").startswith("WT2"):
            log.warning("%s\n%s", diagnostic.message_primary, diagnostic.message_hint or "")

    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, psycopg.Connection)
    driver_connection.add_notice_handler(log_notice)


def _execute(connection: Connection, text: str) -> None:
    """Run a script verbatim: the driver must not interpret ':name' and '%'."""
    connection.execution_options(no_parameters=True).exec_driver_sql(text)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, psycopg.Error) as error:
        raise translate(error) from error
    except CommandError as error:  # e.g. a revision that only a newer version has
        raise NewerSchemaError(f"{error}\n{NEWER}") from error
