"""Telegram: one message per alert, edited when the alert changes, with buttons for the users on the target's allow-list."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from walltrack_alerts.relay.bot_api import BotApi, BotApiError
from walltrack_alerts.relay.buttons import first_buttons
from walltrack_alerts.relay.channels import Claim, Context, Outcome, Result, Target
from walltrack_alerts.relay.http import SendError, Timeouts
from walltrack_alerts.relay.messages import Message, alert_message, digest_message
from walltrack_alerts.relay.placeholders import resolve

_PERMANENT = {400, 401, 403, 404}
"""Only the operator can mend it: no such chat, a wrong token, a bot that was thrown out."""

_NOT_MODIFIED = "message is not modified"
_BRIEF = Timeouts(lookup=2, connect=2, read=2, total=3)


class Telegram:
    """Sends the messages of one target."""

    def __init__(self, target: Target, context: Context) -> None:
        self._target = target
        self._panel_url = context.panel_url
        self._api = BotApi.of(target.config, context.http, context.environ)
        self._chat = resolve(str(target.config["chat"]), context.environ)

    async def send(self, claim: Claim) -> Result:
        """Send a message, or edit the one of the alert (SendError)."""
        try:
            if claim.item is not None:
                return await self._tell(claim.item)
            assert claim.digest is not None
            digest = digest_message(claim.digest, self._panel_url, datetime.now(UTC))
            return _delivered("sent", await self._send(digest, {}), is_closed=True)
        except BotApiError as error:
            outcome = Outcome.REFUSED if error.code in _PERMANENT else Outcome.FAILED
            return Result(outcome, error.code, str(error), error.retry_after)

    async def _tell(self, item: Mapping[str, Any]) -> Result:
        message = alert_message(item, self._panel_url, datetime.now(UTC))
        is_active = item["alert"]["status"] == "active"
        is_real = item["event"]["kind"] != "test"  # the alert of a test event does not exist
        has_buttons = is_active and is_real and bool(self._target.config.get("allow"))
        buttons = first_buttons(self._target.target_id) if has_buttons else []
        earlier = item.get("message") or {}
        reference = earlier.get("reference")
        if reference is None:
            return _delivered("sent", await self._send(message, _markup(buttons)), is_closed=not is_active)
        is_reopened = is_active and earlier.get("is_closed") is True
        is_edit = item.get("is_edit") is True and not is_reopened
        if is_edit and await self._edit(str(reference), message, buttons):
            return _delivered("edited", str(reference), is_closed=not is_active)
        reply = {"reply_parameters": {"message_id": int(reference), "allow_sending_without_reply": True}}
        sent = await self._send(message, {**_markup(buttons), **reply})
        await self._remove_buttons(str(reference))
        return _delivered("sent", sent, is_closed=not is_active)

    async def _send(self, message: Message, extra: Mapping[str, Any]) -> str | None:
        """Send a message; its id."""
        params = {"disable_notification": message.is_silent, **_content(message), **extra}
        sent = await self._api.call("sendMessage", {"chat_id": self._chat, **params})
        number = sent.get("message_id") if isinstance(sent, Mapping) else None
        return str(number) if isinstance(number, int) else None

    async def _edit(self, reference: str, message: Message, buttons: list[Any]) -> bool:
        """Edit a message; False if it cannot be edited, e.g. because it was deleted or is too old."""
        params = {"message_id": int(reference), **_content(message), **_markup(buttons)}
        try:
            await self._api.call("editMessageText", {"chat_id": self._chat, **params})
        except BotApiError as error:
            if error.code != 400:
                raise
            return _NOT_MODIFIED in str(error)
        return True

    async def _remove_buttons(self, reference: str) -> None:
        """Leave buttons only on the newest message. The newest one has been sent, so a failure here does no harm."""
        params = {"chat_id": self._chat, "message_id": int(reference)}
        with suppress(BotApiError, SendError):
            await self._api.call("editMessageReplyMarkup", params, timeouts=_BRIEF)


def open_channel(target: Target, context: Context) -> Telegram:
    """The channel of a target of kind telegram (MissingVariableError)."""
    return Telegram(target, context)


def _content(message: Message) -> dict[str, Any]:
    return {"text": message.html, "parse_mode": "HTML", "link_preview_options": {"is_disabled": True}}


def _markup(buttons: list[Any]) -> dict[str, Any]:
    """An empty list means no buttons: an edit without buttons removes them."""
    return {"reply_markup": {"inline_keyboard": buttons}} if buttons else {}


def _delivered(verb: str, reference: str | None, *, is_closed: bool) -> Result:
    response = f"{verb} message {reference}" if reference else verb
    return Result(Outcome.DELIVERED, 200, response, reference=reference, is_closed=is_closed)
