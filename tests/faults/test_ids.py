"""Orders whose ids change, also to the id of another order."""

from __future__ import annotations

import itertools

import pytest

from tests.support.bot import Bot
from tests.support.reconciling import reconcile

TABLE = """
create table public.trades (
    id int primary key deferrable initially immediate, order_type text, status text, attempt_count int, max_attempts int,
    last_error text
);
select walltrack.watch_orders('public.trades');
"""
STATES = {
    "waiting": ("pending", 0),
    "failed": ("failed", 3),
    "failed again": ("failed", 5),
    "retried": ("pending", 3),
    "filled": ("filled", 3),
}
SWAP = "update public.trades set id = 3 - id"


def insert(bot: Bot, order: int, state: str, error: str) -> None:
    bot.execute("insert into public.trades values (%s, 'exit', 'failed', 3, 3, %s)", (order, error))
    status, attempts = STATES[state]
    bot.execute("update public.trades set status = %s, attempt_count = %s where id = %s", (status, attempts, order))


def assert_alerts_are_of_their_orders(bot: Bot) -> None:
    """Check that exactly the exhausted orders have an open alert, each with what their order says."""
    orders = {
        str(order): (attempts, error)
        for order, status, attempts, error in bot.execute("select id, status, attempt_count, last_error from public.trades")
        if attempts >= 3 and status != "filled"
    }
    alerts = {a.data["order_id"]: (a.data["attempts"], a.data["error"]) for a in bot.alerts() if a.is_open}
    assert alerts == orders
    assert (reconcile(bot), bot.faults()) == ((0, 0), [])


@pytest.mark.parametrize(("first", "second"), [*itertools.product(STATES, STATES)])
def test_two_orders_may_swap_their_ids(bot: Bot, first: str, second: str) -> None:
    bot.execute(TABLE)
    insert(bot, 1, first, "of the first")
    insert(bot, 2, second, "of the second")
    # An order that never failed has no alert.
    bot.execute("delete from walltrack.alerts where dedupe_key = any (%s)", (
        [f"order_failed_{order}" for order, state in ((1, first), (2, second)) if state == "waiting"],
    ))  # fmt: skip
    bot.execute(SWAP)
    assert_alerts_are_of_their_orders(bot)
    bot.execute(SWAP)
    assert_alerts_are_of_their_orders(bot)


@pytest.mark.parametrize("decision", ["acknowledge", "resolve"])
def test_a_decision_about_an_order_is_none_about_its_successor(bot: Bot, decision: str) -> None:
    """The id is the same, but another order has failed."""
    bot.execute(TABLE)
    insert(bot, 1, "failed", "of the first")
    insert(bot, 2, "failed", "of the second")
    alert = bot.alerts()[0]
    if decision == "acknowledge":
        bot.call("acknowledge_alert", alert.id, "ada")
    else:
        bot.call("resolve_alert", alert.id, "sold by hand", "ada")
    bot.execute(SWAP)
    assert sorted(a.status for a in bot.alerts() if a.is_open) == ["active", "active"]
    assert_alerts_are_of_their_orders(bot)


@pytest.mark.parametrize("change", ["id + 1", "10 - id", "(id + 1) % 5", "case id when 2 then 9 else id end"])
def test_ids_may_shift(bot: Bot, change: str) -> None:
    bot.execute(TABLE)
    for order, state in zip(range(5), itertools.cycle(STATES), strict=False):
        insert(bot, order, state, f"of {order}")
    bot.execute("delete from walltrack.alerts where dedupe_key = 'order_failed_0'")
    bot.execute(f"set constraints all deferred; update public.trades set id = {change}")
    assert_alerts_are_of_their_orders(bot)


def test_a_changed_id_resolves_the_alert_after_attempts_were_reset(bot: Bot) -> None:
    bot.execute(TABLE)
    insert(bot, 1, "failed", "of the first")
    bot.execute("update public.trades set attempt_count = 0")
    assert bot.alerts()[0].is_open
    bot.execute("update public.trades set id = 2")
    assert bot.alerts()[0].resolution == "Order deleted"
    assert_alerts_are_of_their_orders(bot)


def test_an_id_taken_by_another_order_gets_its_alert(bot: Bot) -> None:
    bot.execute(TABLE)
    insert(bot, 1, "failed", "of the first")
    insert(bot, 2, "failed again", "of the second")
    with bot.connection.transaction():
        bot.execute("update public.trades set id = 3 where id = 1")
        bot.execute("update public.trades set id = 1 where id = 2")
        bot.execute("update public.trades set id = 2 where id = 3")
    assert_alerts_are_of_their_orders(bot)


def test_an_inserted_order_may_reuse_a_deleted_id(bot: Bot) -> None:
    bot.execute(TABLE)
    insert(bot, 1, "failed", "of the first")
    bot.call("acknowledge_alert", bot.alerts()[0].id, "ada")
    with bot.connection.transaction():
        bot.execute("delete from public.trades where id = 1")
        bot.execute("insert into public.trades values (1, 'exit', 'failed', 4, 3, 'of the second')")
    assert [a.status for a in bot.alerts()] == ["resolved", "active"]
    assert_alerts_are_of_their_orders(bot)
