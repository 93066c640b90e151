"""TRUNCATE of a watched table resolves the alerts of its orders at once."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import HOSTS_TRIGGERS
from tests.support.reconciling import reconcile

ORDERS = 500


def fail_many(bot: Bot) -> None:
    bot.execute(
        "insert into walltrack.orders (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        "select 'exit', 'sell', 'x', 1, 1, 'failed', 3 from generate_series(1, %s)",
        (ORDERS,),
    )


@pytest.mark.parametrize(("notify", "notifications"), [("event", ORDERS), ("transaction", 1), ("off", 0)])
def test_each_alert_is_resolved_with_its_event(database_url: str, bot: Bot, notify: str, notifications: int) -> None:
    bot.execute("create table walltrack.others (like walltrack.orders including all)")
    bot.execute("select walltrack.watch_orders('walltrack.others')")
    fail_many(bot)
    bot.execute(
        "insert into walltrack.others (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        "values ('exit', 'sell', 'x', 1, 1, 'failed', 3)"
    )
    bot.execute("select walltrack.watch_orders('walltrack.orders', p_notify => %s)", (notify,))
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen walltrack_alerts")
        bot.execute("truncate walltrack.orders")
        bot.execute("notify walltrack_alerts, 'end'")
        payloads = []
        for notification in listener.notifies(timeout=60):
            if notification.payload == "end":
                break
            payloads.append(notification.payload)
    assert len(payloads) == notifications
    assert bot.execute(
        "select count(*), count(distinct alert_id) from walltrack.alert_events "
        "where kind = 'resolved' and detail ->> 'resolution' = 'Order deleted' and detail ->> 'status' = 'resolved'"
    ).fetchone() == (ORDERS, ORDERS)
    (kept,) = (alert for alert in bot.alerts() if alert.is_open)
    assert bot.execute("select order_table::text from walltrack.alerts where id = %s", (kept.id,)).fetchone() == (
        "walltrack.others",
    )
    assert (bot.faults(), reconcile(bot)) == ([], (0, 0))


def test_an_order_that_a_trigger_keeps_has_its_alert(bot: Bot) -> None:
    bot.execute(
        f"{HOSTS_TRIGGERS}; create table public.kept (like walltrack.orders);"
        "create function public.keep() returns trigger language plpgsql as $$ begin "
        "insert into walltrack.orders select * from public.kept; return null; end $$;"
        "create trigger a_keep after truncate on walltrack.orders execute function public.keep()"
    )
    kept, gone = (bot.create("exit", status="failed", attempt_count=3) for _ in range(2))
    bot.execute("insert into public.kept select * from walltrack.orders where id = %s", (kept,))
    bot.execute("truncate walltrack.orders")
    assert [alert.is_open for alert in bot.alerts(kept)][-1] is True
    assert bot.alert(gone).resolution == "Order deleted"
    assert (bot.faults(), reconcile(bot)) == ([], (0, 0))


def test_a_rolled_back_truncate_changes_no_alert(bot: Bot) -> None:
    fail_many(bot)
    with bot.connection.transaction(force_rollback=True):
        bot.execute("truncate walltrack.orders")
    assert all(alert.is_open for alert in bot.alerts())
    assert set(bot.events()) == {"raised"}
