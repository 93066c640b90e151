"""Retention never deletes what a target has not received, and takes the history of deliveries with the alerts."""

from __future__ import annotations

import psycopg
import pytest

from tests.deliveries.rows import add_delivery, add_finished, add_target, ago, newest_event, read_all
from tests.support.bot import Bot
from walltrack_alerts import Alert, retention


@pytest.fixture
def resolved(bot: Bot) -> Alert:
    """An alert that was resolved 100 days ago."""
    return resolved_alert(bot)


def resolved_alert(bot: Bot) -> Alert:
    order = bot.create("exit", status="failed", attempt_count=3)
    bot.fill(order)
    bot.execute("update walltrack.alerts set resolved_at = now() - interval '100 days' where status = 'resolved'")
    return bot.alert(order)


def purge(bot: Bot, older_than: str = "90 days") -> int:
    (purged,) = bot.execute("select walltrack.purge_alerts(%s)", (older_than,)).fetchone() or (-1,)
    return purged


def rows(bot: Bot, table: str) -> int:
    (count,) = bot.execute(f"select count(*) from walltrack.{table}").fetchone() or (-1,)
    return count


def test_alerts_that_every_target_has_read_are_deleted(bot: Bot, resolved: Alert) -> None:
    add_target(bot.connection, "hook")
    add_target(bot.connection, "chat")
    assert purge(bot) == 1


def test_alerts_that_a_target_has_not_read_stay(bot: Bot) -> None:
    add_target(bot.connection, "reads")
    add_target(bot.connection, "waits")
    resolved_alert(bot)
    read_all(bot.connection, "reads")
    assert purge(bot) == 0
    read_all(bot.connection, "waits")
    assert purge(bot) == 1


def test_alerts_of_a_target_that_begins_at_the_start_stay(bot: Bot, resolved: Alert) -> None:
    add_target(bot.connection, "hook", cursor=None, read_at=None)
    assert purge(bot) == 0


def test_a_target_that_starts_later_holds_no_older_alerts(bot: Bot, resolved: Alert) -> None:
    add_target(bot.connection, "hook", cursor=None, read_at=None, starts_at=ago(bot.connection))
    assert purge(bot) == 1


def test_events_that_were_committed_late_count_as_unread(database_url: str, bot: Bot) -> None:
    """The cursor has passed the id of the event while its transaction was still running."""
    with psycopg.connect(database_url) as slow:
        alert = resolved_alert(Bot(slow))
        bot.create("exit", status="failed", attempt_count=3)
        add_target(bot.connection, "hook")
        slow.commit()
    assert purge(bot) == 0
    read_all(bot.connection, "hook")
    assert purge(bot) == 1
    assert alert.id not in [each.id for each in bot.alerts()]


def test_disabled_targets_hold_nothing(bot: Bot) -> None:
    add_target(bot.connection, "hook", disabled_at=ago(bot.connection), disabled_reason="moved")
    resolved_alert(bot)
    assert purge(bot) == 1


def test_events_read_again_after_a_restore_are_not_purged(bot: Bot, resolved: Alert) -> None:
    (cursor,) = bot.execute("select regexp_replace(walltrack.event_cursor(), '^c1/[^/]*/', 'c1/1/')").fetchone() or ("",)
    target = add_target(bot.connection, "hook", cursor=cursor)
    assert purge(bot) == 0  # the relay reads the last ten minutes before the restore again
    bot.execute("update walltrack.notification_targets set read_at = now() + interval '1 hour' where target_id = %s", (target,))
    assert purge(bot) == 1


@pytest.mark.parametrize("columns", [{}, {"state": "waiting"}, {"state": "dead", "failed_at": "2026-01-01"}])
def test_alerts_with_unfinished_deliveries_stay(bot: Bot, resolved: Alert, columns: dict[str, str]) -> None:
    target = add_target(bot.connection, "hook", disabled_at=ago(bot.connection), disabled_reason="moved")
    add_delivery(bot.connection, target, resolved, **columns)
    assert purge(bot) == 0
    bot.execute("delete from walltrack.deliveries")
    assert purge(bot) == 1


def test_deliveries_go_with_their_alerts_after_thirty_days(bot: Bot) -> None:
    db = bot.connection
    target = add_target(db, "hook")
    gone, still_there = resolved_alert(bot), bot.create("exit", status="failed", attempt_count=3)
    there = bot.alert(still_there)
    read_all(db, "hook")
    event = newest_event(db, there)
    add_finished(db, target, gone.id, 1, finished_at=ago(db, days=31))
    add_finished(db, target, gone.id, 2, finished_at=ago(db, days=29))
    add_finished(db, target, there.id, event, finished_at=ago(db, days=31))
    assert purge(bot, "1 day") == 1
    assert bot.execute("select event_id from walltrack.finished_deliveries order by event_id").fetchall() == [(2,), (event,)]


def test_old_messages_and_silences_are_deleted(bot: Bot, resolved: Alert) -> None:
    db = bot.connection
    target = add_target(db, "chat")
    for days in (40, 20):
        db.execute(
            "insert into walltrack.silences (token, reason, created_by, created_at, ends_at) values ('x', 'x', 'ada', %s, %s)",
            (ago(db, days=days + 1), ago(db, days=days)),
        )
        db.execute(
            "insert into walltrack.sent_messages (target_id, reference, alert_id, sent_at) values (%s, %s, %s, %s)",
            (target, str(days), resolved.id, ago(db, days=days)),
        )
    assert purge(bot, "1 day") == 1
    assert [rows(bot, table) for table in ("silences", "sent_messages")] == [1, 1]


def test_the_command_purges_deliveries_in_batches(database_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    db = bot.connection
    target = add_target(db, "hook")
    alert = resolved_alert(bot)
    read_all(db, "hook")
    for event in range(5):
        add_finished(db, target, alert.id, event, finished_at=ago(db, days=100))
    assert retention.purge(database_url, "90 days", dry_run=True, progress=lambda *_: None).purged == 1
    assert rows(bot, "finished_deliveries") == 5
    retention.purge(database_url, "90 days", dry_run=False, progress=lambda *_: None)
    assert rows(bot, "finished_deliveries") == 0
