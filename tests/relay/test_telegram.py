"""Telegram: messages are sent, edited and answered by the rules of the Bot API, and the token is never shown."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.relay.bot_server import CHAT, TOKEN, BotServer, Refused, bot_server
from tests.relay.samples import acknowledged, digest, group, item, parse_html, resolved
from walltrack_alerts.relay.channels import Claim, Context, Outcome, Result, Target, attempt
from walltrack_alerts.relay.http import HttpClient, Timeouts
from walltrack_alerts.relay.trial import item_for

SILENCE = Timeouts(read=0.2)


@pytest.fixture
async def server() -> AsyncIterator[BotServer]:
    async with bot_server() as served:
        yield served


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


@pytest.fixture
async def hasty_chat(server: BotServer) -> AsyncIterator[Chat]:
    """A chat whose client does not wait long for an answer."""
    async with HttpClient(SILENCE) as client:
        yield Chat(server, client)


class Chat:
    """A target of kind telegram; `send` delivers to it as the relay does."""

    def __init__(self, server: BotServer, http: HttpClient, **config: Any) -> None:
        settings = {"chat": CHAT, "token": "${TG_TOKEN}", "api_url": server.url, "allow": {"7": "ada"}}
        self.config = {name: value for name, value in (settings | config).items() if value is not None}
        self.environ = {"TG_TOKEN": TOKEN}
        self._http = http

    async def send(self, given: dict[str, Any], reference: str | None = None, *, is_closed: bool = False) -> Result:
        """Send an item as an update of the message `reference`, or a digest."""
        target = Target(12, "desk", "telegram", self.config)
        if "groups" in given:
            claim = Claim(1, target, (1, 2), digest=given)
        else:
            message = None if reference is None else {"reference": reference, "is_closed": is_closed}
            is_edit = message is not None and given["event"]["kind"] != "escalated"
            claim = Claim(1, target, (1,), item=given | {"message": message, "is_edit": is_edit})
        return await attempt(claim, Context(self._http, self.environ, "https://panel.example"))


@pytest.fixture
def chat(server: BotServer, http: HttpClient) -> Chat:
    return Chat(server, http)


async def test_a_test_event_has_no_buttons(server: BotServer, chat: Chat) -> None:
    assert (await chat.send(item_for("desk"))).outcome is Outcome.DELIVERED
    (sent,) = server.called("sendMessage")
    assert parse_html(sent["text"]).text.splitlines()[0] == "\U0001f535 INFO Test of target desk" and server.buttons(101) == []


async def test_an_alert_is_one_message_with_buttons(server: BotServer, chat: Chat) -> None:
    assert await chat.send(item()) == Result(Outcome.DELIVERED, 200, "sent message 101", reference="101")
    (sent,) = server.called("sendMessage")
    assert parse_html(sent["text"]).text.startswith("\U0001f534 CRITICAL EXIT sell BONK failed 3/3")
    assert sent["link_preview_options"] == {"is_disabled": True}
    assert sent["disable_notification"] is False
    assert server.buttons(101) == ["Acknowledge", "Snooze 1 h", "Resolve …"]


async def test_buttons_need_an_allow_list(server: BotServer, http: HttpClient) -> None:
    await Chat(server, http, allow=None).send(item())
    assert server.buttons(101) == []


@pytest.mark.parametrize("update", [acknowledged(), resolved()])
async def test_an_update_edits_the_message_and_removes_its_buttons(server: BotServer, chat: Chat, update: dict[str, Any]) -> None:
    sent = await chat.send(item())
    edited = await chat.send(update, sent.reference)
    assert edited == Result(Outcome.DELIVERED, 200, "edited message 101", reference="101", is_closed=True)
    assert len(server.messages) == 1
    assert server.buttons(101) == []
    assert " by <code>" in server.message(101)["text"]


async def test_a_further_failure_edits_and_keeps_the_buttons(server: BotServer, chat: Chat) -> None:
    sent = await chat.send(item())
    await chat.send(item("repeated", occurrences=2), sent.reference)
    assert "FAILED AGAIN" in server.message(101)["text"]
    assert len(server.buttons(101)) == 3


async def test_an_escalation_is_a_new_message_with_the_buttons(server: BotServer, chat: Chat) -> None:
    sent = await chat.send(item())
    page = await chat.send(item("escalated"), sent.reference)
    assert page.reference == "102"
    assert server.message(102)["reply_parameters"]["message_id"] == 101
    assert server.message(102)["disable_notification"] is False
    assert (server.buttons(101), len(server.buttons(102))) == ([], 3)


async def test_a_failure_to_remove_old_buttons_fails_nothing(server: BotServer, chat: Chat) -> None:
    sent = await chat.send(item())
    server.faults["editMessageReplyMarkup"] += [Refused(500, "Internal Server Error")]
    assert (await chat.send(item("escalated"), sent.reference)).reference == "102"


async def test_an_alert_that_is_active_again_is_a_new_message(chat: Chat) -> None:
    sent = await chat.send(acknowledged())
    assert sent.is_closed
    again = await chat.send(item("repeated"), sent.reference, is_closed=True)
    assert (again.reference, again.is_closed) == ("102", False)


async def test_settled_alerts_make_no_sound(server: BotServer, chat: Chat) -> None:
    await chat.send(acknowledged())
    await chat.send(digest(group(count=2, resolved=2)))
    assert [sent["disable_notification"] for sent in server.called("sendMessage")] == [True, True]


async def test_a_digest_is_one_message_without_buttons(server: BotServer, chat: Chat) -> None:
    await chat.send(digest(group(count=500)))
    assert "500 alerts" in server.message(101)["text"]
    assert server.buttons(101) == []


async def test_an_unchanged_message_counts_as_delivered(server: BotServer, chat: Chat) -> None:
    sent = await chat.send(item())
    await chat.send(resolved(), sent.reference)
    server.faults["editMessageText"] += [
        Refused(400, "Bad Request: message is not modified: specified new message content is the same")
    ]
    assert (await chat.send(resolved(), sent.reference)).outcome is Outcome.DELIVERED
    assert len(server.messages) == 1


@pytest.mark.parametrize("description", ["message to edit not found", "message can't be edited", "MESSAGE_ID_INVALID"])
async def test_a_message_that_cannot_be_edited_is_sent_again(server: BotServer, chat: Chat, description: str) -> None:
    server.faults["editMessageText"] += [Refused(400, f"Bad Request: {description}")]
    assert (await chat.send(resolved(), "77")).reference == "101"
    assert server.message(101)["disable_notification"] is True


async def test_a_limit_delays_as_long_as_telegram_says(server: BotServer, chat: Chat) -> None:
    server.faults["sendMessage"] += [Refused(429, "Too Many Requests: retry after 17", retry_after=17)]
    result = await chat.send(item())
    assert (result.outcome, result.status, result.retry_after) == (Outcome.FAILED, 429, 17)
    server.faults["editMessageText"] += [Refused(429, "Too Many Requests: retry after 3", retry_after=3)]
    assert (await chat.send(resolved(), "77")).retry_after == 3
    head = b"HTTP/1.1 429 x\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n"
    server.faults["sendMessage"] += [head]
    assert (await chat.send(item())).retry_after == 9
    assert server.messages == {}


async def test_a_group_that_became_a_supergroup_gets_its_messages(server: BotServer, chat: Chat) -> None:
    server.migrated[CHAT] = "-1002002"
    sent = await chat.send(item())
    assert server.message(101, "-1002002")["message_id"] == 101
    await chat.send(resolved(), sent.reference)
    assert "RESOLVED" in server.message(101, "-1002002")["text"]


@pytest.mark.parametrize(
    ("code", "outcome"), [(400, Outcome.REFUSED), (401, Outcome.REFUSED), (403, Outcome.REFUSED), (500, Outcome.FAILED)]
)
async def test_a_refusal_has_a_reason(server: BotServer, chat: Chat, code: int, outcome: Outcome) -> None:
    server.faults["sendMessage"] += [Refused(code, "Bad Request: chat not found")]
    assert await chat.send(item()) == Result(outcome, code, "Bad Request: chat not found")


@pytest.mark.parametrize(
    "fault",
    [
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 13\r\n\r\n<html>x</html",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_broken_answers_are_failures(server: BotServer, chat: Chat, fault: bytes) -> None:
    server.faults["sendMessage"] += [fault]
    assert (await chat.send(item())).outcome is Outcome.FAILED


async def test_a_missing_answer_is_a_failure(server: BotServer, hasty_chat: Chat) -> None:
    server.faults["sendMessage"] += [5.0]
    assert (await hasty_chat.send(item())).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        ({"error_code": 429, "description": "a\0\x1b[31m\nb", "parameters": {"retry_after": 10**400}}, 429, 3600),
        ({"error_code": 10**20, "description": "\ud800", "parameters": {"retry_after": float("inf")}}, 200, 3600),
        ({"error_code": True, "description": ["a"], "parameters": {"retry_after": -1}}, 200, None),
    ],
)
async def test_odd_answers_can_be_stored(
    server: BotServer, chat: Chat, error: dict[str, Any], status: int, retry_after: float | None
) -> None:
    body = json.dumps({"ok": False} | error).encode()
    server.faults["sendMessage"].append(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    result = await chat.send(item())
    assert (result.status, result.retry_after) == (status, retry_after)
    assert result.response.isprintable()


async def test_no_answer_or_error_holds_the_token(server: BotServer, hasty_chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    chat = hasty_chat
    caplog.set_level(logging.INFO)
    url = f"{server.url}/bot{TOKEN}/sendMessage"
    server.faults["sendMessage"] += [Refused(404, f"no such page {url}"), b"%s\r\n\r\n" % url.encode(), 5.0]
    answers = [(await chat.send(item())).response for _ in range(3)]
    chat.config["api_url"] = "http://127.0.0.1:9"
    answers.append((await chat.send(item())).response)
    chat.environ["TG_TOKEN"] = f"../{TOKEN}"
    answers.append((await chat.send(item())).response)
    assert "token" in answers[-1]
    assert not [text for text in [*answers, caplog.text] if TOKEN in text or TOKEN[7:] in text]
    assert all(answers)


async def test_a_missing_variable_is_named(chat: Chat) -> None:
    chat.environ.clear()
    result = await chat.send(item())
    assert result.outcome is Outcome.REFUSED
    assert "TG_TOKEN" in result.response


async def test_hostile_texts_arrive(server: BotServer, chat: Chat) -> None:
    hostile = "</code><script>&amp;&#0;@everyone t.me/x [a](b) \u202e" * 3000
    sent = await chat.send(item(data={"token_symbol": hostile, "error": hostile}, resolved_by=hostile, status="resolved"))
    assert sent.outcome is Outcome.DELIVERED
