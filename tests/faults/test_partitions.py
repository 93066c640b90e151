"""A partitioned table of orders."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import BROKEN, MENDED, fault_states
from tests.support.reconciling import reconcile
from walltrack_alerts import AlertStatus

PARTITIONED = """
create table walltrack.parts (like walltrack.orders including defaults) partition by list (status);
create table walltrack.parts_waiting partition of walltrack.parts for values in ('pending', 'submitted', 'confirming');
create table walltrack.parts_failed partition of walltrack.parts for values in ('failed');
create table walltrack.parts_ended partition of walltrack.parts for values in ('filled', 'cancelled');
select walltrack.watch_orders('walltrack.parts');
"""
INSERT_PART = (
    "insert into walltrack.parts (id, order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
    "values (%s, 'exit', 'sell', 'x', 1, 1, 'submitted', 2)"
)


@pytest.fixture
def part(bot: Bot, admin: psycopg.Connection) -> uuid.UUID:
    """An order in a table that is partitioned by status: each change of status moves its row."""
    admin.execute(PARTITIONED)
    order = uuid.uuid4()
    bot.execute(INSERT_PART, (order,))
    return order


def test_a_row_that_moves_to_another_partition_raises(bot: Bot, part: uuid.UUID) -> None:
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 3")
    assert (bot.alert(part).status, bot.alert(part).occurrences) == (AlertStatus.ACTIVE, 1)
    bot.execute("update walltrack.parts set last_error = 'now known'")
    assert bot.alert(part).data["error"] == "now known"
    assert bot.faults() == []


@pytest.mark.parametrize("status", ["filled", "cancelled"])
def test_a_row_that_moves_to_another_partition_resolves(bot: Bot, part: uuid.UUID, status: str) -> None:
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 3")
    bot.execute("update walltrack.parts set status = %s", (status,))
    assert bot.alert(part).resolution == f"Order {status}"


def test_a_row_that_moves_along_keeps_its_alert(bot: Bot, part: uuid.UUID) -> None:
    """After a manual retry and another failure there is one alert, acknowledged once, as without partitions."""
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 3")
    bot.call("acknowledge_alert", bot.alert(part).id, "ada")
    bot.execute("update walltrack.parts set status = 'pending'")
    assert (bot.alert(part).status, bot.alert(part).occurrences) == (AlertStatus.ACKNOWLEDGED, 1)
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 4")
    assert (bot.alert(part).status, bot.alert(part).occurrences) == (AlertStatus.ACKNOWLEDGED, 2)


def test_a_row_that_moves_along_does_not_reopen(bot: Bot, part: uuid.UUID) -> None:
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 3")
    bot.call("resolve_alert", bot.alert(part).id, "by hand", "ada")
    bot.execute("update walltrack.parts set status = 'pending'")
    assert bot.alert(part).resolution == "by hand"


def test_a_deleted_row_of_a_partition_resolves(bot: Bot, part: uuid.UUID) -> None:
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 3")
    bot.execute("delete from walltrack.parts")
    assert bot.alert(part).resolution == "Order deleted"


def test_a_move_succeeds_while_alerting_is_broken(bot: Bot, admin: psycopg.Connection, part: uuid.UUID) -> None:
    admin.execute(BROKEN)
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 3")
    assert bot.execute("select status from walltrack.parts").fetchone() == ("failed",)
    assert set(fault_states(bot)) == {"23514"}
    admin.execute(MENDED)
    assert reconcile(bot) == (1, 0)
    assert bot.alert(part).is_open


def test_a_single_partition_can_be_watched_or_is_refused(bot: Bot) -> None:
    """Watching the partition works or is refused; it never turns every alert into a fault."""
    bot.execute(PARTITIONED.replace("select walltrack.watch_orders('walltrack.parts');", ""))
    try:
        bot.execute("select walltrack.watch_orders('walltrack.parts_failed')")
    except psycopg.Error as error:
        assert error.sqlstate == "WT004"
        return
    order = uuid.uuid4()
    bot.execute(INSERT_PART.replace("'submitted', 2", "'failed', 3"), (order,))
    assert bot.faults() == []
    assert bot.alert(order).is_open


def test_a_middle_level_can_be_watched(bot: Bot) -> None:
    bot.execute(
        """
        create table public.trades (id int, order_type text, status text, attempt_count int, max_attempts int, last_error text)
        partition by list (order_type);
        create table public.exits partition of public.trades for values in ('exit') partition by range (id);
        create table public.few_exits partition of public.exits for values from (0) to (10);
        create table public.many_exits partition of public.exits for values from (10) to (100);
        select walltrack.watch_orders('public.exits');
        insert into public.trades values (7, 'exit', 'failed', 3, 3, 'boom');
        """
    )
    assert [alert.is_open for alert in bot.alerts()] == [True]
    bot.execute("update public.trades set id = 17")
    assert [(a.dedupe_key, a.is_open) for a in bot.alerts()] == [("order_failed_7", False), ("order_failed_17", True)]
    assert bot.faults() == []
    bot.execute("alter table walltrack.alerts add constraint broken check (updated_at is null) not valid")
    bot.execute("update public.trades set status = 'filled'")
    bot.execute("alter table walltrack.alerts drop constraint broken")
    assert fault_states(bot) == ["23514"]
    assert reconcile(bot) == (0, 1)
    assert bot.faults() == []


def test_a_move_does_not_count_as_a_failure(bot: Bot, part: uuid.UUID) -> None:
    """A move counts neither for an open alert nor for one that an operator has resolved."""
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 3")
    (alert,) = bot.alerts()
    assert (alert.is_open, alert.occurrences) == (True, 1)
    bot.execute("update walltrack.parts set status = 'pending'")
    (alert,) = bot.alerts()
    assert (alert.is_open, alert.occurrences) == (True, 1)
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 4")
    (alert,) = bot.alerts()
    assert (alert.is_open, alert.occurrences) == (True, 2)
    bot.call("resolve_alert", alert.id, "sold by hand", "ada")
    bot.execute("update walltrack.parts set status = 'pending'")
    assert [alert.is_open for alert in bot.alerts()] == [False]
    bot.execute("update walltrack.parts set status = 'failed', attempt_count = 5")
    assert sorted(alert.is_open for alert in bot.alerts()) == [False, True]
    assert bot.faults() == []
