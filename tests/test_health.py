"""health(): finds what is ill in alerting itself, and says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from psycopg.rows import class_row

from tests.bot import Bot
from walltrack_alerts import AlertService, Check


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[AlertService]:
    async with AlertService.from_url(database_url) as service:
        yield service


def health(bot: Bot) -> dict[str, Check]:
    with bot.connection.cursor(row_factory=class_row(Check)) as cursor:
        checks = cursor.execute("select * from walltrack.health()").fetchall()
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def ill(bot: Bot) -> list[Check]:
    return [check for check in health(bot).values() if not check.ok]


async def test_all_is_well(bot: Bot, service: AlertService) -> None:
    bot.exhaust(bot.create())
    checks = await service.get_health()
    assert all(check.ok and check.found for check in checks)
    assert {"guard on walltrack.orders", "faults", "notification queue", "skipped notifications"} <= {c.name for c in checks}


@pytest.mark.parametrize(
    ("harm", "name", "found", "advice"),
    [
        ("alter table walltrack.orders disable trigger walltrack_alerts_update", "guard on walltrack.orders",
         "trigger update disabled", "`alter table walltrack.orders enable trigger walltrack_alerts_update`"),
        ("alter table walltrack.orders enable replica trigger walltrack_alerts_insert", "guard on walltrack.orders",
         "trigger insert disabled", "enable trigger walltrack_alerts_insert"),
        ("drop trigger walltrack_alerts_delete on walltrack.orders", "guard on walltrack.orders",
         "trigger delete missing", "watch_orders('walltrack.orders')"),
        ("drop trigger walltrack_alerts_truncate on walltrack.orders; alter table walltrack.orders disable trigger user",
         "guard on walltrack.orders", "trigger delete disabled, trigger insert disabled, trigger truncate missing", "reconcile"),
        ("select walltrack.unwatch_orders('walltrack.orders')", "guard", "no table is watched", "migrate"),
        ("drop event trigger walltrack_alerts_forget_dropped; drop table walltrack.orders cascade", "guard on walltrack.orders",
         "does not exist any more", "unwatch_orders"),
        ("drop table walltrack.orders cascade", "guard", "no table is watched", "watch_orders"),
        ("insert into walltrack.alert_faults (sqlstate, message) values ('XX000', 'x')", "faults", "1 in walltrack.alert_faults",
         "reconcile"),
        ("insert into walltrack.alert_faults (sqlstate, message) values ('WT007', 'x')", "skipped notifications", "1 skipped",
         "walltrack.alert_events"),
    ],
)  # fmt: skip
def test_what_is_ill_is_named(bot: Bot, harm: str, name: str, found: str, advice: str) -> None:
    bot.execute(harm)
    (check,) = ill(bot)
    assert check.name.startswith(name)
    assert found in check.found and advice in check.advice


def follow(bot: Bot, advice: str) -> None:
    """Run the SQL of an advice."""
    for statement in advice.split("`")[1::2]:
        assert statement
        if not statement.startswith("walltrack-alerts"):
            bot.execute(statement)


def test_the_advice_for_triggers_loses_nothing(bot: Bot) -> None:
    """What was given up while they were missing is no history, and the host's own triggers stay as they are."""
    bot.execute("alter table walltrack.orders rename last_error to reason")
    bot.execute("select walltrack.watch_orders('walltrack.orders', p_cancel_pattern => '^Given up', p_order_actions => false)")
    settings = bot.execute(
        "select columns, cancel_pattern, order_actions, watched_since from walltrack.watched_tables"
    ).fetchall()
    bot.execute(
        "drop trigger walltrack_alerts_update on walltrack.orders;"
        "alter table walltrack.orders disable trigger orders_log_status, disable trigger walltrack_alerts_insert"
    )
    order = bot.create(status="failed", attempt_count=3, reason="boom")
    bot.update(order, status="cancelled", reason="Given up after 3 attempts")
    (check,) = ill(bot)
    follow(bot, check.advice)
    assert ill(bot) == []
    bot.execute("drop trigger walltrack_alerts_delete on walltrack.orders")
    (check,) = ill(bot)
    follow(bot, check.advice)
    assert ill(bot) == []
    assert (
        settings
        == bot.execute("select columns, cancel_pattern, order_actions, watched_since from walltrack.watched_tables").fetchall()
    )
    assert bot.execute("select tgenabled from pg_trigger where tgname = 'orders_log_status'").fetchone() == ("D",)
    assert bot.execute("select raised from walltrack.reconcile_orders()").fetchone() == (1,)
    assert bot.alert(order).is_open


def test_a_column_that_is_gone(bot: Bot) -> None:
    """Where nothing follows ALTER TABLE."""
    bot.execute("set session_replication_role = replica")
    bot.execute('update walltrack.watched_tables set columns = columns || \'{"last_error": "gone_one"}\'')
    (check,) = ill(bot)
    assert "column gone_one (last_error) does not exist any more" in check.found and "watch_orders" in check.advice


def test_the_advice_for_a_dropped_table_works(bot: Bot) -> None:
    bot.execute("drop event trigger walltrack_alerts_forget_dropped; drop table walltrack.orders cascade")
    (check,) = ill(bot)
    bot.execute(check.advice.strip("`."))
    assert [check.found for check in ill(bot)] == ["no table is watched: failed orders raise no alerts"]


def test_a_disabled_trigger_of_one_partition(bot: Bot) -> None:
    bot.execute(
        """
        create table public.trades (id int, order_type text, status text, attempt_count int, max_attempts int, last_error text)
        partition by range (id);
        create table public.trades_1 partition of public.trades for values from (0) to (10);
        create table public.trades_2 partition of public.trades for values from (10) to (20);
        """
    )
    bot.execute("select walltrack.watch_orders('public.trades')")
    assert ill(bot) == []
    bot.execute("alter table public.trades_2 disable trigger walltrack_alerts_update")
    (check,) = ill(bot)
    assert (check.name, check.found) == ("guard on public.trades", "trigger update disabled on public.trades_2")
    follow(bot, check.advice)
    assert ill(bot) == []


def test_orders_that_nobody_watches(bot: Bot) -> None:
    bot.execute("create table public.trades (like walltrack.orders including all)")
    bot.execute("select walltrack.watch_orders('public.trades'); select walltrack.unwatch_orders('walltrack.orders')")
    assert ill(bot) == []
    bot.create()
    (check,) = ill(bot)
    assert (check.name, check.found) == ("guard on walltrack.orders", "not watched: its failed orders raise no alerts")


def test_a_table_of_another_role_has_no_order_actions(bot: Bot) -> None:
    """Its triggers would run with the rights of alerting's owner: alerts are raised all the same."""
    bot.execute("create role wt_health_owner; grant create, usage on schema walltrack to wt_health_owner")
    try:
        bot.execute(
            "alter table walltrack.orders owner to wt_health_owner; revoke create on schema walltrack from wt_health_owner"
        )
        (check,) = ill(bot)
        assert check.name == "order actions on walltrack.orders"
        assert "belongs to wt_health_owner" in check.found and "alter table walltrack.orders owner to" in check.advice
        bot.execute("select walltrack.watch_orders('walltrack.orders', p_order_actions => false)")
        assert ill(bot) == []
        order = bot.create()
        bot.exhaust(order)
        assert bot.alert(order).is_open
    finally:
        bot.execute("reassign owned by wt_health_owner to current_user")
        bot.execute("drop owned by wt_health_owner; drop role wt_health_owner")
