"""The Bot API of Telegram: calls of its methods over HTTP. No text that leaves this module contains the token of the bot."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from walltrack_alerts.errors import AlertsError
from walltrack_alerts.relay.http import HttpClient, SendError, Timeouts
from walltrack_alerts.relay.placeholders import redact, resolve

API_URL = "https://api.telegram.org"

_TOKEN = re.compile(r"[A-Za-z0-9:_-]+")
_HEADERS = {"content-type": "application/json"}
_LONGEST_ANSWER = 65_536  # bytes
_LONGEST_WAIT = 3600  # seconds


class BotApiError(AlertsError):
    """Telegram refused a call: the code of the error (as of HTTP) and its description."""

    def __init__(self, code: int, description: str, parameters: Mapping[str, Any]) -> None:
        self.code = code
        self.retry_after = _seconds(parameters.get("retry_after"))
        """Seconds to wait after code 429."""

        self.new_chat = parameters.get("migrate_to_chat_id")
        """The id that a group has got as a supergroup."""

        super().__init__(description)


class BotApi:
    """The methods of one bot. An address of the API that the target names may be a private one."""

    def __init__(self, http: HttpClient, token: str, api_url: str | None = None) -> None:
        if not _TOKEN.fullmatch(token):
            raise AlertsError("the token of the bot holds characters that no token of Telegram has")
        number = token.partition(":")[0]
        self.bot_id = number if number.isdecimal() and number != token else None
        """The user id of the bot; None for a token that does not begin with one."""

        self.fingerprint = hashlib.sha256(f"{api_url} {token}".encode()).hexdigest()[:12]
        """Tells the bots apart without their tokens."""

        self._http = http
        self._token = token
        self._url = f"{(api_url or API_URL).rstrip('/')}/bot{token}/"
        self._allow_private = api_url is not None

    @classmethod
    def of(cls, config: Mapping[str, Any], http: HttpClient, environ: Mapping[str, str]) -> BotApi:
        """The bot of a target, its placeholders filled in (MissingVariableError)."""
        api_url = config.get("api_url")
        return cls(
            http, resolve(config["token"], environ).strip(), None if api_url is None else resolve(api_url, environ).strip()
        )

    async def call(
        self, method: str, params: Mapping[str, Any], *, timeouts: Timeouts | None = None, limit: int = _LONGEST_ANSWER
    ) -> Any:  # noqa: ANN401 - any JSON value
        """The result of a method (BotApiError, SendError). A group that became a supergroup is called under its new id."""
        try:
            return await self._call(method, params, timeouts, limit)
        except BotApiError as error:
            if error.new_chat is None or "chat_id" not in params:
                raise
            return await self._call(method, {**params, "chat_id": error.new_chat}, timeouts, limit)

    async def _call(self, method: str, params: Mapping[str, Any], timeouts: Timeouts | None, limit: int) -> Any:  # noqa: ANN401
        body = json.dumps(params).encode()
        try:
            answer = await self._http.post(
                self._url + method, body, _HEADERS, allow_private=self._allow_private, timeouts=timeouts, limit=limit
            )
        except SendError as error:
            raise SendError(redact(str(error), [self._token]), is_permanent=error.is_permanent) from None
        content = _json_object(answer.body)
        if answer.is_success and content.get("ok") is True:
            return content.get("result")
        description = redact(str(content.get("description") or answer.text), [self._token])[:300]
        parameters = content.get("parameters")
        parameters = dict(parameters) if isinstance(parameters, Mapping) else {}
        parameters.setdefault("retry_after", answer.retry_after)
        code = content.get("error_code")
        known = code if isinstance(code, int) and 100 <= code <= 999 else answer.status
        raise BotApiError(known, description, parameters)


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, Mapping) else {}


def _seconds(value: object) -> float | None:
    """Seconds of at most an hour; None for anything else."""
    return float(min(value, _LONGEST_WAIT)) if isinstance(value, int | float) and value >= 0 else None
