"""Answers from messages: in the name that the allow-list gives, each button once and for an hour."""

from __future__ import annotations

import threading
import uuid

import psycopg
import pytest

from tests.deliveries.relay import Desk, Relay


def sent(desk: Desk, relay: Relay, reference: str = "7") -> tuple[int, uuid.UUID]:
    """A chat with a message about an alert: their ids."""
    chat = desk.chat(min_gap="100 ms", digest_every="100 ms")
    alert = desk.raise_alert()
    relay.fan_out()
    (claim,) = relay.claim()
    relay.finish(claim, reference=reference)
    return chat, alert


def press(relay: Relay, chat: int, action: str, user: str = "12345", detail: str | None = None, reference: str = "7") -> tuple:
    row = relay.connection.execute(
        "select outcome, reply from walltrack.press_button(%s, %s, %s, %s, %s)", (chat, reference, action, user, detail)
    ).fetchone()
    assert row is not None
    return row


def status(desk: Desk) -> tuple:
    row = desk.execute(
        "select status, acknowledged_by, resolved_by, resolution, snoozed_until - now() > '59 min' from walltrack.alerts"
    ).fetchone()
    assert row is not None
    return row


def test_buttons_answer_in_the_name_of_the_operator(desk: Desk, relay: Relay) -> None:
    chat, _ = sent(desk, relay)
    assert press(relay, chat, "acknowledge") == ("done", "acknowledged by ada")
    assert status(desk)[:2] == ("acknowledged", "ada")
    outcome, reply = press(relay, chat, "snooze")
    assert outcome == "done" and reply.startswith("snoozed until ") and reply.endswith(" UTC by ada")
    assert status(desk)[4] is True
    assert press(relay, chat, "resolve", detail="sold by hand") == ("done", "resolved by ada")
    assert status(desk)[:4] == ("resolved", "ada", "ada", "sold by hand")
    answers = desk.execute("select action, actor from walltrack.button_presses order by at").fetchall()
    assert answers == [("acknowledge", "ada"), ("snooze", "ada"), ("resolve", "ada")]


def test_the_first_answer_is_named(desk: Desk, relay: Relay) -> None:
    chat, alert = sent(desk, relay)
    desk.execute("select walltrack.acknowledge_alert(%s, 'bob')", (alert,))
    outcome, reply = press(relay, chat, "acknowledge")
    assert outcome == "unchanged" and reply.startswith("bob was first at ") and reply.endswith(" UTC")
    desk.execute("select walltrack.resolve_alert(%s, 'sold', 'eve')", (alert,))
    outcome, reply = press(relay, chat, "snooze")
    assert outcome == "unchanged" and reply.startswith("eve resolved it at ") and reply.endswith(": sold")


def test_each_button_works_once(desk: Desk, relay: Relay) -> None:
    chat, _ = sent(desk, relay)
    press(relay, chat, "snooze")
    outcome, reply = press(relay, chat, "snooze")
    assert outcome == "used" and reply.startswith("ada was first at ")


def test_buttons_end_after_an_hour(desk: Desk, relay: Relay) -> None:
    chat, _ = sent(desk, relay)
    desk.execute("update walltrack.sent_messages set sent_at = sent_at - interval '61 minutes'")
    assert press(relay, chat, "acknowledge")[0] == "expired"
    assert status(desk)[0] == "active"


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        ({"user": "999"}, "refused"),
        ({"user": ""}, "refused"),
        ({"action": "delete"}, "refused"),
        ({"action": "resolve"}, "refused"),
        ({"action": "resolve", "detail": " "}, "refused"),
        ({"reference": "8"}, "unknown"),
    ],
)
def test_other_presses_change_nothing(desk: Desk, relay: Relay, arguments: dict[str, str], outcome: str) -> None:
    chat, _ = sent(desk, relay)
    assert press(relay, chat, **{"action": "acknowledge", **arguments})[0] == outcome
    assert status(desk)[0] == "active"
    assert desk.execute("select count(*) from walltrack.button_presses").fetchone() == (0,)


def test_the_message_of_another_chat_is_unknown(desk: Desk, relay: Relay) -> None:
    sent(desk, relay)
    other = desk.chat("other")
    assert press(relay, other, "acknowledge")[0] == "unknown"


def test_of_presses_at_once_one_wins(desk: Desk, relay: Relay, database_url: str) -> None:
    chat, _ = sent(desk, relay)
    outcomes: list[str] = []

    def work() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            outcomes.append(press(Relay(connection), chat, "acknowledge")[0])

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done"] + ["used"] * 5
