"""Retries and cancels that are refused: a code for programs, a reason for a trader, and nothing changed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.bot import Bot
from tests.support.order_actions import LATER, actions, cancel, failed, refusal, refused, retry

FINAL = {"filled", "cancelled", "cancelled_by_operator", "retries_exhausted"}


@pytest.fixture(autouse=True)
def no_faults(bot: Bot) -> Iterator[None]:
    """Check that a refusal leaves no fault in alerting."""
    yield
    assert bot.faults() == []


@pytest.mark.parametrize(
    ("what", "columns", "code", "match"),
    [
        (
            "retry",
            {"status": "pending", "next_retry_at": LATER},
            "waiting",
            f"pending already, and it is due at {LATER} and not before",
        ),
        (
            "retry",
            {"status": "pending", "next_retry_at": "2026-01-02 03:04:05+01"},
            "waiting",
            "pending already, and it is due since 2026-01-02 02:04:05 UTC, but no worker has taken it yet",
        ),
        (
            "retry",
            {"status": "pending", "next_retry_at": None, "locked_until": LATER, "locked_by": "worker-7"},
            "locked",
            f"worker-7 is working on the order and holds it until {LATER}",
        ),
        ("retry", {"status": "submitted"}, "in_progress", "an attempt is under way, the order is submitted"),
        ("cancel", {"status": "submitted"}, "in_progress", "an attempt is under way"),
        ("cancel", {"status": "CONFIRMING"}, "in_progress", "an attempt is under way"),
        ("retry", {"status": "filled"}, "filled", "the order was filled"),
        (
            "cancel",
            {"status": "Filled", "filled_at": "2026-01-02 03:04:05+01"},
            "filled",
            "filled at 2026-01-02 02:04:05 UTC",
        ),
        ("retry", {"status": "cancelled", "last_error": "sold"}, "cancelled", "the order is cancelled, which is final: sold"),
        ("cancel", {"status": "cancelled", "last_error": None}, "cancelled", "which is final: no reason given"),
        (
            "retry",
            {"status": "cancelled", "last_error": "Max retries reached (3 attempts)"},
            "retries_exhausted",
            "the retry worker gave up",
        ),
        (
            "retry",
            {"locked_until": LATER, "locked_by": "worker-7"},
            "locked",
            f"worker-7 is working on the order and holds it until {LATER}",
        ),
        ("cancel", {"locked_until": LATER}, "locked", "a worker is working on the order"),
        ("cancel", {"locked_until": "infinity", "status": "pending"}, "locked", "holds it until it lets go"),
    ],
)
def test_a_refusal_has_a_code_and_a_readable_reason(bot: Bot, what: str, columns: dict[str, Any], code: str, match: str) -> None:
    order = failed(bot)
    alert = bot.alert(order)
    bot.update(order, **columns)
    refused(bot, alert, what, code, match)
    found = refusal(bot, alert, what)
    assert found is not None and found["is_final"] == (code in FINAL)


def test_an_order_that_can_be_acted_on_has_no_refusals(bot: Bot) -> None:
    order = failed(bot)
    assert (refusal(bot, bot.alert(order), "retry"), refusal(bot, bot.alert(order), "cancel")) == (None, None)
    bot.update(order, status="pending", next_retry_at=LATER)
    assert refusal(bot, bot.alert(order), "cancel") is None
    assert (refusal(bot, bot.alert(order), "retry") or {})["code"] == "waiting"


@pytest.mark.parametrize(
    ("columns", "is_locked", "is_due"),
    [
        ({"locked_until": None, "next_retry_at": None}, False, False),
        ({"locked_until": LATER, "next_retry_at": LATER}, True, False),
        ({"locked_until": "infinity", "next_retry_at": "1970-01-01"}, True, True),
        ({"locked_until": "1970-01-01", "next_retry_at": "1970-01-01"}, False, True),
    ],
)
def test_the_database_says_whether_an_order_is_locked_and_due(
    bot: Bot, columns: dict[str, Any], is_locked: bool, is_due: bool
) -> None:
    order = failed(bot, **columns)
    found = bot.execute(
        "select (o ->> 'is_locked')::boolean, (o ->> 'is_due')::boolean from walltrack.order_of_alert(%s) as o",
        (bot.alert(order).id,),
    ).fetchone()
    assert found == (is_locked, is_due)


def test_a_refusal_names_the_operator_who_was_first(bot: Bot) -> None:
    order = failed(bot)
    alert = bot.alert(order)
    retry(bot, alert, "ada")
    refused(bot, alert, "retry", "waiting", r"ada put the order back at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, and it is due since")
    cancel(bot, alert, "enough", "bob")
    refused(bot, alert, "cancel", "cancelled_by_operator", r"bob cancelled the order at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
    refused(bot, alert, "retry", "cancelled_by_operator", "bob cancelled the order at")


def test_a_missing_order_is_refused(bot: Bot) -> None:
    order = failed(bot)
    alert = bot.alert(order)
    bot.delete(order)
    refused(bot, alert, "retry", "not_found", "the order no longer exists")


@pytest.mark.parametrize("what", ["retry", "cancel"])
def test_order_actions_can_be_switched_off(bot: Bot, what: str) -> None:
    order = failed(bot)
    bot.execute("select walltrack.watch_orders('walltrack.orders', p_order_actions => false)")
    refused(bot, bot.alert(order), what, "switched_off", "order actions are disabled for walltrack.orders")
    assert (refusal(bot, bot.alert(order), what) or {})["is_final"] is False
    bot.execute("select walltrack.watch_orders('walltrack.orders', p_order_actions => true)")
    assert cancel(bot, bot.alert(order)).status == "resolved"


def test_an_unwatched_table_is_refused(bot: Bot) -> None:
    order = failed(bot)
    alert = bot.alert(order)
    bot.execute("select walltrack.unwatch_orders('walltrack.orders')")
    refused(bot, alert, "retry", "not_found", "no longer watched")


def test_a_reason_that_resembles_the_workers_is_refused(bot: Bot) -> None:
    order = failed(bot)
    with pytest.raises(psycopg.Error, match="what the retry worker writes") as caught:
        cancel(bot, bot.alert(order), " Max retries reached, says ada")
    assert (caught.value.sqlstate, caught.value.diag.constraint_name) == ("WT011", "reserved_reason")
    assert bot.alert(order).is_open and actions(bot) == []


def test_alerts_without_an_order_are_refused(bot: Bot) -> None:
    order = failed(bot)
    other = failed(bot)
    for arguments in (
        ("feed_silent", "high", "t", "", "{}"),
        ("feed_silent", "high", "t", "", f'{{"order_id": "{order}"}}', False, "feed"),
    ):
        alert = bot.call("raise_alert", *arguments)
        assert alert is not None
        refused(bot, alert, "retry", "no_order", "the alert does not belong to an order")
    # The alert shows one order and names another.
    bot.execute(
        "update walltrack.alerts set data = data || %s, own_writes = own_writes + 1 where id = %s",
        (Jsonb({"order_id": str(other)}), bot.alert(order).id),
    )
    refused(bot, bot.alert(order), "retry", "no_order", "the alert does not belong to an order")
    with pytest.raises(psycopg.Error) as caught:
        bot.call("cancel_order", uuid.uuid4(), None, "ada")
    assert caught.value.sqlstate == "WT001"


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        ("rename column last_error to error_text", "no longer has column last_error"),
        ("rename column locked_until to held_until", "no longer has column locked_until"),
        ("rename column next_retry_at to again_at", "no longer has column next_retry_at"),
        ("drop column status cascade", "no longer has column status"),
        ("rename column id to order_id", "no longer has column id"),
    ],
)
def test_an_action_reports_a_missing_column(bot: Bot, harm: str, match: str) -> None:
    order = failed(bot)
    alert = bot.alert(order)
    bot.execute("alter table walltrack.orders disable trigger user")
    bot.execute("drop event trigger walltrack_alerts_follow_ddl")  # as without a superuser: the guard does not follow
    bot.execute(f"alter table walltrack.orders {harm}")
    for what in ("retry", "cancel"):
        refused(bot, alert, what, "column_missing", match)


@pytest.mark.parametrize(
    ("harm", "what", "match"),
    [
        ("add constraint no_cancel check (status <> 'cancelled')", "cancel", 'refused the change: .*"no_cancel"'),
        (
            "add constraint no_retry check (next_retry_at > now() + interval '1 day') not valid",
            "retry",
            'refused the change: .*"no_retry"',
        ),
        ("alter column last_error type varchar(5) using 'x'", "cancel", "refused the change: value too long"),
    ],
)
def test_the_reason_of_a_constraint_reaches_the_operator(bot: Bot, harm: str, what: str, match: str) -> None:
    order = failed(bot)
    bot.execute(f"alter table walltrack.orders {harm}")
    refused(bot, bot.alert(order), what, "table_refused", match)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("raise exception 'trading is halted until %', 9", "refused the change: trading is halted until 9"),
        ("return null", "a trigger of table walltrack.orders kept the order from becoming"),
        ("new.status := old.status; return new", "a trigger of table walltrack.orders kept the order from"),
        ("perform pg_sleep(0); raise sqlstate 'WT001' using message = 'no'", "refused the change: no"),
        ("raise unique_violation", "refused the change: unique_violation"),
    ],
)
@pytest.mark.parametrize("what", ["retry", "cancel"])
def test_the_reason_of_a_hosts_trigger_reaches_the_operator(bot: Bot, what: str, body: str, match: str) -> None:
    order = failed(bot)
    bot.execute(
        f"create function walltrack.host() returns trigger language plpgsql as $$ begin {body}; end $$;"
        "create trigger host before update on walltrack.orders for each row execute function walltrack.host()"
    )
    refused(bot, bot.alert(order), what, "table_refused", match)
