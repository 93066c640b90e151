"""The reconciler raises or resolves each missed alert once and leaves all others alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.commands import run
from tests.support.reconciling import reconcile, without_triggers
from walltrack_alerts import AlertStatus, reconciler


@contextmanager
def disabled(bot: Bot):
    bot.execute("alter table walltrack.orders disable trigger user")
    yield
    bot.execute("alter table walltrack.orders enable trigger user")


@contextmanager
def broken(bot: Bot):
    bot.execute("alter table walltrack.alerts add constraint broken check (updated_at is null) not valid")
    yield
    bot.execute("alter table walltrack.alerts drop constraint broken")


BLIND = pytest.mark.parametrize("blind", [disabled, without_triggers, broken])
Blind = Callable[[Bot], AbstractContextManager[None]]


@BLIND
def test_the_reconciler_heals_missed_writes(bot: Bot, blind: Blind) -> None:
    kept, filled, cancelled, given_up, deleted = (bot.create() for _ in range(5))
    for order in (kept, filled, cancelled, given_up, deleted):
        bot.exhaust(order)
    with blind(bot):
        missed, missed_entry, missed_give_up = bot.create(), bot.create("entry"), bot.create()
        for order in (missed, missed_entry, missed_give_up):
            bot.exhaust(order, "nobody saw this")
        bot.give_up(missed_give_up)
        bot.fill(filled)
        bot.cancel(cancelled)
        bot.give_up(given_up)
        bot.delete(deleted)
        never = bot.create()
        bot.exhaust(never)
        bot.fill(never)
    before = bot.alerts()
    assert reconcile(bot, dry_run=True) == (3, 3)
    assert bot.alerts() == before
    assert reconcile(bot) == (3, 3)
    for order in (missed, missed_entry, missed_give_up, kept, given_up):
        assert bot.alert(order).status is AlertStatus.ACTIVE
    assert bot.alert(missed).data["error"] == "nobody saw this"
    assert bot.alert(missed_entry).severity == "high"
    endings = [bot.alert(order).resolution for order in (filled, cancelled, deleted)]
    assert endings == ["Order filled", "Order cancelled", "Order deleted"]
    assert bot.alerts(never) == []
    assert bot.faults() == []
    state = bot.alerts()
    assert reconcile(bot) == (0, 0)
    assert bot.alerts() == state


def test_a_manual_resolve_holds(bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.call("resolve_alert", bot.alert(order).id, "sold by hand", "ada")
    assert reconcile(bot) == (0, 0)
    with disabled(bot):
        bot.retry(order)
        bot.fail(order)
    assert reconcile(bot) == (1, 0)
    assert [alert.status for alert in bot.alerts(order)] == ["resolved", "active"]


def test_orders_from_before_watching_raise_no_alert(bot: Bot) -> None:
    with without_triggers(bot):
        old = bot.create("exit", status="cancelled", attempt_count=3, last_error="Max retries reached (3 attempts)")
        bot.execute("update walltrack.orders set updated_at = now() - interval '1 month' where id = %s", (old,))
    assert reconcile(bot) == (0, 0)


def test_the_reconciler_works_in_batches(bot: Bot, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "BATCH", 7)
    with without_triggers(bot):
        bot.execute(
            "insert into walltrack.orders (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
            "select 'exit', 'sell', 'x', 1, 1, 'failed', i % 4 from generate_series(1, 50) as i"
        )
    seen: list[int] = []
    done = reconciler.reconcile(database_url, dry_run=False, progress=lambda count, _: seen.append(count))
    assert (done.scanned, done.raised, done.resolved, done.failed) == (50, 12, 0, 0)
    assert seen == [7, 14, 21, 28, 35, 42, 49, 50]
    assert len(bot.alerts()) == 12


def test_one_unhealable_order_does_not_block_the_others(bot: Bot, database_url: str) -> None:
    with without_triggers(bot):
        good, bad = bot.create(status="failed", attempt_count=3), bot.create(status="failed", attempt_count=3)
    bot.execute(f"alter table walltrack.alerts add constraint bad check (dedupe_key <> 'order_failed_{bad}')")
    text = run(database_url, "reconcile", expect=1)
    assert "1 order could not be healed" in text.stderr
    assert bot.alert(good).is_open and bot.alerts(bad) == []
    assert [code for code, _ in bot.faults()] == ["23514"]
    bot.execute("alter table walltrack.alerts drop constraint bad")
    assert json.loads(run(database_url, "reconcile", "--json").stdout)["raised"] == 1
    assert bot.faults() == []


def test_the_command_reports_what_it_healed(bot: Bot, database_url: str) -> None:
    with without_triggers(bot):
        bot.create(status="failed", attempt_count=3)
    assert "1 alert would be raised" in run(database_url, "reconcile", "--dry-run").stdout
    assert bot.alerts() == []
    assert "1 order checked: 1 alert raised, 0 resolved" in run(database_url, "reconcile").stdout
    assert len(bot.alerts()) == 1


def test_the_reconciler_runs_beside_live_writers(bot: Bot, database_url: str) -> None:
    """Orders fail and fill during repeated runs: no alert is duplicated, and none is opened for a filled order."""
    done = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            writer = Bot(connection)
            for number in range(60):
                order = writer.create(status="submitted", attempt_count=2)
                writer.fail(order)
                if number % 2:
                    writer.fill(order)

    def heal() -> None:
        try:
            with psycopg.connect(database_url, autocommit=True) as connection:
                while not done.is_set():
                    assert reconcile(Bot(connection)) == (0, 0)
        except BaseException as error:
            failures.append(error)

    healers = [threading.Thread(target=heal) for _ in range(2)]
    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in healers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in healers:
        thread.join()
    assert failures == []
    assert len(bot.alerts()) == 240
    assert sum(alert.is_open for alert in bot.alerts()) == 120
    assert bot.faults() == []


def test_a_restored_dump_is_healed(bot: Bot, database_url: str, server_url: str) -> None:
    """Data loaded without triggers, as by pg_restore, is healed like any other."""
    order = bot.create()
    bot.exhaust(order)
    with disabled(bot):
        rows = bot.execute("select * from walltrack.orders").fetchall()
        bot.execute("delete from walltrack.alert_events; delete from walltrack.alerts")
    assert len(rows) == 1
    assert reconcile(bot) == (1, 0)
    assert bot.alert(order).data["attempts"] == 3
