"""Lists, page by page: order, filters, hostile texts, and reads that must use an index."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.bot import Bot
from walltrack_alerts import Alert, AlertFilter, AlertService, AlertSeverity
from walltrack_alerts.errors import InvalidAlertError, InvalidCursorError

PLACES = ["critical", "high", "warning", "info"]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[AlertService]:
    async with AlertService.from_url(database_url) as service:
        yield service


def fill(bot: Bot, count: int, resolved: int, **data: Any) -> None:
    """Insert this many open and resolved alerts of every severity, some with equal times."""
    bot.execute(
        """
        insert into walltrack.alerts (
          alert_type, severity, status, title, dedupe_key, created_at, resolved_at, resolved_by, resolution, snoozed_until,
          own_writes, data)
        select 'order_failed_permanently', (array['info', 'warning', 'high', 'critical'])[n %% 4 + 1],
          case when n > %(count)s then 'resolved' else 'active' end, 'EXIT Order Failed', 'order_failed_' || n,
          '2026-01-01 UTC'::timestamptz + n / 3 * interval '1 s',
          case when n > %(count)s then '2026-02-01 UTC'::timestamptz + n / 3 * interval '1 s' end,
          case when n > %(count)s then 'ada' end, case when n > %(count)s then 'sold' end,
          case when n <= %(count)s and n %% 5 = 0 then now() + interval '1 h' end, 1,
          jsonb_build_object('order_id', n::text, 'order_type', case n %% 2 when 0 then 'entry' else 'exit' end,
            'is_simulated', n %% 3 = 0, 'error', 'error ' || n) || %(data)s::jsonb
        from generate_series(1, %(count)s + %(resolved)s) as n
        """,
        {"count": count, "resolved": resolved, "data": psycopg.types.json.Jsonb(data)},
    )


def in_list_order(alerts: list[Alert]) -> list[Alert]:
    opened = [alert for alert in alerts if alert.is_open]
    closed = [alert for alert in alerts if not alert.is_open]
    return sorted(opened, key=lambda a: (PLACES.index(a.severity), a.created_at, a.id)) + sorted(
        closed, key=lambda a: (a.resolved_at, a.id), reverse=True
    )


async def everything(service: AlertService, which: AlertFilter, limit: int) -> list[Alert]:
    """All pages of a list, joined."""
    alerts: list[Alert] = []
    after = None
    for _ in range(1000):
        page = await service.get_page(which, after, limit)
        assert len(page.alerts) <= limit
        alerts += page.alerts
        after = page.next
        if after is None:
            return alerts
    raise AssertionError("the list has no end")


@pytest.mark.parametrize("limit", [1, 7, 30, 1000])
@pytest.mark.parametrize("status", ["open", "active", "acknowledged", "snoozed", "resolved", "all"])
async def test_the_pages_together_are_the_list(service: AlertService, bot: Bot, status: str, limit: int) -> None:
    fill(bot, 60, 30)
    for alert in random.Random(limit).sample([alert for alert in bot.alerts() if alert.is_open], 15):
        bot.call("acknowledge_alert", alert.id, "ada")
    matches = {
        "open": lambda a: a.is_open,
        "active": lambda a: a.is_active and not a.is_snoozed,
        "acknowledged": lambda a: a.status == "acknowledged" and not a.is_snoozed,
        "snoozed": lambda a: a.is_snoozed,
        "resolved": lambda a: not a.is_open,
        "all": lambda a: True,
    }[status]
    expected = in_list_order([alert for alert in bot.alerts() if matches(alert)])
    which = AlertFilter(status=status)  # type: ignore[arg-type]
    assert expected
    assert await everything(service, which, limit) == expected
    ids = [alert.id for alert in bot.alerts()]
    assert await service.get_changed(which, ids) == expected
    assert await service.get_changed(which, [expected[-1].id, uuid.uuid4(), expected[0].id]) == [
        alert for alert in expected if alert.id in (expected[0].id, expected[-1].id)
    ]
    assert await service.get_changed(which, []) == []


async def test_open_alerts_and_the_first_page_agree(service: AlertService, bot: Bot) -> None:
    fill(bot, 60, 5)
    page = await service.get_page()
    assert page.next is None
    assert page.alerts == await service.get_active_alerts()


@pytest.mark.parametrize("status", ["open", "resolved", "all"])
async def test_each_filter_finds_exactly_its_alerts(service: AlertService, bot: Bot, status: str) -> None:
    fill(bot, 60, 30)
    await service.create_alert("feed_silent", "critical", "Feed is silent")
    alerts = in_list_order(bot.alerts())
    in_section = {"open": lambda a: a.is_open, "resolved": lambda a: not a.is_open, "all": lambda a: True}[status]
    for restriction, matches in (
        (AlertFilter(severities=frozenset({AlertSeverity.HIGH, AlertSeverity.INFO})), lambda a: a.severity in ("high", "info")),
        (AlertFilter(order_type="entry"), lambda a: a.data.get("order_type") == "entry"),
        (AlertFilter(order_type="exit"), lambda a: a.data.get("order_type") == "exit"),
        (AlertFilter(simulated=True), lambda a: a.data.get("is_simulated") is True),
        (AlertFilter(simulated=False), lambda a: a.data.get("is_simulated") is not True),
        (AlertFilter(text=" error 7 "), lambda a: str(a.data.get("error")).startswith("error 7")),
        (AlertFilter(text="ERROR", severities=frozenset({AlertSeverity.HIGH}), order_type="exit"), lambda a: False),
        (AlertFilter(text="7", simulated=True, severities=frozenset(AlertSeverity)), None),
    ):
        which = restriction.model_copy(update={"status": status})
        found = await everything(service, which, 4)
        if matches is not None:
            assert found == [alert for alert in alerts if in_section(alert) and matches(alert)]
        assert await service.get_changed(which, [alert.id for alert in alerts]) == found


async def test_orders_of_the_second_generation_are_exits(service: AlertService, bot: Bot) -> None:
    for order_type in ("exit_stop_loss", "ENTRY", "entry", None):
        await service.create_alert("t", "info", "t", data={"order_type": order_type})
    assert len((await service.get_page(AlertFilter(order_type="entry"))).alerts) == 2
    assert len((await service.get_page(AlertFilter(order_type="exit"))).alerts) == 2


@pytest.mark.parametrize("field", ["token", "token_symbol", "order_id", "error", "title", "dedupe_key", "id"])
async def test_text_search_covers_the_visible_fields(service: AlertService, field: str) -> None:
    needle = "Slippage-ÄÖ tolerance"
    data = {field: f"some {needle} here"} if field not in ("title", "dedupe_key", "id") else {}
    alert = await service.create_alert(
        "t",
        "info",
        f"a {needle}" if field == "title" else "t",
        data=data,
        dedupe_key=f"x {needle}" if field == "dedupe_key" else None,
    )
    await service.create_alert("t", "info", "another", data={"error": "Slippage tolerance"})
    text = str(alert.id)[4:18] if field == "id" else needle
    for variant in (text, text.lower(), text.upper(), f"  {text}\n"):
        assert [found.id for found in (await service.get_page(AlertFilter(text=variant))).alerts] == [alert.id]


HOSTILE = [
    "%", "_", "\\", "'", '"', "''", "\\'", "$$", "$1", ":x", "%s", "%L", "{}", "a%b", "\\%", "E'\\x'", "(?i)", ".*", "[", "{1,2}",
    "<script>alert(1)</script>", "'; drop table walltrack.alerts; --", "\u202e", "\u200b", "\U0001f4a5", "x" * 10_000,
    "%" * 10_000, "\\" * 999, "\x01", "\x1b[31m", "a\nb", "ß",
]  # fmt: skip


async def test_hostile_texts_are_literal(service: AlertService) -> None:
    plain = await service.create_alert("t", "info", "plain", data={"error": "abcdefghijklmnop 0123456789"})
    for text in HOSTILE:
        hostile = await service.create_alert("t", "info", "hostile", data={"error": f"before {text} after"})
        found = {alert.id for alert in (await service.get_page(AlertFilter(text=text))).alerts}
        assert hostile.id in found and plain.id not in found, text[:50]
        assert await service.get_changed(AlertFilter(text=text), [hostile.id, plain.id]) == [hostile], text[:50]
        await service.resolve_alert(hostile.id, "done", "ada")


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "x\udfff"])
async def test_text_that_no_database_can_store_matches_nothing(service: AlertService, text: str) -> None:
    await service.create_alert("t", "info", "ab x")
    assert (await service.get_page(AlertFilter(text=text, status="all"))).alerts == []


async def test_blank_text_restricts_nothing(service: AlertService) -> None:
    await service.create_alert("t", "info", "t")
    for text in ("", " ", "\t\n "):
        assert len((await service.get_page(AlertFilter(text=text))).alerts) == 1


async def test_an_id_finds_an_alert_of_any_age(service: AlertService, bot: Bot) -> None:
    """The alert lies behind more resolved alerts than one page scans; the index finds it at once."""
    order = bot.create()
    bot.exhaust(order)
    bot.fill(order)
    alert = bot.alert(order)
    keyed = await service.create_alert("t", "info", "t", dedupe_key="feed_of_Raydium")
    await service.resolve_alert(keyed.id, "ok", "ada")
    bot.execute("update walltrack.alerts set resolved_at = '2020-01-01 UTC'")
    fill(bot, 10, 20_050)
    for text, expected in (
        (str(order), alert.id),
        (str(order).upper(), alert.id),
        (str(alert.id), alert.id),
        (f"order_failed_{order}", alert.id),
        ("feed_of_Raydium", keyed.id),
    ):
        for status in ("resolved", "all"):
            page = await service.get_page(AlertFilter(text=text, status=status))  # type: ignore[arg-type]
            assert ([found.id for found in page.alerts], page.next) == ([expected], None)
        assert (await service.get_page(AlertFilter(text=text))).alerts == []


async def test_a_rare_text_is_searched_in_bounded_steps(service: AlertService, bot: Bot) -> None:
    rare = await service.create_alert("t", "info", "a needle")
    await service.resolve_alert(rare.id, "ok", "ada")
    bot.execute("update walltrack.alerts set resolved_at = '2020-01-01 UTC'")
    fill(bot, 3, 40_100)
    which = AlertFilter(text="needle", status="all")
    first = await service.get_page(which)
    assert first.alerts == [] and first.next is not None
    second = await service.get_page(which, first.next)
    assert second.alerts == [] and second.next is not None
    third = await service.get_page(which, second.next)
    assert ([alert.id for alert in third.alerts], third.next) == ([rare.id], None)


async def test_a_list_may_change_between_two_pages(service: AlertService, bot: Bot) -> None:
    """No remaining alert is skipped or repeated, even if the last alert of the page is gone."""
    fill(bot, 40, 0)
    which = AlertFilter()
    first = await service.get_page(which, limit=20)
    await service.resolve_alert(first.alerts[-1].id, "done", "ada")
    await service.resolve_alert(first.alerts[3].id, "done", "ada")
    await service.create_alert("t", "critical", "new one")
    second = await service.get_page(which, first.next, limit=100)
    assert len({alert.id for alert in first.alerts + second.alerts}) == 40


@pytest.mark.parametrize(
    "after",
    ["", "x", "open/1/2026-13-01T00:00:00.000000Z/00000000-0000-0000-0000-000000000000", "open/9/2026-01-01/x", "%", "'", "\x01"],
)
async def test_an_invalid_cursor_is_refused(service: AlertService, after: str) -> None:
    with pytest.raises(InvalidCursorError, match="not a place"):
        await service.get_page(AlertFilter(), after)


async def test_a_cursor_of_another_list_is_refused(service: AlertService, bot: Bot) -> None:
    fill(bot, 5, 5)
    opened = (await service.get_page(AlertFilter(), limit=1)).next
    resolved = (await service.get_page(AlertFilter(status="resolved"), limit=1)).next
    with pytest.raises(InvalidCursorError):
        await service.get_page(AlertFilter(status="resolved"), opened)
    with pytest.raises(InvalidCursorError):
        await service.get_page(AlertFilter(), resolved)


def test_sql_errors_name_the_valid_filters(db: psycopg.Connection) -> None:
    for call in ("p_status => 'gone'", "p_status => null", "p_order_type => 'swap'"):
        with pytest.raises(psycopg.Error) as caught:
            db.execute(f"select * from walltrack.list_alerts({call})")
        assert caught.value.sqlstate == "WT003"


async def test_the_limit_is_bounded(service: AlertService, bot: Bot) -> None:
    fill(bot, 1010, 0)
    assert len((await service.get_page(limit=100_000)).alerts) == 1000
    assert len((await service.get_page(limit=0)).alerts) == 1


async def test_the_summary_counts_every_alert(service: AlertService, bot: Bot) -> None:
    empty = await service.get_summary()
    assert (empty.critical, empty.unresolved, empty.snoozed, empty.next_wake) == (0, 0, 0, None)
    assert empty.by_severity == dict.fromkeys(AlertSeverity, 0)
    fill(bot, 60, 30)
    alerts = [alert for alert in bot.alerts() if alert.is_open]
    for alert in alerts[:10]:
        await service.acknowledge_alert(alert.id, "ada")
    summary = await service.get_summary()
    awake = [alert for alert in bot.alerts() if alert.is_open and not alert.is_snoozed]
    assert summary.unresolved == len(awake) == 48
    assert summary.critical == sum(alert.severity == "critical" for alert in awake)
    assert summary.waiting == sum(alert.is_active for alert in awake)
    assert summary.acknowledged == summary.unresolved - summary.waiting > 0
    assert summary.snoozed == 12
    assert sum(summary.by_severity.values()) == 48
    assert summary.next_wake == min(alert.snoozed_until for alert in alerts if alert.snoozed_until)


async def test_the_median_covers_the_newest_acknowledgements(service: AlertService, bot: Bot) -> None:
    assert await service.get_median_seconds_to_acknowledge() is None
    for seconds in (10, 20, 90):
        alert = await service.create_alert("t", "info", "t")
        await service.acknowledge_alert(alert.id, "ada")
        bot.execute(
            "update walltrack.alerts set created_at = acknowledged_at - %s where id = %s", (timedelta(seconds=seconds), alert.id)
        )
    assert await service.get_median_seconds_to_acknowledge() == 20
    bot.execute("update walltrack.alerts set acknowledged_at = now() - interval '8 days'")
    assert await service.get_median_seconds_to_acknowledge() is None


async def test_the_timeline_lists_events_oldest_first(service: AlertService) -> None:
    alert = await service.create_alert("t", "info", "t", dedupe_key="k")
    await service.snooze_alert(alert.id, datetime.now(UTC) + timedelta(hours=1), "ada")
    await service.resolve_alert(alert.id, "done", "bob")
    timeline = await service.get_timeline(alert.id)
    assert [(entry.kind, entry.actor) for entry in timeline][1:] == [("snoozed", "ada"), ("resolved", "bob")]
    assert await service.get_timeline(alert.id, limit=1) == timeline[-1:]
    assert await service.get_timeline(uuid.uuid4()) == []


async def test_the_current_order_of_an_alert_is_read(service: AlertService, bot: Bot) -> None:
    order = bot.create(token_symbol="BONK", actual_price="0.5")
    bot.exhaust(order)
    row = await service.get_order(bot.alert(order).id)
    assert row is not None
    assert (row["id"], row["order_id"], row["status"], row["attempt_count"]) == (str(order), str(order), "failed", 3)
    assert row["locked_until"] is None
    bot.lock(order)
    assert (await service.get_order(bot.alert(order).id) or {})["locked_by"] == "worker-1"
    bot.delete(order)
    assert await service.get_order(bot.alert(order).id) is None
    assert await service.get_order(uuid.uuid4()) is None
    alert = await service.create_alert("t", "info", "t")
    assert await service.get_order(alert.id) is None
    with pytest.raises(InvalidAlertError):
        await service.get_order("no id")
