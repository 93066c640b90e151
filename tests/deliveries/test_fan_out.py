"""From the event stream to deliveries: each event once for each target that wants it, whatever happens in between."""

from __future__ import annotations

import psycopg

from tests.deliveries.relay import Desk, Relay
from tests.support.bot import Bot
from tests.support.databases import new_database
from walltrack_alerts import migrations


def test_each_event_becomes_one_delivery_per_target(desk: Desk, relay: Relay, bot: Bot) -> None:
    targets = [desk.webhook(f"hook-{number}") for number in range(3)]
    order = bot.create()
    bot.exhaust(order)
    bot.fill(order)
    rows = relay.fan_out()
    assert [(row["target_id"], row["target"], row["read"], row["created"], row["has_more"]) for row in rows] == [
        (target, f"hook-{number}", 2, 2, False) for number, target in enumerate(targets)
    ]
    assert desk.states() == ["pending", "waiting"] * 3
    assert relay.fan_out() == []


def test_a_new_target_starts_now(desk: Desk, relay: Relay) -> None:
    desk.raise_alert("before")
    target = desk.webhook()
    relay.fan_out()
    assert desk.states(target) == []
    desk.raise_alert("after")
    relay.fan_out()
    assert desk.states(target) == ["pending"]


def test_a_new_target_starts_at_a_given_time(desk: Desk, relay: Relay) -> None:
    desk.raise_alert("long before")
    (since,) = desk.execute("select clock_timestamp()::text").fetchone() or ("",)
    desk.raise_alert("before")
    target = desk.webhook(since=since)
    desk.raise_alert("after")
    relay.fan_out_all(limit=1)
    assert desk.states(target) == ["pending", "pending"]


def test_a_rolled_back_fan_out_loses_nothing(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    desk.raise_alert()
    with relay.connection.transaction(force_rollback=True):
        assert relay.fan_out()[0]["created"] == 1
    assert desk.states(target) == []
    assert relay.fan_out()[0]["created"] == 1


def test_two_relays_make_no_delivery_twice(desk: Desk, relay: Relay, other_relay: Relay) -> None:
    target = desk.webhook()
    desk.raise_alert()
    with relay.connection.transaction():
        assert relay.fan_out()[0]["created"] == 1
        assert other_relay.fan_out() == []  # it does not wait
    assert other_relay.fan_out() == []
    assert desk.states(target) == ["pending"]


def test_an_event_that_commits_late_is_delivered(desk: Desk, relay: Relay, database_url: str) -> None:
    target = desk.webhook()
    with psycopg.connect(database_url) as slow:
        Desk(slow).raise_alert("slow")
        desk.raise_alert("quick")
        relay.fan_out_all()
        assert desk.states(target) == ["pending"]
    relay.fan_out_all()
    assert desk.states(target) == ["pending", "pending"]


def test_a_disabled_target_gets_no_deliveries(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    desk.raise_alert("one")
    relay.fan_out()
    desk.execute("select walltrack.disable_target('hook', 'holidays', 'ada')")
    desk.raise_alert("two")
    assert relay.fan_out() == [] and relay.claim() == []
    desk.execute("select walltrack.enable_target('hook')")
    desk.raise_alert("three")
    relay.fan_out()
    assert desk.states(target) == ["pending", "pending"]


def test_enabling_from_a_time_delivers_nothing_twice(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    (since,) = desk.execute("select clock_timestamp()").fetchone() or (None,)
    desk.raise_alert("one")
    desk.raise_alert("two")
    relay.fan_out()
    relay.finish(*relay.claim(slots=1))
    desk.execute("select walltrack.disable_target('hook', 'holidays', 'ada')")
    desk.raise_alert("three")
    desk.execute("select walltrack.enable_target('hook', %s)", (since,))
    relay.fan_out_all()
    assert desk.states(target) == ["pending", "pending"] and desk.finished(target) == ["delivered"]


def test_an_alert_queue_keeps_one_head(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    desk.raise_alert("one")
    relay.fan_out()
    for _ in range(3):
        desk.raise_alert("one")
        desk.raise_alert("two")
    relay.fan_out()
    assert sorted(desk.states(target)) == ["pending"] * 2 + ["waiting"] * 5


def test_a_restored_dump_continues_where_it_was(desk: Desk, relay: Relay) -> None:
    """Its cursor belongs to another cluster. What was not read yet is delivered, and nothing twice."""
    target = desk.webhook()
    for number in range(3):
        desk.raise_alert(f"delivered {number}")
    relay.deliver()
    desk.raise_alert("on its way")
    relay.fan_out()
    desk.raise_alert("unread")
    desk.execute(
        "update walltrack.notification_targets set cursor = regexp_replace(cursor, '^c1/[^/]*/[^/]*', 'c1/1/1'), "
        "read_at = now() - interval '1 hour'"
    )
    desk.execute("alter table walltrack.alert_events disable trigger alert_events_append_only")
    desk.execute("update walltrack.alert_events set cluster_id = 1")
    (row,) = relay.fan_out()
    assert "another database" in row["problem"] and (row["created"], row["has_more"]) == (1, True)
    assert relay.fan_out() == []
    assert desk.states(target) == ["pending", "pending"] and len(desk.finished(target)) == 3
    desk.raise_alert("later")
    assert relay.fan_out()[0]["problem"] is None


def test_a_late_commit_survives_a_restore(desk: Desk, relay: Relay, database_url: str) -> None:
    """A transaction was running when the stream was last read; its event has a lower id than the cursor."""
    target = desk.webhook()
    with psycopg.connect(database_url) as slow:
        Desk(slow).raise_alert("slow")
        desk.raise_alert("quick")
        relay.deliver()
    desk.execute(
        "update walltrack.notification_targets set cursor = regexp_replace(cursor, '^c1/[^/]*/[^/]*', 'c1/1/1'), read_at = now()"
    )
    desk.execute("alter table walltrack.alert_events disable trigger alert_events_append_only")
    desk.execute("update walltrack.alert_events set cluster_id = 1, at = at - interval '1 hour'")
    desk.execute("update walltrack.notification_targets set starts_at = '-infinity'")
    assert relay.fan_out()[0]["created"] == 1
    assert desk.states(target) == ["pending"] and desk.finished(target) == ["delivered"]


def test_lost_events_are_reported_and_the_rest_is_delivered(desk: Desk, relay: Relay) -> None:
    """A cursor ahead of the database, as after a copy without its last transactions."""
    target = desk.webhook()
    desk.raise_alert("one")
    relay.deliver()
    desk.execute("update walltrack.notification_targets set cursor = regexp_replace(cursor, '[0-9]+$', '999999')")
    desk.raise_alert("two")
    (row,) = relay.fan_out()
    assert "lost its latest transactions" in row["problem"] and row["created"] == 1
    assert desk.states(target) == ["pending"]


def test_deliveries_of_a_deleted_alert_end(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    alert = desk.raise_alert()
    relay.fan_out()
    desk.execute("delete from walltrack.alerts where id = %s", (alert,))
    assert relay.claim() == []
    assert desk.states(target) == [] and desk.finished(target) == ["cancelled"]


def test_an_upgrade_of_an_existing_installation_adds_the_tables(server_url: str) -> None:
    """An installation of before: without the tables of deliveries, and with alerts."""
    with new_database(server_url) as url:
        migrations.upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            for table in migrations._DELIVERY_TABLES:
                connection.execute(f"drop table walltrack.{table} cascade")  # type: ignore[arg-type]
        migrations.upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            target = Desk(connection).webhook()
            Desk(connection).raise_alert()
            assert [claim.kind for claim in Relay(connection).deliver()] == ["raised"]
            assert Desk(connection).finished(target) == ["delivered"]
