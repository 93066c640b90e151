"""Chats: one message at a time, a digest instead of hundreds, edits of what was sent; each event is accounted for."""

from __future__ import annotations

from tests.deliveries.relay import Claim, Desk, Relay, result_of
from tests.support.bot import Bot

LONG = {"min_gap": "1 min", "digest_every": "10 min"}
"""A pace at which a gap does not pass by itself, even on a machine that stands still for a while."""


def storm(bot: Bot, count: int, order_type: str = "exit", error: str = "slippage {0} %") -> None:
    bot.execute(
        "insert into walltrack.orders (order_type, side, token_address, token_symbol, amount_sol, expected_price, status, "
        "attempt_count, last_error) select %(type)s::text, case %(type)s::text when 'exit' then 'sell' else 'buy' end, "
        "'Token' || n, 'T' || n, 1, 1, 'failed', 3, replace(%(error)s::text, '{0}', n::text) "
        "from generate_series(1, %(count)s) as n",
        {"type": order_type, "error": error, "count": count},
    )


def let_gap_pass(desk: Desk) -> None:
    desk.execute(
        "update walltrack.chat_pace as c set next_message_at = c.next_message_at - t.min_gap, "
        "next_digest_at = c.next_digest_at - t.min_gap from walltrack.notification_targets as t where t.target_id = c.target_id"
    )


def next_message(desk: Desk, relay: Relay, **result: str) -> Claim:
    """Let min_gap pass, and deliver the next message."""
    let_gap_pass(desk)
    relay.fan_out_all()
    (claim,) = relay.claim()
    relay.finish(claim, **result)
    return claim


def wait_for_digest(desk: Desk) -> None:
    """Let digest_every pass, but not twice."""
    desk.execute("update walltrack.chat_pace set next_message_at = '-infinity', next_digest_at = clock_timestamp()")


def test_a_storm_is_one_message_and_then_digests(desk: Desk, relay: Relay, bot: Bot) -> None:
    chat = desk.chat(**LONG)
    storm(bot, 400, "entry")
    storm(bot, 100, "exit")
    first = next_message(desk, relay)
    assert first.item is not None and first.digest is None
    assert first.item["alert"]["severity"] == "critical"  # the most severe goes first, alone
    assert relay.claim() == []  # min_gap
    digest = next_message(desk, relay)
    assert digest.item is None and digest.digest is not None
    assert digest.digest["total"] == 499 and digest.digest["events"] == 499 and len(digest.deliveries) == 499
    groups = [(g["severity"], g["side"], g["count"], len(g["alerts"])) for g in digest.digest["groups"]]
    assert groups == [("critical", "sell", 99, 5), ("high", "buy", 400, 5)]
    assert digest.digest["groups"][0]["error"].startswith("slippage")
    assert set(digest.digest["groups"][0]["alerts"][0]) == {"id", "token"}
    assert desk.finished(chat) == ["delivered"] * 500 and desk.states(chat) == []
    ids = desk.execute("select digest_id, count(*) from walltrack.finished_deliveries group by 1 order by 2").fetchall()
    assert ids == [(None, 1), (digest.lease, 499)]


def test_the_next_digest_waits_for_its_interval(desk: Desk, relay: Relay, bot: Bot) -> None:
    desk.chat()
    storm(bot, 5)
    next_message(desk, relay)
    next_message(desk, relay)
    storm(bot, 7)
    relay.fan_out_all()
    let_gap_pass(desk)
    assert relay.claim() == []
    wait_for_digest(desk)
    (claim,) = relay.claim()
    assert claim.digest is not None and claim.digest["total"] == 7


def test_a_single_alert_between_digests_goes_alone(desk: Desk, relay: Relay, bot: Bot) -> None:
    desk.chat()
    storm(bot, 5)
    next_message(desk, relay)
    assert next_message(desk, relay).digest is not None
    storm(bot, 1)
    assert next_message(desk, relay).item is not None


def test_after_a_quiet_time_the_first_goes_alone_again(desk: Desk, relay: Relay, bot: Bot) -> None:
    desk.chat()
    storm(bot, 5)
    next_message(desk, relay)
    next_message(desk, relay)
    desk.execute("update walltrack.chat_pace set next_digest_at = now() - interval '31 seconds'")
    storm(bot, 5)
    assert next_message(desk, relay).item is not None


def test_digests_put_few_groups_first_and_count_the_rest(desk: Desk, relay: Relay, bot: Bot) -> None:
    desk.chat()
    storm(bot, 1)
    next_message(desk, relay)
    for letter in "abcdefghijklm":
        storm(bot, 2, error=f"error of kind {letter}")
    digest = next_message(desk, relay).digest
    assert digest is not None and digest["total"] == 26
    assert len(digest["groups"]) == 10 and (digest["more_groups"], digest["more_alerts"]) == (3, 6)


def test_events_of_one_alert_become_one_message(desk: Desk, relay: Relay) -> None:
    chat = desk.chat()
    alert = desk.raise_alert()
    for _ in range(3):
        desk.raise_alert()
    desk.acknowledge(alert)
    claim = next_message(desk, relay, reference="11")
    assert claim.kind == "acknowledged" and len(claim.deliveries) == 5
    assert claim.item is not None and claim.item["is_edit"] is False and claim.item["message"] is None
    assert desk.finished(chat) == ["delivered"] * 5


def test_a_later_state_edits_the_message(desk: Desk, relay: Relay) -> None:
    desk.chat()
    alert = desk.raise_alert()
    assert next_message(desk, relay, reference="11").item is not None
    desk.acknowledge(alert)
    edit = next_message(desk, relay, reference="11").item
    assert edit is not None and edit["is_edit"] and edit["message"] == {"reference": "11", "is_closed": False}
    desk.escalate(alert)
    desk.raise_alert(severity="critical")  # active again
    news = next_message(desk, relay, reference="12").item
    assert news is not None and not news["is_edit"] and news["message"]["reference"] == "11"
    desk.resolve(alert)
    last = next_message(desk, relay, reference="12", closed="true").item
    assert last is not None and last["is_edit"] and last["message"]["reference"] == "12"
    rows = desk.execute("select reference, edited_at is not null, is_closed from walltrack.sent_messages order by reference")
    assert rows.fetchall() == [("11", True, False), ("12", True, True)]


def test_edits_make_no_digest_and_wait_for_news(desk: Desk, relay: Relay, bot: Bot) -> None:
    desk.chat()
    alerts = []
    for number in range(3):
        alerts.append(desk.raise_alert(f"{number}"))
        next_message(desk, relay, reference=f"{number}")
    for alert in alerts:
        desk.resolve(alert)
    storm(bot, 1)
    news = next_message(desk, relay)
    assert news.kind == "raised"
    edits = [next_message(desk, relay) for _ in range(3)]
    assert [edit.item["message"]["reference"] for edit in edits if edit.item is not None] == ["0", "1", "2"]


def test_a_failed_digest_is_sent_again_with_what_came_since(desk: Desk, relay: Relay, bot: Bot) -> None:
    chat = desk.chat()
    storm(bot, 4)
    next_message(desk, relay)
    let_gap_pass(desk)
    (digest,) = relay.claim()
    assert len(relay.finish(digest, outcome="failed", status=500)) == 3
    assert desk.states(chat) == ["pending"] * 3
    storm(bot, 2)
    relay.fan_out()
    desk.due_now()
    wait_for_digest(desk)
    (again,) = relay.claim()
    assert again.digest is not None and again.digest["total"] == 5
    relay.finish(again)
    assert desk.finished(chat) == ["delivered"] * 6


def test_a_chat_that_asks_for_time_loses_no_attempt(desk: Desk, relay: Relay) -> None:
    desk.chat()
    desk.raise_alert("one")
    relay.fan_out()
    for _ in range(20):
        (claim,) = relay.claim()
        relay.finish(claim, outcome="failed", status=429, retry_after=1800)
        row = desk.execute(
            "select d.attempts, d.due_at - now() > '29 min', c.next_message_at - now() > '29 min' "
            "from walltrack.deliveries as d join walltrack.chat_pace as c using (target_id)"
        ).fetchone()
        assert row == (0, True, True)
        desk.raise_alert("two")
        relay.fan_out()
        assert relay.claim() == []  # the whole chat waits
        desk.execute("delete from walltrack.deliveries where alert_id <> %s", (claim.alert_id,))
        desk.due_now()


def test_a_chat_that_asks_for_time_delays_no_other_chat(desk: Desk, relay: Relay) -> None:
    pauses = {desk.chat("short"): 5, desk.chat("long"): 3000}
    desk.raise_alert()
    relay.fan_out()
    relay.report([result_of(claim, "failed", status=429, retry_after=pauses[claim.target_id]) for claim in relay.claim()])
    rows = desk.execute("select target_id, extract(epoch from next_message_at - now())::int from walltrack.chat_pace").fetchall()
    assert {target: round(wait, -1) for target, wait in rows} == {target: round(pause, -1) for target, pause in pauses.items()}


def test_a_message_has_one_lease_whatever_the_plan(desk: Desk, relay: Relay) -> None:
    """With statistics of one row, the planner may run other parts of a statement once per delivery."""
    chat = desk.chat()
    desk.raise_alert()
    relay.fan_out()
    desk.execute("vacuum analyze walltrack.deliveries")
    for _ in range(8):
        desk.raise_alert()
    relay.fan_out()
    (claim,) = relay.claim()
    assert len(claim.deliveries) == 9
    assert len(relay.finish(claim)) == 9 and desk.states(chat) == []


def test_the_queue_of_a_killed_chat_relay_keeps_its_order(desk: Desk, relay: Relay) -> None:
    desk.chat()
    desk.raise_alert()
    for _ in range(3):
        desk.raise_alert()
    relay.fan_out()
    (lost,) = relay.claim()
    assert len(lost.deliveries) == 4
    desk.expire()
    desk.execute("update walltrack.chat_pace set next_message_at = '-infinity'")
    (again,) = relay.claim()
    assert again.deliveries == lost.deliveries and again.item is not None and again.item["attempt"] == 2
    assert relay.finish(lost) == [] and len(relay.finish(again)) == 4


def test_an_answered_escalation_pings_no_chat(desk: Desk, relay: Relay) -> None:
    """Also behind an earlier event of its alert."""
    chat = desk.chat()
    alert = desk.raise_alert()
    next_message(desk, relay, reference="1")
    desk.raise_alert()
    desk.escalate(alert)
    relay.fan_out()
    desk.acknowledge(alert)
    desk.due_now()
    (claim,) = relay.claim()
    assert claim.item is not None and claim.item["is_edit"] and claim.kind == "repeated"
    assert desk.finished(chat) == ["delivered", "cancelled"]


def test_a_chat_without_digests_gets_each_alert(desk: Desk, relay: Relay, bot: Bot) -> None:
    desk.chat(digest_every=None)
    storm(bot, 3)
    assert all(next_message(desk, relay).item is not None for _ in range(3))


def test_only_one_relay_writes_to_a_chat_at_a_time(desk: Desk, relay: Relay, other_relay: Relay) -> None:
    desk.chat(**LONG)
    desk.raise_alert("one")
    desk.raise_alert("two")
    relay.fan_out()
    with relay.connection.transaction():
        assert len(relay.claim()) == 1
        assert other_relay.claim() == []
    assert other_relay.claim() == []
