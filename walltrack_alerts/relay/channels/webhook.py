"""Webhooks: one signed POST per event, according to Standard Webhooks."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from walltrack_alerts.relay.channels import Claim, Context, Outcome, Result, Target
from walltrack_alerts.relay.http import Answer
from walltrack_alerts.relay.messages import alert_url
from walltrack_alerts.relay.placeholders import resolve
from walltrack_alerts.relay.signing import signing_headers

LARGEST_BODY = 20_000  # bytes; what Standard Webhooks recommends
_CUTS = (4000, 1000, 200, 50)  # characters of each text, until the body is small enough
_GONE = 410

_ORDER_FACTS = (
    "order_id", "order_type", "side", "token", "token_symbol", "position_id", "amount_sol", "attempts", "max_attempts", "error",
    "is_simulated",
)  # fmt: skip


class Webhook:
    """Sends the events of one target."""

    def __init__(self, target: Target, context: Context) -> None:
        self._config = target.config
        self._context = context

    async def send(self, claim: Claim) -> Result:
        """POST the event; 2xx is success, 410 means that the receiver is gone (SendError, AlertsError)."""
        assert claim.item is not None  # a webhook gets no digests
        environ = self._context.environ
        url = resolve(self._config["url"], environ)
        secrets = [resolve(secret, environ) for secret in self._config.get("secrets") or ()]
        body = webhook_body(claim.item, self._context.panel_url)
        headers = {
            "content-type": "application/json",
            **signing_headers(secrets, claim.item["webhook_id"], int(time.time()), body),
        }
        allow_private = self._config.get("allow_private") is True
        return _result(await self._context.http.post(url, body, headers, allow_private=allow_private))


def open_channel(target: Target, context: Context) -> Webhook:
    """The channel of a target of kind webhook."""
    return Webhook(target, context)


def webhook_body(item: Mapping[str, Any], panel_url: str | None) -> bytes:
    """The JSON of an event, under 20 kB: long texts are cut, then other data than the facts of the order is left out."""
    for length in _CUTS:
        body = _encode(item, panel_url, length)
        if len(body) < LARGEST_BODY:
            return body
    alert = item["alert"]
    facts = {name: alert["data"][name] for name in _ORDER_FACTS if _is_scalar(alert["data"].get(name))}
    return _encode({**item, "alert": {**alert, "data": facts}}, panel_url, _CUTS[-1])


def _encode(item: Mapping[str, Any], panel_url: str | None, length: int) -> bytes:
    event, alert = item["event"], item["alert"]
    body = {
        "type": f"alert.{event['kind']}",
        "timestamp": event["at"],
        "data": {
            "event_id": event["event_id"],
            "alert": _cut(alert, length),
            "order": _cut(_order(alert["data"]), length),
            "url": alert_url(panel_url, str(alert["id"])),
        },
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _order(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The facts of the order; None for an alert that is not about an order."""
    return {name: data.get(name) for name in _ORDER_FACTS} if data.get("order_id") else None


def _cut(value: Any, length: int) -> Any:  # noqa: ANN401 - any JSON value
    """The value with each text cut to a number of characters."""
    if isinstance(value, str):
        return value if len(value) <= length else value[: length - 1] + "…"
    if isinstance(value, Mapping):
        return {name: _cut(each, length) for name, each in value.items()}
    if isinstance(value, list):
        return [_cut(each, length) for each in value]
    return value


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _result(answer: Answer) -> Result:
    outcome = Outcome.DELIVERED if answer.is_success else Outcome.GONE if answer.status == _GONE else Outcome.FAILED
    return Result(outcome, answer.status, answer.text, answer.retry_after)
