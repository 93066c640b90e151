"""Order actions as an operator calls them, and what a refusal has to be."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.bot import Bot
from walltrack_alerts import Alert

LATER = "2100-01-01 12:00:00 UTC"


def failed(bot: Bot, order_type: str = "exit", **columns: Any) -> uuid.UUID:
    """An order that has used up its attempts."""
    order = bot.create(order_type)
    bot.exhaust(order)
    if columns:
        bot.update(order, **columns)
    return order


def row(bot: Bot, order: object, table: str = "walltrack.orders") -> dict[str, Any]:
    with bot.connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(f"select * from {table} where id::text = %s", (str(order),)).fetchone()
    assert found is not None
    return found


def retry(bot: Bot, alert: Alert, by: str = "ada") -> Alert:
    done = bot.call("retry_order", alert.id, by)
    assert done is not None
    return done


def cancel(bot: Bot, alert: Alert, reason: str | None = None, by: str = "ada") -> Alert:
    done = bot.call("cancel_order", alert.id, reason, by)
    assert done is not None
    return done


def actions(bot: Bot) -> list[tuple[Any, ...]]:
    return bot.execute("select action, order_id, actor, reason from walltrack.order_actions order by action_id").fetchall()


def refused(bot: Bot, alert: Alert, what: str, code: str, match: str) -> None:
    """Check that the action is refused with a reason and its code, and changes nothing."""

    def everything() -> list[Any]:
        return [
            bot.execute(f"select t from {table} as t order by 1").fetchall()
            for table in ("walltrack.orders", "walltrack.alerts", "walltrack.alert_events", "walltrack.order_actions")
        ]

    before = everything()
    with pytest.raises(psycopg.Error, match=match) as caught:
        retry(bot, alert) if what == "retry" else cancel(bot, alert)
    assert (caught.value.sqlstate, caught.value.diag.constraint_name) == ("WT011", code)
    assert everything() == before
    found = refusal(bot, alert, what)
    assert found is None or (found["code"], found["reason"]) == (code, caught.value.diag.message_primary)


def refusal(bot: Bot, alert: Alert, what: str) -> dict[str, Any] | None:
    """What order_of_alert() says about an action before anyone tries it."""
    (order,) = bot.execute("select walltrack.order_of_alert(%s)", (alert.id,)).fetchone() or (None,)
    return None if order is None else order["refusals"][what]
