"""Every type of a column reads the same in the guard, in nested writes and in the reconciler."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.bot import Bot
from tests.support.reconciling import reconcile
from tests.support.typed_orders import assert_all_paths_agree, insert, make

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


@pytest.mark.parametrize("kind", TYPES)
def test_an_id_of_any_type_is_found_again(bot: Bot, warnings: list[str], kind: str) -> None:
    make(bot, kind, "text")
    for value in TYPES[kind]:
        insert(bot, value, "x")
        assert_all_paths_agree(bot)
        bot.execute("drop trigger a_touch on public.trades; truncate walltrack.alerts, walltrack.order_actions, public.trades")
    assert warnings == []


@pytest.mark.parametrize("kind", [*TYPES, *NO_IDS])
def test_a_fact_of_any_type_reads_the_same(bot: Bot, warnings: list[str], kind: str) -> None:
    make(bot, "int", kind)
    for value in {**TYPES, **NO_IDS}[kind]:
        insert(bot, "1", value)
        assert_all_paths_agree(bot)
        bot.execute("drop trigger a_touch on public.trades; truncate walltrack.alerts, walltrack.order_actions, public.trades")
    assert warnings == []


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
