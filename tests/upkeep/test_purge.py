"""Retention: old resolved alerts are deleted with their events; open alerts and held resolutions stay."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.commands import run, usage_error
from walltrack_alerts import retention


def age(bot: Bot, days: int = 100, order: uuid.UUID | None = None) -> None:
    """Move the resolution of resolved alerts (of one order) some days into the past."""
    bot.execute(
        "update walltrack.alerts set resolved_at = resolved_at - make_interval(days => %s) "
        "where status = 'resolved' and (%s::text is null or dedupe_key = %s)",
        (days, order, f"order_failed_{order}"),
    )


def purge(bot: Bot, older_than: str = "90 days") -> int:
    (purged,) = bot.execute("select walltrack.purge_alerts(%s)", (older_than,)).fetchone() or (None,)
    assert isinstance(purged, int)
    return purged


def exhausted(bot: Bot) -> uuid.UUID:
    return bot.create("exit", status="failed", attempt_count=3, last_error="pool drained")


def resolve(bot: Bot, order: uuid.UUID) -> None:
    bot.call("resolve_alert", bot.alerts(order)[-1].id, "by hand", "ada")


def reconcile(bot: Bot) -> object:
    return bot.execute("select raised, resolved from walltrack.reconcile_orders()").fetchone()


def test_old_resolved_alerts_are_deleted(bot: Bot) -> None:
    old, young, still_open, acknowledged = (exhausted(bot) for _ in range(4))
    bot.call("acknowledge_alert", bot.alert(acknowledged).id, "ada")
    bot.execute("insert into walltrack.order_actions (alert_id, table_id, order_id, action, actor) "
                "values (%s, 'walltrack.orders', %s, 'retry', 'ada')", (bot.alert(old).id, old))  # fmt: skip
    bot.fill(old)
    age(bot)
    bot.fill(young)
    bot.execute("update walltrack.alerts set created_at = created_at - interval '1 year'")
    assert purge(bot) == 1
    assert bot.alerts(old) == [] and len(bot.alerts()) == 3
    assert bot.events() == ["raised"] * 3 + ["acknowledged", "resolved"]
    assert bot.execute("select count(*) from walltrack.order_actions").fetchone() == (0,)
    assert bot.alert(still_open).is_active and bot.alert(acknowledged).is_open
    assert purge(bot) == 0
    assert purge(bot, "0") == 1


@pytest.mark.parametrize("older_than", ["-1 second", "1 day -25 hours", None])
def test_future_times_are_refused(bot: Bot, older_than: str | None) -> None:
    with pytest.raises(psycopg.Error) as caught:
        bot.execute("select walltrack.purge_alerts(%s)", (older_than,))
    assert caught.value.sqlstate == "WT003"


# Rule R6: a manual resolve holds until the order fails again


STILL_HELD: dict[str, Callable[[Bot, uuid.UUID], None]] = {
    "failed": lambda bot, order: None,
    "retried": lambda bot, order: bot.retry(order),
    "given up": lambda bot, order: bot.give_up(order),
}
NOT_HELD: dict[str, Callable[[Bot, uuid.UUID], None]] = {
    "filled": lambda bot, order: bot.fill(order),
    "cancelled": lambda bot, order: bot.cancel(order),
    "deleted": lambda bot, order: bot.delete(order),
    "new attempts": lambda bot, order: bot.update(order, max_attempts=5),
}


@pytest.mark.parametrize("then", STILL_HELD.values(), ids=STILL_HELD)
def test_alerts_that_hold_a_resolution_stay(bot: Bot, then: Callable[[Bot, uuid.UUID], None]) -> None:
    order = exhausted(bot)
    resolve(bot, order)
    then(bot, order)
    age(bot)
    assert purge(bot) == 0
    assert reconcile(bot) == (0, 0)
    bot.save(order, locked_by="worker-1")
    bot.update(order, last_error="the same trouble in other words")
    assert [alert.resolution for alert in bot.alerts(order)] == ["by hand"]
    bot.fill(order)
    assert purge(bot) == 1


@pytest.mark.parametrize("then", NOT_HELD.values(), ids=NOT_HELD)
def test_alerts_that_hold_nothing_are_deleted(bot: Bot, then: Callable[[Bot, uuid.UUID], None]) -> None:
    order = exhausted(bot)
    resolve(bot, order)
    then(bot, order)
    age(bot)
    assert purge(bot) == 1
    assert reconcile(bot) == (0, 0)


def test_only_the_newest_alert_of_an_order_can_hold(bot: Bot) -> None:
    order = exhausted(bot)
    resolve(bot, order)
    bot.fail(order)
    age(bot)
    assert purge(bot) == 1  # another one is open
    resolve(bot, order)
    bot.fail(order)
    resolve(bot, order)
    age(bot)
    assert purge(bot) == 1  # the newest stays
    assert [alert.data["attempts"] for alert in bot.alerts(order)] == [5]
    assert reconcile(bot) == (0, 0)


def test_newer_alerts_are_never_deleted_before_older_ones(database_url: str, bot: Bot) -> None:
    """A session locks the alert that an operator resolved; without the later alert its resolution would hold again."""
    order = exhausted(bot)
    resolve(bot, order)
    bot.fail(order)
    bot.call("resolve_alert", bot.alerts(order)[-1].id, "Order filled", "system")
    age(bot)
    with psycopg.connect(database_url) as holder:
        holder.execute("select from walltrack.alerts where resolved_by = 'ada' for update")
        bot.execute("set statement_timeout = '20s'")
        assert purge(bot) == 0
        holder.rollback()
    assert purge(bot) == 2


def test_alerts_of_unreadable_orders_stay(bot: Bot) -> None:
    order = exhausted(bot)
    resolve(bot, order)
    age(bot)
    bot.execute("drop event trigger walltrack_alerts_follow_ddl; alter table walltrack.orders rename column id to key")
    assert purge(bot) == 0
    bot.execute("drop table walltrack.orders cascade")
    assert purge(bot) == 1  # an order of a dropped table is not exhausted


def test_alerts_without_an_order_are_deleted(bot: Bot) -> None:
    for key in (None, "disk full"):
        alert = bot.call("raise_alert", "disk", "info", "Disk full", "", "{}", False, key)
        assert alert is not None
        bot.call("resolve_alert", alert.id, "cleaned", "ada")
    age(bot)
    assert purge(bot) == 2


# In batches


def test_batches_report_progress(database_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    orders = [exhausted(bot) for _ in range(7)]
    for order in orders[1:]:
        bot.fill(order)
    held = exhausted(bot)
    resolve(bot, held)
    age(bot)
    age(bot, 1000, held)  # examined first, in a batch of which one alert stays
    seen: list[tuple[int, int]] = []
    done = retention.purge(database_url, "90 days", dry_run=True, progress=lambda *at: seen.append(at))
    assert (done, len(bot.alerts())) == (retention.Purged(7, 6, 1), 8)
    assert seen == [(2, 7), (4, 7), (6, 7), (7, 7)]
    assert retention.purge(database_url, "90 days", dry_run=False, progress=lambda *_: None) == done
    assert {alert.dedupe_key for alert in bot.alerts()} == {f"order_failed_{order}" for order in (orders[0], held)}


def test_one_call_is_bounded(bot: Bot) -> None:
    for _ in range(5):
        bot.fill(exhausted(bot))
    age(bot)
    calls = [bot.execute("select walltrack.purge_alerts('90 days', 2)").fetchone() for _ in range(4)]
    assert calls == [(2,), (2,), (1,), (0,)]


@pytest.mark.own_server
def test_the_command_deletes_and_reports(database_url: str, bot: Bot) -> None:
    bot.fill(exhausted(bot))
    held = exhausted(bot)
    resolve(bot, held)
    age(bot)
    dry = run(database_url, "purge", "--older-than", "90 days", "--dry-run").stdout
    assert "1 resolved alert would be deleted, 1 kept" in dry and len(bot.alerts()) == 2
    done = json.loads(run(database_url, "purge", "--older-than", "90 days", "--json").stdout)
    assert done == {"scanned": 2, "purged": 1, "kept": 1, "dry_run": False}
    assert "0 resolved alerts deleted, 1 kept" in run(database_url, "purge", "--older-than", "90 days").stdout
    assert "older" in run(database_url, "purge", expect=2).stderr
    for wrong in ("-1 day", "yesterday"):
        assert "e.g. '15 min'" in usage_error(run(database_url, "purge", "--older-than", wrong, expect=2))
