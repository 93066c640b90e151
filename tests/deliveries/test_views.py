"""What has not arrived and why, the states of targets, and deliveries in the timeline of an alert."""

from __future__ import annotations

from typing import Any

from tests.deliveries.relay import Desk, Relay


def reasons(desk: Desk) -> list[str]:
    return [reason for (reason,) in desk.execute("select reason from walltrack.undelivered order by delivery_id")]


def state(desk: Desk, *columns: str) -> tuple[Any, ...]:
    row = desk.execute(f"select {', '.join(columns)} from walltrack.target_states").fetchone()
    assert row is not None
    return row


def test_undelivered_has_a_reason(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    desk.raise_alert()
    desk.raise_alert()
    relay.fan_out()
    waits = "an earlier event of the same alert is not delivered yet"
    assert reasons(desk) == ["no relay is running", waits]
    relay.connection.execute("select walltrack.relay_seen('relay-1', 'host', 1, '1.0')")
    assert reasons(desk) == ["it is due", waits]
    (claim,) = relay.claim()
    assert reasons(desk) == ["relay-1 is sending it", waits]
    relay.finish(claim, outcome="failed", status=503, response="busy")
    assert reasons(desk)[0].startswith("the last attempt failed; the next one is at 2")
    desk.execute("select walltrack.disable_target('hook', 'holidays', 'ada')")
    assert reasons(desk) == ["the target is disabled: holidays (by ada)"] * 2
    desk.execute("select walltrack.enable_target('hook')")
    desk.execute("update walltrack.deliveries set attempts = 8 where state = 'pending'")
    desk.due_now()
    relay.finish(*relay.claim(), outcome="failed", status=500)
    assert reasons(desk) == ["it failed 9 times", "it is due"]
    row = desk.execute("select target, kind, title, last_status from walltrack.undelivered order by delivery_id").fetchone()
    assert row == ("hook", "raised", "Feed is silent", 500)


def test_undelivered_names_quiet_hours_and_the_pace_of_chats(desk: Desk, relay: Relay) -> None:
    relay.connection.execute("select walltrack.relay_seen('relay-1', 'host', 1, '1.0')")
    desk.chat()
    for number in range(3):
        desk.raise_alert(f"{number}")
    relay.fan_out()
    relay.finish(*relay.claim())
    assert all(reason.startswith("the chat gets its next message at ") for reason in reasons(desk))
    desk.execute("update walltrack.chat_pace set next_message_at = now()")
    assert all(reason.startswith("the next digest is at ") for reason in reasons(desk))
    desk.execute("update walltrack.deliveries set due_at = now() + interval '1 hour'")
    assert all(reason.startswith("quiet hours until ") for reason in reasons(desk))


def test_target_states_count_what_waits_and_what_failed(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    columns = (
        "pending",
        "dead",
        "last_success_at is not null",
        "last_failure_at is not null",
        "last_response",
        "unread",
        "is_enabled",
    )
    assert state(desk, *columns) == (0, 0, False, False, None, 0, True)
    desk.raise_alert("one")
    desk.raise_alert("two")
    assert state(desk, *columns) == (0, 0, False, False, None, 2, True)
    relay.fan_out()
    assert state(desk, *columns) == (2, 0, False, False, None, 0, True)
    one, two = relay.claim()
    relay.finish(one, response="fine")
    relay.finish(two, outcome="failed", status=500, response="broken")
    assert state(desk, *columns) == (1, 0, True, True, "broken", 0, True)
    desk.execute("update walltrack.deliveries set attempts = 8")
    desk.due_now()
    relay.finish(*relay.claim(), outcome="failed", status=502, response="still broken")
    assert state(desk, *columns) == (0, 1, True, True, "still broken", 0, True)
    assert state(desk, "target", "kind", "address", "last_status") == ("hook", "webhook", "https://hooks.example/…", 502)


def test_a_target_from_the_beginning_counts_all_events(desk: Desk) -> None:
    desk.raise_alert()
    desk.webhook(since="2020-01-01Z")
    desk.raise_alert("two")
    assert state(desk, "unread") == (2,)


def test_the_timeline_shows_deliveries(desk: Desk, relay: Relay) -> None:
    desk.webhook("hook")
    desk.chat("chat", min_gap="100 ms", digest_every="100 ms")
    alert = desk.raise_alert()
    desk.raise_alert()
    relay.fan_out()
    desk.execute("update walltrack.deliveries set attempts = 8 where state = 'pending'")
    claims = {len(claim.deliveries): claim for claim in relay.claim()}
    relay.finish(claims[2])
    relay.finish(claims[1], outcome="failed", status=500, response="broken")
    rows = desk.execute(
        "select kind, actor, detail from walltrack.alert_timeline where alert_id = %s and actor in ('hook', 'chat') order by at",
        (alert,),
    ).fetchall()
    assert rows == [
        ("delivered", "chat", {"attempts": 9, "digest": True}),
        ("delivery_failed", "hook", {"attempts": 9, "status": 500, "response": "broken"}),
    ]
    desk.execute(
        "select walltrack.drop_deliveries(array(select delivery_id from walltrack.deliveries where state = 'dead'), 'bob')"
    )
    (kind, detail) = desk.execute(
        "select kind, detail from walltrack.alert_timeline where alert_id = %s and kind = 'delivery_dropped'", (alert,)
    ).fetchone()  # type: ignore[misc]
    assert (kind, detail) == ("delivery_dropped", {"attempts": 9, "dropped_by": "bob"})
