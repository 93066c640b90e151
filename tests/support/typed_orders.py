"""A table of orders whose columns have any type, and the check that all queries of them agree."""

from __future__ import annotations

from psycopg import sql

from tests.support.bot import Bot
from tests.support.reconciling import reconcile

MADE = """
create type public.colour as enum ('red');
create domain public.short as char(12);
create type public.pair as (a int, b text);
create table public.trades (
    id {id_type}, order_type text, status text, attempt_count int, max_attempts int, last_error {fact_type},
    token_address {fact_type}, token_symbol {fact_type}, position_id {fact_type}, side {fact_type}
);
select walltrack.watch_orders('public.trades');
create function public.touch() returns trigger language plpgsql as $$ begin
  if pg_trigger_depth() = 1 then update public.trades set status = new.status; end if; return null; end $$;
"""
NESTED = "create trigger {name} after update on public.trades for each row execute function public.touch()"


def make(bot: Bot, id_type: str, fact_type: str) -> None:
    bot.execute(MADE.format(id_type=id_type, fact_type=fact_type))


def insert(bot: Bot, order: str, fact: str) -> None:
    bot.execute(
        sql.SQL(
            "insert into public.trades values ({0}, 'EXIT', 'submitted', 2, 3, {1}, {1}, {1}, {1}, {1})"
        ).format(sql.Literal(order), sql.Literal(fact))
    )  # fmt: skip


def assert_all_paths_agree(bot: Bot) -> None:
    """Check that the alert of a plain write agrees with the stored order, and is found again by nested writes."""
    bot.execute("update public.trades set status = 'failed', attempt_count = 3")
    (alert,) = bot.alerts()
    assert bot.execute(
        "select walltrack.sync_stored_order(w.table_id, w.columns, a.data ->> 'order_id', w.cancel_pattern, 'off') "
        "from walltrack.watched_tables as w, walltrack.alerts as a where w.table_name = 'public.trades'"
    ).fetchall() == [(None,)]
    assert reconcile(bot) == (0, 0)
    assert bot.execute(
        "select o ->> 'order_id' = %s, o ->> 'status' from walltrack.order_of_alert(%s) as o", (alert.data["order_id"], alert.id)
    ).fetchone() == (True, "failed")
    bot.execute(NESTED.format(name="a_touch"))
    bot.execute("update public.trades set attempt_count = 4")
    (repeated,) = bot.alerts()
    assert (repeated.id, repeated.occurrences) == (alert.id, 2)
    assert repeated.data == {**alert.data, "attempts": 4}
    bot.execute("update public.trades set status = 'filled'")
    assert bot.alerts()[0].resolution == "Order filled"
    bot.execute("update public.trades set status = 'failed'")
    assert [a.is_open for a in bot.alerts()] == [False, True]
    bot.execute("delete from public.trades")
    assert [a.is_open for a in bot.alerts()] == [False, False]
    assert (reconcile(bot), bot.faults()) == ((0, 0), [])
