"""Several tables of orders: an unwatched one, one that hides its orders, two that use the same ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.bot import Bot
from tests.support.databases import new_database
from tests.support.health import failed_checks, follow_advice
from tests.support.reconciling import reconcile
from walltrack_alerts import Alert, migrations

TABLE = """
create table {0} (id int primary key, order_type text, status text, attempt_count int, max_attempts int, last_error text);
"""
TRADES = TABLE + "select walltrack.watch_orders('{0}')"
FAILED = "insert into {} values (7, 'exit', 'failed', 3, 3, 'boom')"


@pytest.fixture
def trades(bot: Bot) -> Bot:
    """A second watched table, where the order 7 has failed."""
    bot.execute(TRADES.format("public.trades"))
    bot.execute(FAILED.format("public.trades"))
    return bot


def only(bot: Bot) -> Alert:
    (alert,) = bot.alerts()
    return alert


def test_alerts_of_an_unwatched_table_stay_unchanged(trades: Bot) -> None:
    trades.execute("select walltrack.unwatch_orders('public.trades')")
    trades.execute("update public.trades set status = 'filled'")
    assert reconcile(trades) == (0, 0)
    assert only(trades).is_open
    trades.execute("select walltrack.watch_orders('public.trades')")
    assert reconcile(trades) == (0, 1)
    assert only(trades).resolution == "Order filled"


def test_unwatching_one_table_leaves_the_others_working(trades: Bot) -> None:
    """The others work even if its orders cannot be read or have the same ids."""
    trades.execute(TRADES.format("public.others"))
    trades.execute(FAILED.format("public.others"))
    mine = trades.create("exit", status="failed", attempt_count=3)
    trades.execute(
        "set session_replication_role = replica; alter table public.trades rename id to number; reset session_replication_role"
    )
    trades.execute("select walltrack.unwatch_orders('public.trades')")
    trades.execute("set session_replication_role = replica; delete from walltrack.orders; delete from public.others")
    assert reconcile(trades) == (0, 2)
    assert trades.alert(mine).resolution == "Order deleted"


def test_a_watched_table_may_be_dropped(trades: Bot) -> None:
    trades.execute("select walltrack.unwatch_orders('public.trades'); drop table public.trades")
    assert reconcile(trades) == (0, 1)
    assert only(trades).resolution == "Order deleted"


def test_faults_of_an_unwatched_table_are_cleared(trades: Bot) -> None:
    trades.execute("insert into walltrack.alert_faults (table_id, sqlstate, message) values ('public.trades', 'XX000', 'x')")
    trades.execute("select walltrack.unwatch_orders('public.trades')")
    reconcile(trades)
    assert trades.faults() == [] and failed_checks(trades) == []


@pytest.mark.parametrize(("first", "second"), [("public.trades", "public.others"), ("public.others", "public.trades")])
def test_two_tables_may_share_an_id(trades: Bot, first: str, second: str) -> None:
    """The two orders share an alert, which stays open as long as one of them needs it."""
    trades.execute(TRADES.format("public.others"))
    trades.execute(FAILED.format("public.others"))
    trades.execute(f"update {first} set status = 'filled'")
    reconcile(trades)
    assert trades.alerts()[-1].is_open
    before = trades.alerts()
    assert reconcile(trades) == (0, 0)
    assert trades.alerts() == before
    trades.execute(f"update {second} set status = 'filled'")
    assert trades.alerts()[-1].resolution == "Order filled"
    assert reconcile(trades) == (0, 0)


# Row level security

OWNER, HOST = (f"wt_{name}_{uuid.uuid4().hex[:8]}" for name in ("owner", "host"))


@pytest.fixture
def hidden(server_url: str) -> Iterator[tuple[Bot, Bot]]:
    """(the host, alerting's owner): an order has failed, then the host lets only its own roles see its orders."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"create role {OWNER} login; create role {HOST} login")
        try:
            with new_database(server_url) as url:
                name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
                admin.execute(sql.SQL("alter database {} owner to {}").format(name, sql.Identifier(OWNER)))
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(f"create schema trade authorization {HOST}; grant usage on schema trade to {OWNER}")
                migrations.upgrade(make_conninfo(url, user=OWNER))
                with (
                    psycopg.connect(make_conninfo(url, user=HOST), autocommit=True) as theirs,
                    psycopg.connect(make_conninfo(url, user=OWNER), autocommit=True) as ours,
                ):
                    theirs.execute(TABLE.format("trade.orders"))
                    theirs.execute(f"grant select, update, trigger on trade.orders to {OWNER}")
                    ours.execute("select walltrack.watch_orders('trade.orders')")
                    theirs.execute(FAILED.format("trade.orders"))
                    theirs.execute("alter table trade.orders enable row level security")
                    yield Bot(theirs), Bot(ours)
        finally:
            admin.execute(f"drop role {OWNER}; drop role {HOST}")


def test_hidden_orders_do_not_count_as_deleted(hidden: tuple[Bot, Bot]) -> None:
    host, owner = hidden
    assert reconcile(owner) == (0, 0)
    assert only(owner).is_open
    with pytest.raises(
        psycopg.Error, match=r"trade[.]orders, whose orders cannot be read: row level security may hide"
    ) as caught:
        owner.call("retry_order", only(owner).id, "ada")
    assert (caught.value.sqlstate, caught.value.diag.constraint_name) == ("WT011", "unreadable")
    (check,) = [check for check in failed_checks(owner) if check.name == "orders of trade.orders"]
    follow_advice(host, check.advice)
    assert failed_checks(owner) == []
    with pytest.raises(psycopg.Error, match="order actions are disabled"):  # the triggers are the host's
        owner.call("retry_order", only(owner).id, "ada")
    host.execute("alter table trade.orders disable trigger user; delete from trade.orders")
    assert reconcile(owner) == (0, 1)
    assert only(owner).resolution == "Order deleted"


def test_hidden_orders_of_an_unwatched_table_stay(hidden: tuple[Bot, Bot], server_url: str) -> None:
    host, owner = hidden
    host.execute("alter table trade.orders force row level security")
    with psycopg.connect(server_url, autocommit=True) as admin:  # only an owner of the table may take triggers off
        admin.execute(f"grant {HOST} to {OWNER}")
    owner.execute(TRADES.format("walltrack.others"))
    owner.execute("select walltrack.unwatch_orders('trade.orders')")
    assert reconcile(owner) == (0, 0)
    assert only(owner).is_open


def test_policies_for_other_roles_hide_nothing(hidden: tuple[Bot, Bot]) -> None:
    host, owner = hidden
    host.execute(f"create policy others on trade.orders as restrictive to {HOST} using (false)")
    host.execute("create policy inserts on trade.orders as restrictive for insert with check (false)")
    (check,) = [check for check in failed_checks(owner) if check.name == "orders of trade.orders"]
    follow_advice(host, check.advice)
    assert failed_checks(owner) == []
