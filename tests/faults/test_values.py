"""Unmapped columns, types of other roles, huge texts, and session settings."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import alerting_disabled
from tests.support.reconciling import reconcile

UNMAPPED = {
    "json with a null character": ("json", """'{"a":"\\u0000"}'"""),
    "a large value": ("bytea", "decode(repeat('00', 20000000), 'hex')"),
    "a composite type": ("walltrack.pair", "row(1, null)"),
    "a domain with a failing default": ("walltrack.never", "null"),
}


@pytest.mark.parametrize(("kind", "value"), UNMAPPED.values(), ids=UNMAPPED)
def test_an_unmapped_column_is_not_read(bot: Bot, admin: psycopg.Connection, warnings: list[str], kind: str, value: str) -> None:
    admin.execute("create type walltrack.pair as (a int, b text); create domain walltrack.never as int check (value > 5)")
    admin.execute(f"alter table walltrack.orders add column raw {kind}")  # type: ignore[arg-type]
    order, missed = (bot.create("exit", status="submitted", attempt_count=2) for _ in range(2))
    bot.execute(f"update walltrack.orders set raw = {value}")
    bot.fail(order)
    alert = bot.alert(order)
    with alerting_disabled(admin):
        bot.fail(missed)
    assert reconcile(bot) == (1, 0)
    assert bot.execute("select walltrack.order_of_alert(%s) ->> 'status'", (alert.id,)).fetchone() == ("failed",)
    assert bot.call("retry_order", alert.id, "ada") is not None
    bot.fill(order)
    assert bot.alert(order).resolution == "Order filled"
    assert (warnings, bot.faults()) == ([], [])


def test_a_mapped_json_column_may_contain_a_null_character(bot: Bot, admin: psycopg.Connection, warnings: list[str]) -> None:
    admin.execute("alter table walltrack.orders alter column last_error type json using null")
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.execute("""update walltrack.orders set status = 'failed', attempt_count = 3, last_error = '{"a":"\\u0000"}'""")
    assert bot.alert(order).data["error"] == '{"a":"\\u0000"}'
    assert (warnings, bot.faults(), reconcile(bot)) == ([], [], (0, 0))


def test_a_huge_error_is_cut_and_costs_no_copies(bot: Bot) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.fail(order, "x" * 1_000_000)
    assert len(bot.alert(order).data["error"]) == 2000 and bot.alert(order).data["error"].endswith("…")
    assert len(bot.alert(order).message) < 1000
    assert reconcile(bot) == (0, 0)


# Settings


SETTINGS = [
    "notified_in", "is_unusual", "nested", "canceled", "protect_commit", "waits_no_more", "has_lock_wait_totals",
]  # fmt: skip
GARBAGE = ["abc", "", "-1", "99999999999999999999", "0:abc", "yes", "'; drop table x"]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_settings_of_the_session_lose_no_alert(bot: Bot, warnings: list[str], garbage: str) -> None:
    for name in SETTINGS:
        bot.execute("select set_config('walltrack.' || %s, %s, false)", (name, garbage))
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.fail(order)
    with bot.connection.transaction():
        bot.execute("select pg_sleep(0.03)")  # the waiting of older transactions is counted
        for _ in range(3):
            bot.fail(order)
    assert bot.alert(order).occurrences == 4
    bot.fill(order)
    assert bot.alert(order).resolution == "Order filled"
    assert (warnings, bot.faults()) == ([], [])


@pytest.mark.parametrize("discard", ["sequences", "all"])
def test_a_session_that_forgets_its_sequences_loses_no_alert(bot: Bot, warnings: list[str], discard: str) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    for _ in range(2):
        with bot.connection.transaction():
            bot.execute("select pg_sleep(0.03)")
            bot.fail(order)
        bot.execute(f"discard {discard}")
    assert (bot.alert(order).occurrences, warnings, bot.faults()) == (2, [], [])


@pytest.mark.parametrize("garbage", GARBAGE)
def test_settings_of_the_session_silence_no_notification(database_url: str, bot: Bot, garbage: str) -> None:
    for name in SETTINGS:
        bot.execute("select set_config('walltrack.' || %s, %s, false)", (name, garbage))
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen walltrack_alerts")
        bot.create("exit", status="failed", attempt_count=3)
        assert len(list(listener.notifies(timeout=30, stop_after=1))) == 1


@pytest.mark.parametrize(
    "setting",
    [
        "plan_cache_mode = force_custom_plan", "plan_cache_mode = force_generic_plan", "enable_indexscan = off",
        "jit_above_cost = 0",
        "intervalstyle = sql_standard", "standard_conforming_strings = off", "quote_all_identifiers = on",
        "bytea_output = escape", "extra_float_digits = -10", "row_security = off", "timezone = 'Asia/Kathmandu'",
        "default_transaction_isolation = serializable", "search_path = ''", "transform_null_equals = on", "array_nulls = off",
        "check_function_bodies = off", "escape_string_warning = on", "work_mem = '64kB'", "statement_timeout = '10s'",
    ],
)  # fmt: skip
def test_a_setting_of_the_session_changes_nothing(bot: Bot, warnings: list[str], setting: str) -> None:
    bot.execute(f"set {setting}")
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.fail(order, "pool drained")
    bot.fail(order, "again")
    assert (bot.alert(order).occurrences, bot.alert(order).data["error"]) == (2, "again")
    bot.fill(order)
    assert bot.events(order) == ["raised", "repeated", "resolved"]
    assert (warnings, bot.faults(), reconcile(bot)) == ([], [], (0, 0))


# Collations


@pytest.mark.parametrize("column", ["status", "order_type", "last_error", "token_symbol"])
def test_a_collation_of_a_column_changes_no_plan(bot: Bot, admin: psycopg.Connection, column: str) -> None:
    """Comparing a key under another collation than that of the index would need a sequential scan."""
    admin.execute("drop index walltrack.orders_open_idx, walltrack.orders_next_retry_at_idx")
    admin.execute("alter table walltrack.orders drop constraint orders_status_is_known, drop constraint orders_type_is_known")
    admin.execute(f'alter table walltrack.orders alter column {column} type text collate "POSIX"')  # type: ignore[arg-type]
    bot.execute("select walltrack.reconcile_orders()")
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.fail(order)
    before = scans(bot)
    for _ in range(5):
        bot.fail(order)
    assert scans(bot) == before
    bot.fill(order)
    assert bot.alert(order).resolution == "Order filled" and bot.faults() == []


def scans(bot: Bot) -> object:
    bot.execute("select pg_stat_force_next_flush()")
    return bot.execute("select seq_scan from pg_stat_user_tables where relid = 'walltrack.alerts'::regclass").fetchone()
