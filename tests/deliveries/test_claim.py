"""Claims: due heads only, each to one relay, never an answered escalation."""

from __future__ import annotations

import psycopg
import pytest

from tests.deliveries.relay import Desk, Relay
from tests.support.bot import Bot


def test_a_claim_carries_the_event_and_the_alert(desk: Desk, relay: Relay, bot: Bot) -> None:
    target = desk.webhook()
    order = bot.create("exit")
    bot.exhaust(order)
    relay.fan_out()
    (claim,) = relay.claim()
    alert = bot.alert(order)
    assert claim.target_id == target and claim.digest is None and claim.item is not None
    assert claim.item["alert"] == alert.model_dump(
        mode="json",
        include={
            "id", "alert_type", "severity", "status", "title", "message", "data", "requires_action", "dedupe_key",
            "acknowledged_by", "resolved_by", "resolution", "occurrences",
        },
    ) | {
        key: claim.item["alert"][key] for key in ("created_at", "updated_at", "acknowledged_at", "resolved_at", "snoozed_until")
    }  # fmt: skip
    event = bot.execute("select event_id, at from walltrack.alert_events").fetchone()
    assert event is not None
    assert (claim.event_id, claim.kind, claim.item["event"]["actor"]) == (event[0], "raised", "system")
    micros = round(event[1].timestamp() * 1_000_000)
    assert claim.item["webhook_id"] == f"evt_{event[0]}_{micros:x}"
    assert claim.item["attempt"] == 1 and claim.item["message"] is None and claim.item["is_edit"] is False


def test_a_later_event_waits_for_the_earlier_one(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    alert = desk.raise_alert()
    desk.acknowledge(alert)
    desk.resolve(alert)
    relay.fan_out()
    kinds = []
    for _ in range(3):
        (claim,) = relay.claim()
        assert relay.claim() == []
        kinds.append(claim.kind)
        relay.finish(claim)
    assert kinds == ["raised", "acknowledged", "resolved"]
    assert desk.states(target) == []


def test_two_relays_claim_different_deliveries(desk: Desk, relay: Relay, other_relay: Relay) -> None:
    desk.webhook()
    for number in range(10):
        desk.raise_alert(f"{number}")
    relay.fan_out()
    with relay.connection.transaction():
        mine = relay.claim(slots=4)
        others = other_relay.claim()
    assert (len(mine), len(others)) == (4, 6)
    assert not {c.event_id for c in mine} & {c.event_id for c in others}
    assert len({c.lease for c in mine + others}) == 10


def test_a_claim_takes_no_more_than_the_free_slots(desk: Desk, relay: Relay) -> None:
    one, two = desk.webhook("one"), desk.webhook("two")
    for number in range(10):
        desk.raise_alert(f"{number}")
    relay.fan_out()
    query = "select target_id from walltrack.claim_deliveries('r', %s, p_limit => 5)"
    slots = f'{{"{one}": 3, "{two}": 0, "99": 5}}'
    assert relay.connection.execute(query, (slots,)).fetchall() == [(one,)] * 3
    assert relay.connection.execute(query, (f'{{"{two}": 99}}',)).fetchall() == [(two,)] * 5


def test_a_delivery_is_not_claimed_before_it_is_due(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    desk.raise_alert()
    relay.fan_out()
    desk.execute("update walltrack.deliveries set due_at = now() + interval '1 hour'")
    assert relay.claim() == []
    desk.due_now()
    assert len(relay.claim()) == 1


def test_the_lease_of_a_killed_relay_expires(desk: Desk, relay: Relay, other_relay: Relay) -> None:
    desk.webhook()
    alert = desk.raise_alert()
    desk.acknowledge(alert)
    relay.fan_out()
    (lost,) = relay.claim()
    assert other_relay.claim() == []
    desk.expire()
    (again,) = other_relay.claim()
    assert again.event_id == lost.event_id and again.lease != lost.lease
    assert again.item is not None and again.item["attempt"] == 2
    assert lost.item is not None and again.item["webhook_id"] == lost.item["webhook_id"]


def test_a_message_that_kills_every_relay_becomes_a_dead_letter(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    alert = desk.raise_alert()
    desk.acknowledge(alert)
    relay.fan_out()
    for _ in range(9):
        (claim,) = relay.claim()
        assert claim.kind == "raised"
        desk.expire()
    (claim,) = relay.claim()
    assert claim.kind == "acknowledged"
    assert desk.states(target) == ["dead", "sending"]
    (answer,) = desk.execute("select last_response from walltrack.deliveries where state = 'dead'").fetchone() or ("",)
    assert answer == "relay relay-1 did not report the outcome"


@pytest.mark.parametrize("answer", ["acknowledge", "snooze", "resolve"])
def test_an_answer_before_the_claim_cancels_the_escalation(desk: Desk, relay: Relay, answer: str) -> None:
    target = desk.webhook("pager", step=1)
    alert = desk.raise_alert()
    desk.escalate(alert)
    relay.fan_out()
    getattr(desk, answer)(alert)
    assert relay.claim() == []
    assert desk.states(target) == [] and desk.finished(target) == ["cancelled"]
    (reason,) = desk.execute("select reason from walltrack.finished_deliveries").fetchone() or ("",)
    said = {"acknowledge": "acknowledged", "snooze": "snoozed", "resolve": "resolved"}[answer]
    assert reason == f"the alert was {said} before the escalation was sent"


def test_an_unanswered_escalation_is_sent(desk: Desk, relay: Relay) -> None:
    desk.webhook("pager", step=1)
    alert = desk.raise_alert()
    desk.escalate(alert)
    (claim,) = relay.deliver()
    assert claim.kind == "escalated"


def test_a_disabled_target_is_not_sent_to(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    desk.raise_alert()
    relay.fan_out()
    desk.execute("select walltrack.disable_target('hook', 'holidays', 'ada')")
    assert relay.claim() == []
    desk.execute("select walltrack.enable_target('hook')")
    assert len(relay.claim()) == 1


def test_claims_wait_for_no_writer_of_alerts(desk: Desk, relay: Relay, database_url: str) -> None:
    """And no writer waits for them: a claim reads alerts without a lock."""
    desk.webhook()
    alert = desk.raise_alert()
    relay.fan_out()
    relay.connection.execute("set lock_timeout = '1ms'")
    with psycopg.connect(database_url) as operator:
        Desk(operator).acknowledge(alert)
        (claim,) = relay.claim()
        assert claim.item is not None and claim.item["alert"]["status"] == "active"
        relay.finish(claim)
    with relay.connection.transaction(), psycopg.connect(database_url, autocommit=True) as operator:
        relay.fan_out()
        assert len(relay.claim()) == 1
        operator.execute("set lock_timeout = '1ms'")
        Desk(operator).resolve(alert)
