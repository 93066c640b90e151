"""The rules of alerting: the effect of each order write in the bot's life on the order's alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from tests.support.bot import TOKEN, Bot
from walltrack_alerts import AlertSeverity, AlertStatus


@pytest.fixture(autouse=True)
def no_faults(bot: Bot):
    """Check after each test that alerting itself has not failed."""
    yield
    assert bot.faults() == []


# What raises an alert, and how severe it is


def test_the_last_failure_raises_an_alert(bot: Bot) -> None:
    position = uuid4()
    order = bot.create("exit", position_id=position)
    bot.exhaust(order, "slippage tolerance exceeded")
    alert = bot.alert(order)
    assert alert.alert_type == "order_failed_permanently"
    assert alert.severity is AlertSeverity.CRITICAL
    assert alert.status is AlertStatus.ACTIVE
    assert alert.title == "EXIT Order Failed - Manual Action Required"
    assert alert.dedupe_key == f"order_failed_{order}"
    assert alert.requires_action
    assert alert.occurrences == 1
    assert alert.data == {
        "order_id": str(order),
        "order_type": "exit",
        "token": TOKEN,
        "token_symbol": "BONK",
        "position_id": str(position),
        "attempts": 3,
        "max_attempts": 3,
        "error": "slippage tolerance exceeded",
        "side": "sell",
        "amount_sol": 1.5,
        "is_simulated": False,
    }
    assert alert.message.startswith("URGENT: the position is still open and exposed.")
    for part in (str(order)[:8], "BONK", "3 of 3 attempts", "slippage tolerance exceeded", "retry the order"):
        assert part in alert.message
    assert bot.events(order) == ["raised"]
    assert datetime.now(UTC) - alert.created_at < timedelta(minutes=1)
    assert alert.notified_at == alert.created_at == alert.last_seen_at


def test_a_failed_entry_is_high(bot: Bot) -> None:
    order = bot.create("entry")
    bot.exhaust(order)
    alert = bot.alert(order)
    assert alert.severity is AlertSeverity.HIGH
    assert alert.title == "ENTRY Order Failed - Manual Action Required"
    assert alert.requires_action
    assert "exposed" not in alert.message


def test_a_failure_before_the_last_raises_nothing(bot: Bot) -> None:
    order = bot.create()
    bot.update(order, status="submitted")
    bot.fail(order)
    bot.update(order, status="pending")
    bot.fail(order)
    assert bot.alerts() == []


def test_an_insert_of_an_exhausted_order_raises(bot: Bot) -> None:
    order = bot.create("exit", status="failed", attempt_count=3, last_error="boom")
    assert bot.alert(order).data["error"] == "boom"


def test_values_compare_case_insensitively(bot: Bot) -> None:
    order = bot.create("EXIT", status="FAILED", attempt_count=3)
    assert bot.alert(order).severity is AlertSeverity.CRITICAL
    assert bot.alert(order).title.startswith("EXIT")
    assert bot.alert(order).data["order_type"] == "exit"
    entry = bot.create("Entry", status="Failed", attempt_count=3)
    assert bot.alert(entry).severity is AlertSeverity.HIGH
    bot.update(order, status="FILLED")
    bot.update(entry, status="CANCELLED", last_error="Manually cancelled")
    assert [bot.alert(o).resolution for o in (order, entry)] == ["Order filled", "Order cancelled"]


@pytest.mark.parametrize(("attempts", "maximum"), [(0, 0), (0, 3), (2, 3), (5, None), (None, 3), (None, None), (-1, -2)])
def test_orders_that_are_not_exhausted_raise_nothing(bot: Bot, attempts: int | None, maximum: int | None) -> None:
    order = bot.create("exit", status="failed", attempt_count=attempts, max_attempts=maximum)
    bot.update(order, last_error="changed")
    assert bot.alerts() == []


def test_max_attempts_zero_is_exhausted_by_the_first_attempt(bot: Bot) -> None:
    order = bot.create(max_attempts=0)
    assert bot.alerts() == []
    bot.fail(order)
    assert bot.alert(order).data["attempts"] == 1


def test_lowering_max_attempts_raises(bot: Bot) -> None:
    order = bot.create("exit", status="failed", attempt_count=2)
    bot.update(order, max_attempts=2)
    assert bot.alert(order).data["max_attempts"] == 2


@pytest.mark.parametrize("status", ["filled", "cancelled"])
def test_an_ended_order_raises_nothing(bot: Bot, status: str) -> None:
    bot.create("exit", status=status, attempt_count=3)
    assert bot.alerts() == []


def test_nulls_make_a_readable_alert(bot: Bot) -> None:
    order = bot.create("exit", token_symbol=None, position_id=None, is_simulated=None)
    bot.exhaust(order, None)
    alert = bot.alert(order)
    assert TOKEN in alert.message
    assert "none recorded" in alert.message
    assert alert.data["error"] is None and alert.data["token_symbol"] is None and alert.data["position_id"] is None


def test_locks_and_whole_row_updates_do_nothing(bot: Bot, db: psycopg.Connection) -> None:
    order = bot.create()
    bot.exhaust(order)
    before = db.execute("select xmin, ctid, a.* from walltrack.alerts as a").fetchall()
    bot.lock(order)
    bot.unlock(order)
    bot.save(order)
    bot.save(order, locked_by="worker-2", actual_price="0.5")
    assert db.execute("select xmin, ctid, a.* from walltrack.alerts as a").fetchall() == before
    assert bot.events(order) == ["raised"]


def test_a_change_made_by_a_hosts_trigger_is_noticed(bot: Bot) -> None:
    bot.execute(
        "create function walltrack.host() returns trigger language plpgsql as "
        "$$ begin if new.locked_by = 'reaper' then new.attempt_count := 3; new.status := 'failed'; end if; return new; end $$"
    )
    bot.execute("create trigger a_host before update on walltrack.orders for each row execute function walltrack.host()")
    order = bot.create()
    bot.update(order, locked_by="reaper")
    assert bot.alert(order).data["attempts"] == 3


# One alert per order


def test_a_further_failure_updates_the_open_alert(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order, "first")
    first = bot.alert(order)
    bot.retry(order)
    bot.update(order, status="submitted")
    bot.fail(order, "second")
    alert = bot.alert(order)
    assert (alert.id, alert.occurrences) == (first.id, 2)
    assert alert.data["attempts"] == 4 and alert.data["error"] == "second"
    assert "second" in alert.message and "4 of 3" in alert.message
    assert alert.updated_at > first.updated_at and alert.last_seen_at > first.last_seen_at
    assert alert.created_at == first.created_at
    assert bot.events(order) == ["raised", "repeated"]


def test_status_becoming_failed_is_a_failed_attempt(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.update(order, status="submitted")
    bot.update(order, status="failed")
    assert bot.alert(order).occurrences == 2


@pytest.mark.parametrize("status", ["pending", "submitted", "confirming"])
def test_moving_an_exhausted_order_along_counts_nothing(bot: Bot, status: str) -> None:
    order = bot.create()
    bot.exhaust(order)
    before = bot.alert(order)
    bot.update(order, status=status)
    assert bot.alert(order) == before
    assert bot.events(order) == ["raised"]


def test_a_retry_clearing_the_error_keeps_the_last_real_error(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order, "the real one")
    before = bot.alert(order)
    bot.update(order, status="pending", last_error=None)
    assert bot.alert(order) == before


def test_a_changed_error_alone_updates_the_error(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order, "first")
    bot.update(order, last_error="now known: pool drained")
    alert = bot.alert(order)
    assert alert.data["error"] == "now known: pool drained" and "pool drained" in alert.message
    assert alert.occurrences == 1
    assert bot.events(order) == ["raised"]


def test_an_acknowledged_alert_stays_acknowledged(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.call("acknowledge_alert", bot.alert(order).id, "ada")
    bot.update(order, status="submitted")
    bot.fail(order)
    alert = bot.alert(order)
    assert (alert.status, alert.acknowledged_by, alert.occurrences) == (AlertStatus.ACKNOWLEDGED, "ada", 2)


def test_a_rising_severity_makes_it_active_again(bot: Bot) -> None:
    order = bot.create("entry")
    bot.exhaust(order)
    bot.call("acknowledge_alert", bot.alert(order).id, "ada")
    bot.update(order, order_type="exit")
    alert = bot.alert(order)
    assert (alert.status, alert.severity, alert.acknowledged_by) == (AlertStatus.ACTIVE, AlertSeverity.CRITICAL, None)
    assert alert.title.startswith("EXIT") and alert.occurrences == 1
    assert bot.events(order) == ["raised", "acknowledged", "escalated"]


# The end of an order


@pytest.mark.parametrize("acknowledged", [False, True])
@pytest.mark.parametrize(
    ("end", "resolution"), [("fill", "Order filled"), ("cancel", "Order cancelled"), ("delete", "Order deleted")]
)
def test_the_end_of_the_order_resolves(bot: Bot, end: str, resolution: str, acknowledged: bool) -> None:
    order = bot.create()
    bot.exhaust(order)
    if acknowledged:
        bot.call("acknowledge_alert", bot.alert(order).id, "ada")
    getattr(bot, end)(order)
    alert = bot.alert(order)
    assert (alert.status, alert.resolution, alert.resolved_by) == (AlertStatus.RESOLVED, resolution, "system")
    assert alert.resolved_at is not None
    assert alert.acknowledged_by == ("ada" if acknowledged else None)
    assert bot.events(order)[-1] == "resolved"


def test_executed_counts_as_filled(bot: Bot) -> None:
    """The second generation of the bot uses this word."""
    bot.execute("alter table walltrack.orders drop constraint orders_status_is_known")
    order = bot.create()
    bot.update(order, status="EXECUTED", attempt_count=3)
    assert bot.alerts(order) == []
    other = bot.create("exit", status="failed", attempt_count=3)
    bot.update(other, status="Executed")
    assert bot.alert(other).resolution == "Order filled"
    missed = bot.create("exit", status="failed", attempt_count=3)
    bot.execute("alter table walltrack.orders disable trigger user")
    bot.update(missed, status="executed")
    assert bot.execute("select raised, resolved from walltrack.reconcile_orders()").fetchone() == (0, 1)
    assert bot.alert(missed).resolution == "Order filled"


def test_padded_values_count_as_trimmed(bot: Bot) -> None:
    """JSON keeps the trailing spaces of a char(n)."""
    bot.execute("alter table walltrack.orders alter status type char(20), alter order_type type char(10)")
    order = bot.create("entry", status="failed", attempt_count=3)
    alert = bot.alert(order)
    assert (alert.severity, alert.title) == ("high", "ENTRY Order Failed - Manual Action Required")
    bot.call("retry_order", alert.id, "ada")
    bot.fill(order)
    assert bot.alert(order).resolution == "Order filled"
    assert bot.faults() == []


def test_a_fill_after_a_manual_retry_resolves(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.give_up(order)
    bot.retry(order)
    bot.update(order, status="submitted")
    bot.fail(order, "again")
    assert bot.alert(order).occurrences == 2
    bot.retry(order)
    bot.update(order, status="submitted")
    bot.update(order, status="confirming")
    bot.fill(order)
    assert bot.alert(order).resolution == "Order filled"


def test_an_order_put_back_keeps_its_alert_until_it_ends(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.update(order, attempt_count=0, status="pending")
    assert bot.alert(order).status is AlertStatus.ACTIVE
    bot.fill(order)
    assert bot.alert(order).resolution == "Order filled"


def test_truncate_resolves_like_delete(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.execute("truncate walltrack.orders")
    assert bot.alert(order).resolution == "Order deleted"


# R5: the automatic cancel is no resolution


def test_the_automatic_cancel_keeps_the_alert_and_its_real_error(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order, "blockhash not found")
    before = bot.alert(order)
    bot.give_up(order)
    assert bot.alert(order) == before
    assert before.data["error"] == "blockhash not found"
    assert bot.events(order) == ["raised"]


def test_the_automatic_cancel_raises_a_missed_alert(bot: Bot) -> None:
    bot.execute("alter table walltrack.orders disable trigger user")
    order = bot.create()
    bot.exhaust(order, "blockhash not found")
    bot.execute("alter table walltrack.orders enable trigger user")
    bot.give_up(order)
    alert = bot.alert(order)
    assert alert.status is AlertStatus.ACTIVE
    assert alert.data["error"] == "blockhash not found"


def test_one_write_with_failure_and_cancel_keeps_the_earlier_error(bot: Bot) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2, last_error="rpc timeout")
    bot.update(order, attempt_count=3, status="cancelled", last_error="Max retries reached (3 attempts)")
    assert bot.alert(order).data["error"] == "rpc timeout"
    bot.update(order, locked_by=None)
    assert bot.alert(order).is_open


def test_inserting_an_order_already_given_up_raises(bot: Bot) -> None:
    order = bot.create("exit", status="cancelled", attempt_count=3, last_error="Max retries reached (3 attempts)")
    assert bot.alert(order).data["error"] == "Max retries reached (3 attempts)"


def test_a_cancel_with_attempts_left_is_a_decision(bot: Bot) -> None:
    order = bot.create("exit", status="failed", attempt_count=3)
    bot.update(order, attempt_count=1, status="cancelled", last_error="Max retries reached (3 attempts)")
    assert bot.alert(order).resolution == "Order cancelled"


def test_changing_the_error_of_an_abandoned_order_resolves_nothing(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order, "real")
    bot.give_up(order)
    bot.update(order, last_error="checked by the nightly job")
    assert bot.alert(order).is_open


def test_the_cancel_pattern_is_configurable(bot: Bot) -> None:
    bot.execute("select walltrack.watch_orders('walltrack.orders', p_cancel_pattern => '^Aufgegeben')")
    order = bot.create()
    bot.exhaust(order, "real")
    bot.update(order, status="cancelled", last_error="Aufgegeben nach 3 Versuchen")
    assert bot.alert(order).is_open
    other = bot.create()
    bot.exhaust(other)
    bot.give_up(other)
    assert bot.alert(other).resolution == "Order cancelled"


# R6: after resolution


def test_a_later_failure_opens_a_new_alert(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.call("resolve_alert", bot.alert(order).id, "closed by hand", "ada")
    bot.retry(order)
    bot.fail(order)
    old, new = bot.alerts(order)
    assert (old.status, new.status, new.occurrences) == (AlertStatus.RESOLVED, AlertStatus.ACTIVE, 1)
    assert old.resolution == "closed by hand"


def test_a_manual_resolve_holds_until_the_order_fails_again(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.call("resolve_alert", bot.alert(order).id, "closed by hand", "ada")
    bot.give_up(order)
    bot.update(order, last_error="something else")
    bot.retry(order)
    bot.update(order, status="submitted")
    bot.execute("select walltrack.reconcile_orders()")
    assert len(bot.alerts(order)) == 1
    bot.fail(order)
    assert [alert.status for alert in bot.alerts(order)] == ["resolved", "active"]


# R8: one transaction


def test_a_rollback_leaves_no_alert(database_url: str, bot: Bot) -> None:
    order = bot.create()
    with psycopg.connect(database_url, autocommit=True) as listener, psycopg.connect(database_url) as writer:
        listener.execute("listen walltrack_alerts")
        other = Bot(writer)
        other.exhaust(order)
        assert other.alert(order).is_open
        writer.rollback()
        bot.call("raise_alert", "marker", "info", "the next notification")
        (notification,) = listener.notifies(timeout=10, stop_after=1)
        assert "the next notification" in notification.payload
    assert bot.alerts(order) == [] and bot.events(order) == []


def test_a_savepoint_rolls_back_only_its_part(database_url: str, bot: Bot) -> None:
    kept, lost = bot.create(), bot.create()
    with psycopg.connect(database_url, autocommit=True) as listener, psycopg.connect(database_url) as writer:
        listener.execute("listen walltrack_alerts")
        other = Bot(writer)
        other.exhaust(kept)
        writer.execute("savepoint s")
        other.exhaust(lost)
        writer.execute("rollback to savepoint s")
        writer.commit()
        bot.call("raise_alert", "marker", "info", "the next notification")
        first, second = listener.notifies(timeout=10, stop_after=2)
        assert str(kept) in first.payload and "the next notification" in second.payload
    assert bot.alert(kept).is_open
    assert bot.alerts(lost) == [] and bot.events(lost) == []


def test_a_bulk_update_raises_one_alert_each(bot: Bot) -> None:
    orders = [bot.create("exit" if number % 2 else "entry", status="submitted", attempt_count=2) for number in range(40)]
    bot.execute("update walltrack.orders set status = 'failed', attempt_count = attempt_count + 1, last_error = 'rpc down'")
    assert {alert.dedupe_key for alert in bot.alerts()} == {f"order_failed_{order}" for order in orders}
    bot.execute("update walltrack.orders set status = 'filled'")
    assert all(alert.resolution == "Order filled" for alert in bot.alerts())
