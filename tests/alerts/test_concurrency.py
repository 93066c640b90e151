"""Many connections at once: one open alert, the right count, nothing lost or resurrected."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import let_writes_wait
from walltrack_alerts import AlertStatus

WRITERS = 16


def together(url: str, work: Callable[[Bot, int], None], count: int = WRITERS) -> list[BaseException | None]:
    """Run `work(bot, number)` on separate connections, started at the same moment; return what each raised."""
    barrier = threading.Barrier(count)

    def run(number: int) -> BaseException | None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("select 1")
            barrier.wait()
            try:
                work(Bot(connection), number)
            except psycopg.Error as error:
                return error
            return None

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_sixteen_failures_of_one_order_share_one_alert(database_url: str, bot: Bot) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    assert together(database_url, lambda b, n: b.fail(order, f"error {n}")) == [None] * WRITERS
    alert = bot.alert(order)
    assert alert.status is AlertStatus.ACTIVE
    assert alert.occurrences == WRITERS
    assert alert.data["attempts"] == 2 + WRITERS
    assert bot.events(order) == ["raised"] + ["repeated"] * (WRITERS - 1)
    assert bot.faults() == []


@pytest.mark.parametrize("round_", range(5))
def test_sixteen_raises_of_one_key_share_one_alert(database_url: str, bot: Bot, round_: int) -> None:
    raised = together(database_url, lambda b, n: b.call("raise_alert", "test", "high", "t", "", "{}", False, "key"))
    assert raised == [None] * WRITERS
    (alert,) = bot.alerts()
    assert alert.occurrences == WRITERS


def test_exactly_one_operator_acknowledges_first(database_url: str, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    alert = bot.alert(order)
    assert together(database_url, lambda b, n: b.call("acknowledge_alert", alert.id, f"operator {n}")) == [None] * WRITERS
    assert bot.events(order) == ["raised", "acknowledged"]
    (actor,) = bot.execute("select actor from walltrack.alert_events where kind = 'acknowledged'").fetchone() or ()
    assert bot.alert(order).acknowledged_by == actor


def test_operators_racing_with_failures_leave_consistent_alerts(database_url: str, bot: Bot) -> None:
    """In the end the alerts agree with their events, whatever the order of arrival."""
    let_writes_wait(bot.connection)
    orders = [bot.create("exit", status="failed", attempt_count=3) for _ in range(4)]

    def work(b: Bot, number: int) -> None:
        order = orders[number % 4]
        for turn in range(10):
            if number < 8:
                b.fail(order, f"{number}/{turn}")
                continue
            row = b.execute(
                "select id from walltrack.alerts where dedupe_key = %s and status <> 'resolved'", (f"order_failed_{order}",)
            ).fetchone()
            if row is None:
                continue
            try:
                if number < 12:
                    b.call("acknowledge_alert", row[0], "ada")
                else:
                    b.call("resolve_alert", row[0], "by hand", "bob")
            except psycopg.Error as error:
                assert error.sqlstate == "WT002"

    assert together(database_url, work) == [None] * WRITERS
    assert bot.faults() == []
    for order in orders:
        alerts = bot.alerts(order)
        # 1 by the insert, 2 failing connections of 10 turns each: every failure is counted in exactly one alert.
        assert sum(alert.occurrences for alert in alerts) == 21
        assert all(alert.status is AlertStatus.RESOLVED for alert in alerts[:-1])
    mismatch = bot.execute(
        """
        select a.id from walltrack.alerts as a
        join lateral (
          select count(*) filter (where e.kind = 'raised') as raised,
            count(*) filter (where e.kind = 'repeated') as repeated,
            count(*) filter (where e.kind = 'resolved') as resolved,
            (array_agg(e.kind order by e.event_id))[1] as first_kind,
            (array_agg(e.detail ->> 'status' order by e.event_id desc))[1] as last_status
          from walltrack.alert_events as e where e.alert_id = a.id
        ) as e on true
        where e.raised <> 1 or e.repeated <> a.occurrences - 1 or e.first_kind <> 'raised'
          or e.resolved <> (a.status = 'resolved')::int or e.last_status <> a.status
        """
    ).fetchall()
    assert mismatch == []


def test_the_last_commit_decides_between_fill_and_failure(database_url: str, bot: Bot) -> None:
    """An alert is open exactly when the order ended as failed."""
    orders = [bot.create("exit", status="submitted", attempt_count=2) for _ in range(40)]

    def work(b: Bot, number: int) -> None:
        for order in orders:
            (b.fail if number % 2 else b.fill)(order)

    assert together(database_url, work, 4) == [None] * 4
    wrong = bot.execute(
        """
        select o.id, o.status from walltrack.orders as o
        where (o.status = 'failed') <> exists (
          select from walltrack.alerts as a where a.dedupe_key = 'order_failed_' || o.id and a.status <> 'resolved')
        """
    ).fetchall()
    assert wrong == [] and bot.faults() == []


def test_a_held_alert_never_holds_up_an_order_for_long(database_url: str, bot: Bot) -> None:
    """An operator holds the alert in an open transaction: the order write commits, and the fault is kept."""
    order = bot.create()
    bot.exhaust(order)
    with psycopg.connect(database_url) as operator:
        Bot(operator).call("acknowledge_alert", bot.alert(order).id, "ada")
        heard: list[str] = []
        bot.connection.add_notice_handler(lambda d: heard.append(f"{d.severity} {d.message_primary}"))
        bot.retry(order)
        bot.fail(order, "while it was held")
        operator.commit()
    (status,) = bot.execute("select status from walltrack.orders where id = %s", (order,)).fetchone() or ()
    assert status == "failed"
    assert {fault[0] for fault in bot.faults()} == {"55P03"}
    assert heard and all(line.startswith("WARNING walltrack_alerts: order") for line in heard)
