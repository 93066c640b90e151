"""Answers from Telegram: what a press does, who may press, and that no answer is lost or stored twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.relay.bot_server import BOT_ID, CHAT, TOKEN, Refused
from tests.relay.calls import calls_of
from tests.relay.desk import ADA, BOB, STRANGER, Desk, until
from walltrack_alerts.relay import button_polling


async def test_acknowledging_uses_the_name_of_the_operator(desk: Desk) -> None:
    message = await desk.raise_alert()
    async with desk.polling():
        text = await desk.answer(desk.server.press(message, "Acknowledge"))
    assert desk.alert.acknowledged_by == "ada"
    assert "cknowledged" in text
    assert desk.server.buttons(message) == []
    await desk.deliver()
    assert "ACKNOWLEDGED by</b> <code>ada</code>" in desk.server.message(message)["text"]
    assert len(desk.server.messages) == 1


async def test_a_second_press_says_who_was_first(desk: Desk) -> None:
    message = await desk.raise_alert()
    async with desk.polling():
        data = f"{desk.query('select target_id from walltrack.notification_targets')}:acknowledge"
        await desk.answer(desk.server.press(message, "Acknowledge", user=ADA))
        text = await desk.answer(desk.server.press(message, "", user=BOB, data=data))
    assert f"ada was first at {desk.alert.acknowledged_at:%H:%M}" in text
    assert desk.alert.acknowledged_by == "ada"
    assert desk.bot.events(desk.order).count("acknowledged") == 1


@pytest.mark.parametrize(
    ("named", "chat", "counts"),
    [
        (CHAT, {"id": int(CHAT)}, True),
        (CHAT, {"id": -1002}, False),
        (CHAT, {}, False),
        (CHAT, {"id": -1001234567890}, True),  # the group became a supergroup
        ("-1001234567890", {"id": -1001234567891}, False),
        ("7", {"id": -1001234567890}, False),
        ("@Desk", {"id": -1001234567890, "username": "desk"}, True),
        ("@Desk", {"id": -1001234567890}, False),
    ],
)
async def test_only_presses_in_the_chat_of_the_target_count(desk: Desk, named: str, chat: dict[str, Any], counts: bool) -> None:
    message = await desk.raise_alert()
    desk.bot.execute(
        "update walltrack.notification_targets set config = config || jsonb_build_object('chat', %s::text)", (named,)
    )
    pressed = desk.server.message(message)
    desk.server.messages[CHAT, message] = pressed | {"chat": chat}
    async with desk.polling():
        text = await desk.answer(desk.server.press(message, "Acknowledge"))
    assert desk.alert.acknowledged_by == ("ada" if counts else None)
    assert ("does not belong to this chat" in text) is not counts


async def test_snoozing_lasts_an_hour(desk: Desk) -> None:
    message = await desk.raise_alert()
    async with desk.polling():
        await desk.answer(desk.server.press(message, "Snooze"))
    snoozed_until = desk.alert.snoozed_until
    assert snoozed_until is not None
    assert abs(snoozed_until - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    assert len(desk.server.buttons(message)) == 3


async def test_resolving_asks_for_a_reason(desk: Desk) -> None:
    message = await desk.raise_alert()
    async with desk.polling():
        await desk.answer(desk.server.press(message, "Resolve"))
        assert desk.server.buttons(message) == ["Sold by hand", "Not needed", "Another reason …", "Back"]
        assert desk.alert.is_active
        await desk.answer(desk.server.press(message, "Back"))
        await desk.answer(desk.server.press(message, "Resolve"))
        await desk.answer(desk.server.press(message, "Sold by hand"))
    assert (desk.alert.resolved_by, desk.alert.resolution) == ("ada", "sold by hand")
    await desk.deliver()
    assert "RESOLVED by</b> <code>ada</code>" in desk.server.message(message)["text"]
    assert desk.server.buttons(message) == []


async def test_another_reason_is_written_as_a_reply(desk: Desk) -> None:
    message = await desk.raise_alert()
    async with desk.polling():
        await desk.answer(desk.server.press(message, "Resolve"))
        await desk.answer(desk.server.press(message, "Another"))
        question = desk.server.message(max(number for _, number in desk.server.messages))
        assert question["reply_markup"]["force_reply"] is True
        desk.server.write("I take it over", user=STRANGER, reply_to=question)
        desk.server.write("not by this bot", reply_to=question | {"from": {"id": BOT_ID + 1, "is_bot": True}})
        desk.server.write("no reply")
        desk.server.write("  moved the\nposition  ", user=BOB, reply_to=question)
        await until(lambda: not desk.alert.is_open and not desk.server.buttons(message))
        await until(lambda: len(desk.server.messages) == 3)  # the alert, the question, what came of it; nothing for the stranger
    assert (desk.alert.resolved_by, desk.alert.resolution) == ("bob", "moved the position")


async def test_a_press_may_come_before_its_message_is_recorded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = calls_of(monkeypatch, "press_button")
    message = await desk.raise_alert()
    desk.bot.execute("update walltrack.sent_messages set reference = 'x' || reference")
    async with desk.polling():
        press = desk.server.press(message, "Acknowledge")
        await until(lambda: len(tries) > 1)
        desk.bot.execute("update walltrack.sent_messages set reference = substr(reference, 2)")
        await desk.answer(press)
    assert desk.alert.acknowledged_by == "ada"


async def test_a_press_on_an_unknown_message_is_answered(desk: Desk) -> None:
    message = await desk.raise_alert()
    desk.bot.execute("delete from walltrack.sent_messages")
    async with desk.polling():
        assert await desk.answer(desk.server.press(message, "Acknowledge"))
    assert desk.alert.is_active


async def test_an_unknown_user_learns_and_changes_nothing(desk: Desk) -> None:
    message = await desk.raise_alert()
    async with desk.polling():
        for button in ("Acknowledge", "Snooze", "Resolve"):
            text = await desk.answer(desk.server.press(message, button, user=STRANGER))
            assert text == f"The target does not allow you. Your user id is {STRANGER}."
    assert desk.alert.is_active and desk.alert.snoozed_until is None
    assert len(desk.server.buttons(message)) == 3


async def test_a_press_after_an_hour_is_refused(desk: Desk) -> None:
    message = await desk.raise_alert()
    desk.bot.execute("update walltrack.sent_messages set sent_at = sent_at - interval '61 min'")
    async with desk.polling():
        press = desk.server.press(message, "Acknowledge")
        assert await desk.answer(press)
    assert desk.alert.is_active
    assert desk.server.buttons(message) == []


async def test_a_press_that_comes_twice_counts_once(desk: Desk) -> None:
    message = await desk.raise_alert()
    async with desk.polling():
        press = desk.server.press(message, "Acknowledge")
        await desk.answer(press)
        data = f"{desk.query('select target_id from walltrack.notification_targets')}:acknowledge"
        desk.server.press(message, "", data=data, repeat_id=press)
        await until(lambda: len(desk.server.called("answerCallbackQuery")) == 2)
    assert desk.bot.events(desk.order) == ["raised", "acknowledged"]


async def test_presses_wait_for_a_relay_and_are_confirmed(desk: Desk) -> None:
    message = await desk.raise_alert()
    press = desk.server.press(message, "Acknowledge")
    async with desk.polling():
        await desk.answer(press)
    assert desk.server.unconfirmed == 0
    before = len(desk.server.called("getUpdates"))
    async with desk.polling():
        await until(lambda: len(desk.server.called("getUpdates")) > before + 1)
    assert len(desk.server.called("answerCallbackQuery")) == 1


async def test_a_relay_that_stops_finishes_the_presses_it_has_received(desk: Desk) -> None:
    message = await desk.raise_alert()
    desk.server.faults["editMessageReplyMarkup"] += [0.5]
    async with desk.polling():
        desk.server.press(message, "Acknowledge")
        await until(lambda: not desk.server.faults["editMessageReplyMarkup"])  # Telegram has the call and is slow to respond
    assert len(desk.server.called("answerCallbackQuery")) == 1
    assert desk.server.unconfirmed == 0


async def test_a_relay_that_stops_confirms_what_it_has_handled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(button_polling, "_BACKOFF", (60,))
    message = await desk.raise_alert()
    async with desk.polling():
        await until(lambda: desk.server.called("getUpdates"))
        desk.server.faults["getUpdates"] += [Refused(500, "Internal Server Error")]
        await desk.answer(desk.server.press(message, "Acknowledge"))
        await until(lambda: desk.lines)
        assert desk.server.unconfirmed == 1
    assert desk.server.unconfirmed == 0


async def test_one_relay_polls_and_another_takes_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = calls_of(monkeypatch, "take_duty")
    message = await desk.raise_alert()
    async with desk.polling("second"):
        await until(lambda: desk.query("select count(*) from walltrack.relay_duties") == 1)
        async with desk.polling("first"):
            await until(lambda: sum("first" in look for look in looks) > 2)
            assert desk.query("select relay from walltrack.relay_duties") == "second"
            assert len(desk.server.called("getUpdates")) == 1
    desk.bot.execute("update walltrack.relay_duties set until = now()")
    async with desk.polling("first"):
        await desk.answer(desk.server.press(message, "Acknowledge"))
    assert desk.query("select relay from walltrack.relay_duties") == "first"
    assert not [line for line in desk.lines if "Conflict" in line]


async def test_another_program_that_polls_is_reported(desk: Desk) -> None:
    message = await desk.raise_alert()
    desk.server.faults["getUpdates"] += [Refused(409, "Conflict: terminated by other getUpdates request")] * 3
    async with desk.polling():
        await desk.answer(desk.server.press(message, "Acknowledge"))
    assert sum("another program receives the updates of this bot" in line for line in desk.lines) == 3
    assert not desk.alert.is_active


async def test_broken_answers_of_telegram_only_delay(desk: Desk) -> None:
    message = await desk.raise_alert()
    desk.server.faults["getUpdates"] += [
        b"nonsense\r\n\r\n",
        Refused(502, f"Bad Gateway of {desk.server.url}/bot{TOKEN}"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
    ]
    async with desk.polling():
        await desk.answer(desk.server.press(message, "Acknowledge"))
    assert len(desk.lines) == 3
    assert not [line for line in desk.lines if TOKEN[7:] in line]


async def test_updates_that_mean_nothing_are_passed_over(desk: Desk) -> None:
    message = await desk.raise_alert()
    updates: list[dict[str, Any]] = [
        {},
        {"callback_query": {}},
        {"callback_query": {"id": "a", "from": {"id": ADA}, "data": "1:acknowledge"}},
        {"callback_query": {"id": "b", "from": {"id": ADA}, "message": {"message_id": "x"}, "data": "999:acknowledge"}},
        {"callback_query": {"id": "c", "from": {"id": ADA}, "message": {"message_id": 1, "chat": {"id": 1}}, "data": "²:why"}},
        {"message": {"text": "hello"}},
        {"message": {"text": "x", "reply_to_message": {"text": "[1:1]"}}},
    ]
    async with desk.polling():
        for update in updates:
            desk.server.push(update)
        await desk.answer(desk.server.press(message, "Acknowledge"))
        await until(lambda: desk.server.unconfirmed == 0)
    assert desk.alert.acknowledged_by == "ada"


async def test_an_unknown_action_changes_nothing(desk: Desk) -> None:
    message = await desk.raise_alert()
    target = desk.query("select target_id from walltrack.notification_targets")
    async with desk.polling():
        for action in ("", "delete", "resolve", "resolve: "):
            assert await desk.answer(desk.server.press(message, "", data=f"{target}:{action}"))
    assert desk.alert.is_active


async def test_a_bot_without_an_allow_list_is_left_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = calls_of(monkeypatch, "enabled_targets")
    desk.bot.execute("select walltrack.remove_target('desk')")
    desk.add_target("other", allow={})
    async with desk.polling():
        await until(lambda: len(looks) > 2)
    assert desk.server.called("getUpdates") == []


@asynccontextmanager
async def away(desk: Desk) -> AsyncIterator[None]:
    """The database takes no connections, and ends those it has; the test's own connection stays."""
    name = conninfo_to_dict(desk.database_url)["dbname"]
    allow = sql.SQL("alter database {} allow_connections {}")
    with psycopg.connect(desk.database_url, dbname="postgres", autocommit=True) as admin:
        admin.execute(allow.format(sql.Identifier(str(name)), sql.Literal(False)))
        own = desk.bot.connection.info.backend_pid
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> %s", (name, own))
        try:
            yield
        finally:
            admin.execute(allow.format(sql.Identifier(str(name)), sql.Literal(True)))


async def test_a_press_waits_while_the_database_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = calls_of(monkeypatch, "press_button")
    message = await desk.raise_alert()
    async with desk.polling():
        await until(lambda: desk.server.called("getUpdates"))
        async with away(desk):
            press = desk.server.press(message, "Acknowledge")
            await until(lambda: len(tries) > 2)
            assert press not in desk.server.answered
        assert "cknowledged" in await desk.answer(press)
    assert desk.alert.acknowledged_by == "ada"


async def test_a_press_fails_when_the_database_stays_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(button_polling, "_PATIENCE", 0.3)
    message = await desk.raise_alert()
    async with desk.polling():
        await until(lambda: desk.server.called("getUpdates"))
        async with away(desk):
            assert "database does not respond" in await desk.answer(desk.server.press(message, "Acknowledge"))
        assert desk.alert.is_active
        monkeypatch.setattr(button_polling, "_PATIENCE", 60.0)
        assert "cknowledged" in await desk.answer(desk.server.press(message, "Acknowledge"))
    assert desk.alert.acknowledged_by == "ada"
