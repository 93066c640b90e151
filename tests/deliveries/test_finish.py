"""Results: delivered, tried again later, or dead; a relay that was taken for dead changes nothing."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.deliveries.relay import Claim, Desk, Relay, result_of

DELAYS = (5, 30, 120, 600, 1800, 3600, 7200, 14400)


def delivery(desk: Desk) -> tuple[Any, ...]:
    """State, attempts, seconds until due, last status, last answer of the only unfinished delivery."""
    (row,) = desk.execute(
        "select state, attempts, extract(epoch from due_at - now())::float8, last_status, last_response from walltrack.deliveries"
    ).fetchall()
    return row


def one_claim(desk: Desk, relay: Relay) -> Claim:
    desk.raise_alert()
    relay.fan_out()
    (claim,) = relay.claim()
    return claim


def test_a_delivered_one_moves_out_of_the_hot_table(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    claim = one_claim(desk, relay)
    assert relay.finish(claim, status=204, response="thanks") == [(claim.deliveries[0], "delivered")]
    assert desk.states() == []
    row = desk.execute(
        "select delivery_id, target_id, event_id, alert_id::text, state, attempts, last_status, last_response, digest_id, "
        "reason, finished_at >= created_at from walltrack.finished_deliveries"
    ).fetchone()
    assert row == (
        claim.deliveries[0], target, claim.event_id, claim.alert_id, "delivered", 1, 204, "thanks", None, None, True,
    )  # fmt: skip


def test_a_failed_one_is_tried_again_with_growing_delays(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    for attempt, seconds in enumerate(DELAYS, 1):
        assert relay.finish(claim, outcome="failed", status=503, response="busy") == [(claim.deliveries[0], "pending")]
        state, attempts, due, status, answer = delivery(desk)
        assert (state, attempts, status, answer) == ("pending", attempt, 503, "busy")
        assert seconds * 0.79 < due < seconds * 1.21
        assert relay.claim() == []
        desk.due_now()
        (claim,) = relay.claim()
        assert claim.item is not None and claim.item["attempt"] == attempt + 1
    assert relay.finish(claim, outcome="failed") == [(claim.deliveries[0], "dead")]
    assert delivery(desk)[:2] == ("dead", 9)
    assert relay.claim() == []


def test_a_target_may_ask_for_an_hour_at_the_most(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    relay.finish(claim, outcome="failed", status=429, retry_after=120)
    assert 118 < delivery(desk)[2] <= 120 and delivery(desk)[1] == 1
    desk.due_now()
    relay.finish(*relay.claim(), outcome="failed", status=503, retry_after=100_000)
    assert 3598 < delivery(desk)[2] <= 3600


def test_a_late_result_is_ignored(desk: Desk, relay: Relay, other_relay: Relay) -> None:
    desk.webhook()
    lost = one_claim(desk, relay)
    desk.expire()
    (again,) = other_relay.claim()
    assert relay.finish(lost) == [] and relay.finish(lost, outcome="failed") == []
    assert desk.states() == ["sending"]
    assert other_relay.finish(again) == [(again.deliveries[0], "delivered")]
    assert relay.finish(lost) == [] and other_relay.finish(again) == []
    assert desk.finished() == ["delivered"]


def test_a_relay_cannot_finish_the_claim_of_another(desk: Desk, relay: Relay, other_relay: Relay) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    assert other_relay.finish(claim) == []
    assert relay.finish(claim) != []


def test_a_dead_letter_frees_its_queue(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    desk.raise_alert()
    relay.fan_out()
    desk.execute("update walltrack.deliveries set attempts = 9 where state = 'sending'")
    relay.finish(claim, outcome="failed")
    assert desk.states() == ["dead", "pending"]
    (later,) = relay.claim()
    assert later.kind == "repeated"


def test_a_failure_holds_back_its_alert_and_no_other(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    relay.finish(claim, outcome="failed")
    desk.raise_alert()
    desk.raise_alert("other")
    relay.fan_out()
    (only,) = relay.claim()
    assert only.kind == "raised" and only.alert_id != claim.alert_id


def test_replayed_dead_letters_precede_waiting_deliveries(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    desk.raise_alert()
    relay.fan_out()
    desk.execute("update walltrack.deliveries set attempts = 9 where state = 'sending'")
    relay.finish(claim, outcome="failed", response="no route")
    assert desk.states() == ["dead", "pending"]
    assert desk.execute("select walltrack.replay_deliveries(%s, 'ada')", (claim.deliveries,)).fetchone() == (1,)
    assert desk.states() == ["pending", "waiting"]
    (answer,) = desk.execute("select last_response from walltrack.deliveries where state = 'pending'").fetchone() or ("",)
    assert answer == "replayed by ada after: no route"
    kinds = []
    while claims := relay.deliver():
        kinds += [each.kind for each in claims]
    assert kinds == ["raised", "repeated"]


def test_a_replay_waits_for_a_delivery_being_sent(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    desk.raise_alert()
    relay.fan_out()
    desk.execute("update walltrack.deliveries set attempts = 9 where state = 'sending'")
    relay.finish(claim, outcome="failed")
    (later,) = relay.claim()
    desk.execute("select walltrack.replay_deliveries(%s, 'ada')", (claim.deliveries,))
    assert desk.states() == ["waiting", "sending"]
    relay.finish(later)
    assert desk.states() == ["pending"]


def test_dropped_dead_letters_are_recorded(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    desk.execute("update walltrack.deliveries set attempts = 9")
    relay.finish(claim, outcome="failed", status=500)
    assert desk.execute("select walltrack.drop_deliveries(%s, 'ada')", (claim.deliveries,)).fetchone() == (1,)
    row = desk.execute("select state, finished_by, attempts, last_status from walltrack.finished_deliveries").fetchone()
    assert row == ("dropped", "ada", 9, 500) and desk.states() == []


def test_a_replayed_delivery_waits_for_a_head_that_came_meanwhile(desk: Desk, relay: Relay) -> None:
    target = desk.webhook()
    alert = desk.raise_alert()
    desk.raise_alert()
    relay.fan_out()
    desk.execute("update walltrack.deliveries set attempts = 8")
    relay.finish(*relay.claim(), outcome="failed")
    assert desk.states(target) == ["dead", "pending"]
    # As replay_deliveries() finds it when a relay finishes the queue between its statements.
    desk.execute("update walltrack.deliveries set state = 'waiting', failed_at = null, due_at = now() where state = 'dead'")
    desk.execute("select walltrack.settle_queues(array[%s::bigint], array[%s])", (target, alert))
    assert desk.states(target) == ["waiting", "pending"]
    relay.deliver()
    relay.deliver()
    assert desk.finished(target) == ["delivered", "delivered"]


@pytest.mark.parametrize("function", ["replay_deliveries", "drop_deliveries"])
def test_only_dead_letters_are_replayed_or_dropped(desk: Desk, relay: Relay, function: str) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    for ids in (claim.deliveries, [*claim.deliveries, 10**9]):
        with pytest.raises(psycopg.Error) as caught:
            desk.execute(f"select walltrack.{function}(%s, 'ada')", (ids,))
        assert caught.value.sqlstate == "WT014"
    assert desk.states() == ["sending"]


def test_a_gone_target_is_disabled_and_raises_an_alert(desk: Desk, relay: Relay) -> None:
    gone, other = desk.webhook("gone"), desk.webhook("other")
    desk.raise_alert()
    relay.fan_out()
    claims = {claim.target_id: claim for claim in relay.claim()}
    relay.finish(claims[gone], outcome="gone", status=410, response="gone")
    relay.finish(claims[other])
    row = desk.execute("select disabled_reason from walltrack.notification_targets where disabled_at is not null").fetchall()
    assert row == [("the target returned 410 Gone",)]
    (claim,) = relay.deliver()
    assert claim.target_id == other and claim.item is not None
    assert claim.item["alert"]["alert_type"] == "notification_target_gone"
    assert claim.item["alert"]["data"]["target"] == "gone"
    # Its delivery has lost no attempt and goes on when the operator has corrected the target.
    desk.execute("select walltrack.enable_target('gone')")
    (again,) = relay.claim()
    assert again.target_id == gone and again.item is not None and again.item["attempt"] == 1


def test_each_gone_target_keeps_its_own_response(desk: Desk, relay: Relay) -> None:
    answers = {desk.webhook(name): f"{name} is closed" for name in ("second", "first")}
    desk.raise_alert()
    relay.fan_out()
    relay.report([result_of(claim, "gone", status=410, response=answers[claim.target_id]) for claim in relay.claim()])
    rows = desk.execute(
        "select data ->> 'target', data ->> 'response' from walltrack.alerts where alert_type = 'notification_target_gone'"
    )
    assert dict(rows.fetchall()) == {name: f"{name} is closed" for name in ("second", "first")}


def test_answers_are_cut(desk: Desk, relay: Relay) -> None:
    desk.webhook()
    claim = one_claim(desk, relay)
    relay.finish(claim, outcome="failed", response="x" * 10_000)
    assert len(delivery(desk)[4]) == 500


def test_an_empty_report_is_nothing(relay: Relay) -> None:
    assert relay.finish() == []
