"""The buttons of Telegram messages, and what a press does.

The data of a button contains its target and its action; its message identifies the alert. The database decides whether a press
counts: the user is on the allow-list of the target, the message is fresh, and the button was not used before.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from walltrack_alerts.relay.bot_api import BotApi, BotApiError
from walltrack_alerts.relay.channels import Target
from walltrack_alerts.relay.http import SendError

Json = Mapping[str, Any]
Buttons = list[list[dict[str, str]]]

REASONS = ("sold by hand", "not needed")

_LONGEST_REASON = 200  # characters
_LONGEST_ANSWER = 200  # characters; what Telegram shows over the chat
_PROMPT = re.compile(r"\[(\d+):(\d+)\]\s*\Z", re.ASCII)
_SUPERGROUP = re.compile(r"-100\d{10,}", re.ASCII)
_SETTLED = {"used", "unchanged", "done"}
"""Outcomes after which the buttons of an acknowledged or resolved alert have done their work."""


StorePress = Callable[[int, str, str, str, str | None], Awaitable[tuple[str, str]]]
"""Stores a button press, of target, message, action, user and reason. Returns the outcome (done, unchanged, refused, expired,
used, unknown, failed) and the reply to the user."""


def first_buttons(target_id: int) -> Buttons:
    """The buttons of a message about an active alert."""
    return [
        [_button("Acknowledge", target_id, "acknowledge"), _button("Snooze 1 h", target_id, "snooze")],
        [_button("Resolve …", target_id, "why")],
    ]


def reason_buttons(target_id: int) -> Buttons:
    """The reasons for resolving, in place of the first buttons."""
    rows = [[_button(reason.capitalize(), target_id, f"resolve:{reason}")] for reason in REASONS]
    return [*rows, [_button("Another reason …", target_id, "ask"), _button("Back", target_id, "back")]]


class Bot:
    """One bot and the targets that use it; handles what its users press and write."""

    def __init__(self, api: BotApi, store: StorePress) -> None:
        self.targets: Mapping[int, Target] = {}
        self._api = api
        self._store = store

    async def handle(self, update: Json) -> None:
        """Handle one update. Updates that are neither a press nor a reply to a question are ignored."""
        press, message = update.get("callback_query"), update.get("message")
        if isinstance(press, Mapping):
            await self._handle_press(press)
        elif isinstance(message, Mapping):
            await self._handle_reply(message)

    async def _handle_press(self, press: Json) -> None:
        message = press.get("message") or {}
        number, _, action = str(press.get("data") or "").partition(":")
        target = self.targets.get(int(number)) if number.isdecimal() and number.isascii() else None
        user = str(press["from"]["id"])
        if target is None or "message_id" not in message:
            text = "The relay does not know this button any more."
        elif not _is_of(target, message):
            text = "This button does not belong to this chat."
        elif user not in (target.config.get("allow") or {}):
            text = f"The target does not allow you. Your user id is {user}."
        elif action in ("why", "back"):
            buttons = reason_buttons(target.target_id) if action == "why" else first_buttons(target.target_id)
            await self._show_buttons(message, buttons)
            text = "Why is it resolved?" if action == "why" else ""
        elif action == "ask":
            await self._ask(target, message)
            text = "Write the reason as a reply."
        else:
            action, _, reason = action.partition(":")
            text = await self._store_press(target, message, action, user, reason or None)
        await self._try("answerCallbackQuery", {"callback_query_id": press["id"], "text": text[:_LONGEST_ANSWER]})

    async def _handle_reply(self, message: Json) -> None:
        """A reason, written as a reply to a question of this bot. The question names target and message."""
        question = message.get("reply_to_message") or {}
        place = _PROMPT.search(str(question.get("text") or ""))
        reason = " ".join(str(message.get("text") or "").split())[:_LONGEST_REASON]
        target = None if place is None else self.targets.get(int(place[1]))
        user = str((message.get("from") or {}).get("id"))
        if place is None or target is None or not reason or user not in (target.config.get("allow") or {}):
            return
        if not self._is_own(question.get("from") or {}) or not _is_of(target, message):
            return
        text = await self._store_press(target, {**message, "message_id": int(place[2])}, "resolve", user, reason)
        reply = {"message_id": message["message_id"], "allow_sending_without_reply": True}
        await self._try("sendMessage", {"chat_id": message["chat"]["id"], "text": text, "reply_parameters": reply})

    async def _store_press(self, target: Target, message: Json, action: str, user: str, detail: str | None) -> str:
        """Store a button press; returns the reply to the user."""
        reference = str(message["message_id"])
        outcome, text = await self._store(target.target_id, reference, action, user, detail)
        if outcome == "expired" or (outcome in _SETTLED and action != "snooze"):
            await self._show_buttons(message, [])
        return text

    async def _ask(self, target: Target, message: Json) -> None:
        """Ask for a reason in words. The question contains all that is needed to handle the reply."""
        params = {
            "chat_id": message["chat"]["id"],
            "text": f"Why is it resolved? Reply to this message. [{target.target_id}:{message['message_id']}]",
            "reply_parameters": {"message_id": message["message_id"], "allow_sending_without_reply": True},
            "reply_markup": {"force_reply": True, "selective": True, "input_field_placeholder": "Reason"},
        }
        await self._try("sendMessage", params)

    def _is_own(self, sender: Json) -> bool:
        """Whether this bot wrote a message; another one in the group could ask for a reply, too."""
        return str(sender.get("id")) == self._api.bot_id if self._api.bot_id else sender.get("is_bot") is True

    async def _show_buttons(self, message: Json, buttons: Buttons) -> None:
        params: dict[str, Any] = {"chat_id": message["chat"]["id"], "message_id": message["message_id"]}
        params |= {"reply_markup": {"inline_keyboard": buttons}} if buttons else {}
        await self._try("editMessageReplyMarkup", params)

    async def _try(self, method: str, params: Json) -> None:
        """A cosmetic call: the press has been recorded, and a failure here changes nothing."""
        with suppress(BotApiError, SendError):
            await self._api.call(method, params)


def _is_of(target: Target, message: Json) -> bool:
    """Whether a message is in the chat of a target: message ids are unique only within a chat.

    A group that became a supergroup has another id, which the target may not know.
    """
    chat, named = message.get("chat") or {}, str(target.config.get("chat"))
    if named.startswith("@"):
        return f"@{chat.get('username')}".lower() == named.lower()
    number = str(chat.get("id"))
    is_migrated = named.startswith("-") and not _SUPERGROUP.fullmatch(named) and _SUPERGROUP.fullmatch(number) is not None
    return number == named or is_migrated


def _button(text: str, target_id: int, action: str) -> dict[str, str]:
    return {"text": text, "callback_data": f"{target_id}:{action}"}
