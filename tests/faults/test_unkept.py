"""Faults that cannot be kept in alert_faults."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import (
    BROKEN,
    HOST_TRIGGER,
    HOSTS_TRIGGERS,
    WATCH_AGAIN,
    assert_fault_reported,
    fault_states,
    order_row,
    run_meanwhile,
)


@pytest.mark.parametrize(
    "gone",
    [
        "drop table walltrack.alert_faults",
        "alter table walltrack.alert_faults add check (false) not valid",
        "alter table walltrack.alert_faults rename column message to text",
    ],
)
def test_without_alert_faults_the_warning_is_still_sent(
    bot: Bot, admin: psycopg.Connection, warnings: list[str], gone: str
) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    admin.execute(f"{BROKEN}; {gone}")  # type: ignore[arg-type]
    bot.fail(order)
    assert order_row(bot, order)[:2] == ("failed", 3)
    assert len(warnings) == 1 and warnings[0].endswith("(23514)")


def test_a_locked_alert_faults_delays_no_order_write(
    database_url: str, bot: Bot, admin: psycopg.Connection, warnings: list[str]
) -> None:
    """Another session empties alert_faults in an open transaction: the wait is bounded like that for an alert."""
    order = bot.create("exit", status="submitted", attempt_count=2)
    admin.execute(BROKEN)
    bot.execute("set statement_timeout = 0")
    with psycopg.connect(database_url) as operator:
        operator.execute("lock table walltrack.alert_faults in access exclusive mode")
        with run_meanwhile(lambda: bot.fail(order)) as writing:
            writing.join(20)
            finished = not writing.is_alive()
            operator.rollback()
    assert finished
    assert order_row(bot, order)[:2] == ("failed", 3)
    assert len(warnings) == 1 and warnings[0].endswith("(23514)")


def test_an_order_is_written_when_its_warning_is_unencodable(bot: Bot, admin: psycopg.Connection) -> None:
    """The id is Cyrillic and the client uses LATIN1: the warning cannot be sent, but the order is written."""
    bot.execute(HOSTS_TRIGGERS)  # their log takes uuids
    bot.execute("alter table walltrack.orders alter column id drop default, alter column id type text")
    bot.execute(WATCH_AGAIN)
    bot.create("exit", id="заявка", status="submitted", attempt_count=2)
    admin.execute(BROKEN)
    bot.execute("set client_encoding = 'LATIN1'")
    bot.execute("update walltrack.orders set status = 'failed', attempt_count = 3")
    bot.execute("set client_encoding = 'UTF8'")
    assert bot.execute("select id, status, attempt_count from walltrack.orders").fetchone() == ("заявка", "failed", 3)
    assert fault_states(bot) == ["23514"]


def test_a_huge_error_is_kept_short(bot: Bot, admin: psycopg.Connection, warnings: list[str]) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    admin.execute(HOST_TRIGGER.format(body="raise exception '%', repeat('x', 1000000);"))  # type: ignore[arg-type]
    bot.fail(order, "y" * 1_000_000)
    assert order_row(bot, order) == ("failed", 3, "y" * 1_000_000)
    assert_fault_reported(bot, warnings, order, "P0001")
    assert len(warnings[0]) < 1000 and len(bot.faults()[0][1]) <= 2000
