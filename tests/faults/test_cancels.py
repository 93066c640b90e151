"""A cancel that arrives while alerting works: it ends the host's statement, unless it is a timeout that alerting used up."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import BROKEN, HOST_TRIGGER, order_row
from tests.support.reconciling import reconcile

CANCEL = "perform pg_cancel_backend(pg_backend_pid());"
"""PL/pgSQL of an operator's cancel, which PostgreSQL notices at the next statement."""
ON_FAULTS = HOST_TRIGGER.replace("on walltrack.alerts", "on walltrack.alert_faults")
CANCELS = {
    "the alert": HOST_TRIGGER.format(body=f"{CANCEL} return new;"),
    "the second try": "create sequence walltrack.tries;"
    + HOST_TRIGGER.format(
        body=f"if nextval('walltrack.tries') % 2 = 0 then {CANCEL} return new; end if; raise object_not_in_prerequisite_state;"
    ),
    "the record of a fault": f"{BROKEN}; {ON_FAULTS.format(body=f'{CANCEL} return new;')}",
    "both": f"{HOST_TRIGGER.format(body=f'{CANCEL} return new;')};"
    f"{ON_FAULTS.format(body=f'{CANCEL} return new;').replace('host()', 'host2()').replace('trigger host ', 'trigger host2 ')}",
}
"""Where the cancel arrives."""


def many_orders(bot: Bot, number: int = 30) -> None:
    for _ in range(number):
        bot.create("exit", status="submitted", attempt_count=2)


def fail_all(bot: Bot) -> None:
    bot.execute("update walltrack.orders set status = 'failed', attempt_count = 3")


@pytest.mark.parametrize("orders", [1, 30])
@pytest.mark.parametrize("timeout", ["0", "60s"])
@pytest.mark.parametrize("where", CANCELS.values(), ids=CANCELS)
def test_a_cancel_during_alerting_ends_the_statement(
    bot: Bot, admin: psycopg.Connection, where: str, timeout: str, orders: int
) -> None:
    many_orders(bot, orders)
    admin.execute(where)  # type: ignore[arg-type]
    bot.execute(f"set statement_timeout = '{timeout}'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        fail_all(bot)
    assert bot.execute("select distinct status from walltrack.orders").fetchall() == [("submitted",)]
    assert (bot.alerts(), bot.faults()) == ([], [])


@pytest.mark.parametrize("write", ["delete from walltrack.orders", "truncate walltrack.orders"])
def test_a_cancel_ends_deletes_and_truncates_too(bot: Bot, admin: psycopg.Connection, write: str) -> None:
    bot.create("exit", status="failed", attempt_count=3)
    admin.execute(HOST_TRIGGER.format(body=f"{CANCEL} return new;"))  # type: ignore[arg-type]
    with pytest.raises(psycopg.errors.QueryCanceled):
        bot.execute(write)
    assert bot.execute("select count(*) from walltrack.orders").fetchone() == (1,)


def test_a_cancel_ends_a_change_of_the_table(bot: Bot, admin: psycopg.Connection) -> None:
    body = f"begin {CANCEL} return new; end"
    admin.execute(
        f"create function walltrack.host() returns trigger language plpgsql as $$ {body} $$;"
        "create trigger host before update on walltrack.watched_tables for each row execute function walltrack.host()"
    )  # type: ignore[call-overload]
    with pytest.raises(psycopg.errors.QueryCanceled):
        bot.execute("alter table walltrack.orders rename column token_symbol to symbol")
    assert bot.execute("select token_symbol from walltrack.orders").fetchall() == []


# Timeouts


SLOW = HOST_TRIGGER.format(body="perform pg_sleep({}); return new;")


def test_a_timeout_that_alerting_uses_up_loses_no_order(bot: Bot, admin: psycopg.Connection) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    admin.execute(SLOW.format(30))  # type: ignore[arg-type]
    bot.execute("set statement_timeout = '300ms'")
    bot.fail(order)
    bot.execute("set statement_timeout = '60s'")
    assert order_row(bot, order)[:2] == ("failed", 3)
    admin.execute("drop function walltrack.host() cascade")
    assert [sqlstate for sqlstate, _ in bot.faults()] == ["57014"]
    assert reconcile(bot) == (1, 0)


def test_a_cancel_after_a_swallowed_timeout_ends_the_statement(bot: Bot, admin: psycopg.Connection) -> None:
    """The timeout of a statement expires once: the second cancel is an operator's."""
    many_orders(bot, 2)
    tried = f"if nextval('walltrack.tries') = 1 then perform pg_sleep(30); else {CANCEL} end if; return new;"
    admin.execute(f"create sequence walltrack.tries; {HOST_TRIGGER.format(body=tried)}")  # type: ignore[call-overload]
    bot.execute("set statement_timeout = '300ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        fail_all(bot)
    assert bot.execute("select distinct status from walltrack.orders").fetchall() == [("submitted",)]


def test_the_hosts_own_work_still_exceeds_its_timeout(bot: Bot, admin: psycopg.Connection) -> None:
    """After alerting has used up the timeout, the statement ends at the next order if its own work takes that long."""
    many_orders(bot, 20)
    slow = "if nextval('walltrack.tries') = 1 then perform pg_sleep(30); end if; return new;"
    admin.execute(f"create sequence walltrack.tries; {HOST_TRIGGER.format(body=slow)}")  # type: ignore[call-overload]
    admin.execute(
        "create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.05); return null; end $$;"
        "create trigger zz_slow after update on walltrack.orders for each row execute function public.slow()"
    )
    bot.execute("set statement_timeout = '300ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        fail_all(bot)
    assert bot.execute("select distinct status from walltrack.orders").fetchall() == [("submitted",)]
