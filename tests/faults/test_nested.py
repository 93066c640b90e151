"""Nested writes: the alert agrees with the final state of the order, whatever the order of the triggers."""

from __future__ import annotations

import threading
import uuid

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.reconciling import reconcile
from walltrack_alerts import AlertStatus

BEFORE_OURS, AFTER_OURS = "a_host", "zz_host"
"""Names of host triggers that fire before and after those of alerting."""


def host_trigger(bot: Bot, name: str, body: str, event: str = "update") -> None:
    bot.execute(
        f"create function public.{name}() returns trigger language plpgsql as $$ begin {body} return null; end $$;"
        f"create trigger {name} after {event} on walltrack.orders for each row execute function public.{name}()"
    )


def agrees(bot: Bot, order: uuid.UUID) -> None:
    """Check that no fault was reported and that the reconciler finds nothing to heal."""
    assert bot.faults() == []
    assert reconcile(bot) == (0, 0)


@pytest.mark.parametrize("name", [BEFORE_OURS, AFTER_OURS])
def test_a_trigger_may_take_back_a_fill(bot: Bot, name: str) -> None:
    order = bot.create("exit", status="failed", attempt_count=3)
    host_trigger(
        bot, name, "if new.status = 'filled' and new.tx_signature is null then "
        "update walltrack.orders set status = 'failed', last_error = 'no signature' where id = new.id; end if;",
    )  # fmt: skip
    bot.fill(order)
    assert (bot.alerts(order)[-1].status, bot.alerts(order)[-1].data["error"]) == (AlertStatus.ACTIVE, "no signature")
    agrees(bot, order)


@pytest.mark.parametrize("name", [BEFORE_OURS, AFTER_OURS])
def test_a_trigger_may_cancel_a_failed_order(bot: Bot, name: str) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    host_trigger(
        bot, name, "if new.status = 'failed' then "
        "update walltrack.orders set status = 'cancelled', last_error = 'host' where id = new.id; end if;",
    )  # fmt: skip
    bot.fail(order)
    assert [alert.status for alert in bot.alerts(order)] in ([], ["resolved"])
    agrees(bot, order)


@pytest.mark.parametrize("name", [BEFORE_OURS, AFTER_OURS])
@pytest.mark.parametrize("depth", [1, 4])
def test_nested_failures_leave_the_newest_attempts(bot: Bot, name: str, depth: int) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    host_trigger(
        bot, name, f"if new.attempt_count < {3 + depth} then "
        "update walltrack.orders set attempt_count = attempt_count + 1, last_error = 'deeper' where id = new.id; end if;",
    )  # fmt: skip
    bot.fail(order)
    assert (bot.alert(order).data["attempts"], bot.alert(order).data["error"]) == (3 + depth, "deeper")
    agrees(bot, order)


def test_a_trigger_may_write_a_sibling_of_the_same_statement(bot: Bot) -> None:
    """One UPDATE fails both orders of a pair, and a host trigger then fills the sibling."""
    first, second = sorted((bot.create("exit", status="submitted", attempt_count=2) for _ in range(2)), key=str)
    host_trigger(
        bot, BEFORE_OURS, "if new.status = 'failed' then update walltrack.orders set status = 'filled' "
        "where id <> new.id and status = 'failed'; end if;",
    )  # fmt: skip
    bot.execute("update walltrack.orders set status = 'failed', attempt_count = 3, last_error = 'both'")
    states = dict(bot.execute("select id, status from walltrack.orders").fetchall())
    for order in (first, second):
        expected = ["resolved"] if states[order] == "filled" else ["active"]
        assert [alert.status for alert in bot.alerts(order)] in (expected, [] if states[order] == "filled" else expected)
    agrees(bot, first)


def test_a_trigger_may_delete_the_order(bot: Bot) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    host_trigger(bot, BEFORE_OURS, "if new.status = 'failed' then delete from walltrack.orders where id = new.id; end if;")
    bot.fail(order)
    assert [alert.status for alert in bot.alerts(order)] in ([], ["resolved"])
    agrees(bot, order)


def test_a_trigger_may_put_a_deleted_order_back(bot: Bot) -> None:
    order = bot.create("exit", status="failed", attempt_count=3)
    host_trigger(bot, BEFORE_OURS, "insert into walltrack.orders select old.*;", "delete")
    bot.delete(order)
    assert [alert.is_open for alert in bot.alerts(order)][-1]
    agrees(bot, order)


def test_a_deferred_host_trigger_may_write_orders(bot: Bot) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.execute(
        "create function public.late() returns trigger language plpgsql as $$ begin if new.status = 'failed' then "
        "update walltrack.orders set status = 'filled' where id = new.id; end if; return null; end $$;"
        "create constraint trigger a_late after update on walltrack.orders deferrable initially deferred "
        "for each row execute function public.late()"
    )
    bot.fail(order)
    assert bot.alert(order).resolution == "Order filled"
    agrees(bot, order)


def test_a_nested_write_counts_once(bot: Bot) -> None:
    order = bot.create("exit", status="failed", attempt_count=3)
    host_trigger(
        bot, BEFORE_OURS, "if new.last_error <> 'noted' then "
        "update walltrack.orders set last_error = 'noted' where id = new.id; end if;",
    )  # fmt: skip
    bot.fail(order, "again")
    assert (bot.alert(order).occurrences, bot.alert(order).data["error"]) == (2, "noted")
    assert bot.events(order) == ["raised", "repeated"]
    agrees(bot, order)


# The id


def test_the_alert_follows_a_changed_order_id(bot: Bot) -> None:
    order, other = bot.create("exit", status="failed", attempt_count=3, last_error="pool drained"), uuid.uuid4()
    bot.execute("update walltrack.orders set id = %s", (other,))
    assert bot.alert(order).resolution == "Order deleted"
    assert (bot.alert(other).status, bot.alert(other).data["error"]) == (AlertStatus.ACTIVE, "pool drained")
    agrees(bot, other)


def test_the_alerts_follow_swapped_order_ids(bot: Bot) -> None:
    failed, filled, spare = (
        bot.create("exit", status="failed", attempt_count=3),
        bot.create("exit", status="filled"),
        uuid.uuid4(),
    )
    with bot.connection.transaction():
        for old, new in ((failed, spare), (filled, failed), (spare, filled)):
            bot.execute("update walltrack.orders set id = %s where id = %s", (new, old))
    assert not bot.alert(failed).is_open and bot.alert(filled).is_open
    agrees(bot, filled)


PARTITIONED = """
create table public.trades (id int, order_type text, status text, attempt_count int, max_attempts int, last_error text)
partition by list (status);
create table public.trades_open partition of public.trades for values in ('pending', 'submitted', 'failed');
create table public.trades_done partition of public.trades for values in ('filled', 'cancelled');
select walltrack.watch_orders('public.trades');
insert into public.trades values (7, 'exit', 'failed', 3, 3, 'boom');
"""


def test_an_order_that_moves_is_deleted_and_comes_back(bot: Bot) -> None:
    bot.execute(PARTITIONED)
    with bot.connection.transaction():
        bot.execute("update public.trades set status = 'filled'")
        bot.execute("delete from public.trades")
        bot.execute("insert into public.trades values (7, 'exit', 'failed', 3, 3, 'back')")
    assert [alert.is_open for alert in bot.alerts()] == [False, True]
    assert bot.alerts()[-1].data["error"] == "back"
    assert (bot.faults(), reconcile(bot)) == ([], (0, 0))


def test_an_order_that_moves_to_and_fro(bot: Bot) -> None:
    bot.execute(PARTITIONED)
    with bot.connection.transaction():
        for status in ("cancelled", "failed", "filled", "failed"):
            bot.execute("update public.trades set status = %s", (status,))
    assert bot.alerts()[-1].is_open and sum(alert.is_open for alert in bot.alerts()) == 1
    assert (bot.faults(), reconcile(bot)) == ([], (0, 0))


def test_partitions_may_be_written_directly(bot: Bot, admin: psycopg.Connection) -> None:
    bot.execute(PARTITIONED)
    bot.execute("update public.trades_open set attempt_count = 4")
    assert bot.alerts()[0].data["attempts"] == 4
    bot.execute("delete from public.trades_open")
    assert bot.alerts()[0].resolution == "Order deleted"
    assert (bot.faults(), reconcile(bot)) == ([], (0, 0))


def test_a_nested_write_may_lose_a_race(database_url: str, bot: Bot) -> None:
    """Another writer raises the alert of the nested order at the same moment, so the guard retries."""
    first, second = (bot.create("exit", status="submitted", attempt_count=3) for _ in range(2))
    bot.execute(
        f"""
        delete from walltrack.alerts;
        create function walltrack.host() returns trigger language plpgsql as $$ begin
          if new.id = '{first}' then
            update walltrack.orders set status = 'failed', last_error = 'nested' where id = '{second}';
          end if;
          return null;
        end $$;
        create trigger a_host after update on walltrack.orders for each row when (new.status = 'filled')
        execute function walltrack.host()
        """
    )
    with psycopg.connect(database_url) as service:
        service.execute(
            "insert into walltrack.alerts (alert_type, severity, title, message, data, requires_action, dedupe_key) "
            "values ('order_failed_permanently', 'high', 't', 'm', '{}', true, %s)",
            (f"order_failed_{second}",),
        )
        timer = threading.Timer(0.04, service.commit)
        timer.start()
        bot.execute("update walltrack.orders set status = 'filled'")
        timer.join()
    assert bot.execute("select status from walltrack.orders where id = %s", (second,)).fetchone() == ("failed",)
    assert [alert.is_open for alert in bot.alerts() if alert.dedupe_key == f"order_failed_{second}"] == [True]
