"""Every type of a column reads the same in the guard, in nested writes and in the reconciler."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.bot import Bot
from tests.faults.helpers import reconcile

TYPES = {
    "char(12)": ["ab", "ab ", ""],
    '"char"': ["x"],
    "varchar(12)": ["ab ", " ab"],
    "name": ["ab "],
    "uuid": ["5f2a7b1c-0000-4000-8000-00000000000a"],
    "smallint": ["7"],
    "bigint": ["-7"],
    "numeric": ["1.50", "1.5", "NaN", "1e30"],
    "oid": ["7"],
    "regclass": ["pg_class"],
    "boolean": ["true"],
    "inet": ["10.0.0.1", "10.0.0.1/8"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "bit varying": ["0101"],
    "json": ['{"a": "\\u0000"}', "[1, 2]"],
    "jsonb": ['{"a":  1.50}', '"x"'],
    "json[]": ['{"{\\"a\\": \\"\\\\u0000\\"}"}'],
    "int[]": ["{1,2}", "{}"],
    "text[]": ['{a," b"}'],
    "int4range": ["[1,4)"],
    "tsvector": ["a b"],
    "pg_lsn": ["0/1A"],
    "time": ["01:02:03"],
    "public.colour": ["red"],
    "public.short": ["ab "],
    "public.pair": ["(1,b)"],
    "public.pair[]": ['{"(1,b)"}'],
}
"""Values by type, as literals."""
NO_IDS = {
    "timestamptz": ["2026-03-29 01:30:00+01", "infinity"],
    "timestamp": ["2026-03-29 02:30:00"],
    "date": ["2026-03-29"],
    "interval": ["1 day 02:00"],
    "money": ["1.50"],
    "bytea": ["\\x00ff"],
    "real": ["1.1"],
    "double precision": ["0.1"],
    "point": ["(1,2)"],
    "box": ["(2,2),(1,1)"],
    "timestamptz[]": ["{2026-03-29 01:30:00+01}"],
    "daterange": ["[2026-03-29,2026-04-01)"],
    "datemultirange": ["{[2026-03-29,2026-04-01)}"],
}
"""Types whose text depends on settings of the session."""
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
    assert bot.execute("select walltrack.order_of_alert(%s) ->> 'status'", (alert.id,)).fetchone() == ("failed",)
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


@pytest.mark.parametrize("kind", TYPES)
def test_an_id_of_any_type_is_found_again(bot: Bot, heard: list[str], kind: str) -> None:
    make(bot, kind, "text")
    for value in TYPES[kind]:
        insert(bot, value, "x")
        assert_all_paths_agree(bot)
        bot.execute("drop trigger a_touch on public.trades; truncate walltrack.alerts, walltrack.order_actions, public.trades")
    assert heard == []


@pytest.mark.parametrize("kind", [*TYPES, *NO_IDS])
def test_a_fact_of_any_type_reads_the_same(bot: Bot, heard: list[str], kind: str) -> None:
    make(bot, "int", kind)
    for value in {**TYPES, **NO_IDS}[kind]:
        insert(bot, "1", value)
        assert_all_paths_agree(bot)
        bot.execute("drop trigger a_touch on public.trades; truncate walltrack.alerts, walltrack.order_actions, public.trades")
    assert heard == []


@pytest.mark.parametrize("kind", NO_IDS)
def test_an_id_whose_text_depends_on_settings_is_refused(bot: Bot, kind: str) -> None:
    with pytest.raises(psycopg.Error, match="depends on session settings") as refused:
        make(bot, kind, "text")
    assert refused.value.sqlstate == "WT004"


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_a_time_reads_the_same_under_any_settings(bot: Bot, kind: str) -> None:
    make(bot, "int", kind)
    insert(bot, "1", "2026-03-29 01:30:00+01")
    bot.execute("set timezone = 'Asia/Kathmandu'; set datestyle = 'SQL, DMY'")
    bot.execute("update public.trades set status = 'failed', attempt_count = 3")
    bot.execute("reset timezone; reset datestyle")
    assert reconcile(bot) == (0, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12), fact=st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30
), kind=st.sampled_from(["text", "char(12)", "varchar(12)", "public.short"]))  # fmt: skip
def test_any_text_reads_the_same(bot: Bot, order: str, fact: str, kind: str) -> None:
    with bot.connection.transaction(force_rollback=True):
        make(bot, kind, "char(30)")
        insert(bot, order, fact)
        assert_all_paths_agree(bot)
