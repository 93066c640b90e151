"""Webhooks: signed as Standard Webhooks defines it, small whatever strangers wrote into the alert."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from tests.relay.sink import answer, running_sink
from walltrack_alerts.relay.channels import Claim, Context, Outcome, Target, attempt
from walltrack_alerts.relay.channels.webhook import webhook_body
from walltrack_alerts.relay.http import HttpClient
from walltrack_alerts.relay.signing import SigningSecretError, signing_headers, signing_key

OLD = "whsec_" + base64.b64encode(b"old key of 24 bytes, or.").decode()
NEW = "whsec_" + base64.b64encode(b"new key of 24 bytes, or.").decode()
ALERT = "6f1c2a9b-7c1d-4f0e-9a51-3f1f5f8f2b11"


def item(**data: Any) -> dict[str, Any]:
    """What claim_deliveries() returns for one event."""
    return {
        "event": {"event_id": 7, "kind": "raised", "actor": "system", "at": "2026-03-01T12:00:00+00:00", "detail": {}},
        "alert": {
            "id": ALERT, "alert_type": "order_failed_permanently", "severity": "critical", "status": "active",
            "title": "EXIT Order Failed", "message": "failed", "data": {"order_id": "o-1", "token": "Dez", "error": "no", **data},
            "created_at": "2026-03-01T12:00:00+00:00",
        },
        "attempt": 1, "webhook_id": "evt_7_abc", "message": None,
    }  # fmt: skip


def claim(url: str, payload: dict[str, Any] | None = None, **config: Any) -> Claim:
    target = Target(1, "ops", "webhook", {"url": url, "allow_private": True, **config})
    return Claim(1, target, (1,), payload or item())


async def test_each_secret_signs() -> None:
    async with running_sink() as sink, HttpClient() as http:
        context = Context(http, {"OLD": OLD, "NEW": NEW}, "https://panel.example/")
        result = await attempt(claim(sink.url("/hook?a=1"), secrets=["${OLD}", "${NEW}"]), context)
    (request,) = sink.requests
    assert result.outcome is Outcome.DELIVERED
    assert request.headers["webhook-id"] == "evt_7_abc"
    for secret in (OLD, NEW):
        assert Verifier(secret).verify(request.body.decode(), request.headers) == request.json
    with pytest.raises(WebhookVerificationError):
        Verifier("whsec_" + base64.b64encode(b"another").decode()).verify(request.body.decode(), request.headers)
    assert request.json == {
        "type": "alert.raised",
        "timestamp": "2026-03-01T12:00:00+00:00",
        "data": {
            "event_id": 7,
            "alert": item()["alert"],
            "order": {
                "order_id": "o-1", "order_type": None, "side": None, "token": "Dez", "token_symbol": None, "position_id": None,
                "amount_sol": None, "attempts": None, "max_attempts": None, "error": "no", "is_simulated": None,
            },
            "url": f"https://panel.example/?alert={ALERT}",
        },
    }  # fmt: skip


def test_a_secret_without_prefix_is_read_as_receivers_read_it() -> None:
    secret = base64.b64encode(b"a key of 24 bytes, or so").decode()
    headers = signing_headers([secret], "evt_1", 1_900_000_000, b"{}")
    signed = Verifier(secret).sign("evt_1", datetime.fromtimestamp(1_900_000_000, UTC), "{}")
    assert headers["webhook-signature"] == signed


def test_a_secret_that_is_not_base64_is_the_key_itself() -> None:
    headers = signing_headers(["plain secret"], "evt_1", 1_900_000_000, b"{}")
    signature = Verifier(base64.b64encode(b"plain secret").decode())
    assert headers["webhook-signature"] == signature.sign("evt_1", datetime.fromtimestamp(1_900_000_000, UTC), "{}")


@pytest.mark.parametrize("secret", ["whsec_###secret", "whsec_", "", "  ", "whsec_YQ"])
def test_a_malformed_secret_is_not_shown(secret: str) -> None:
    with pytest.raises(SigningSecretError) as caught:
        signing_key(secret)
    assert "###" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "delivered"), (204, "delivered"), (302, "failed"), (404, "failed"), (410, "gone"), (429, "failed"), (500, "failed")],
)
async def test_only_2xx_is_success(status: int, outcome: str) -> None:
    async with running_sink(lambda _: answer(status, retry_after="3")) as sink, HttpClient() as http:
        result = await attempt(claim(sink.url()), Context(http, {}))
    assert (result.outcome, result.status, result.retry_after) == (outcome, status, 3.0)


@pytest.mark.parametrize(
    "data",
    [
        {"error": "x" * 100_000}, {"error": "\U0001f680" * 25_000, "token_symbol": "@everyone" * 1000},
        {f"key {number}": "v" * 100 for number in range(1000)}, {"nested": {"list": ["y" * 1000] * 100}}, {"k" * 30_000: 1},
        {"error": '\\"\n' * 30_000},
    ],
)  # fmt: skip
def test_a_body_stays_under_20_kb(data: dict[str, Any]) -> None:
    payload = item(**data)
    payload["alert"]["message"] = payload["alert"]["title"] = str(data)
    body = webhook_body(payload, None)
    assert len(body) < 20_000
    assert json.loads(body)["data"]["order"]["order_id"] == "o-1"


def test_an_alert_of_another_kind_has_no_order() -> None:
    payload = item()
    payload["alert"]["data"] = {"balance": 1}
    assert json.loads(webhook_body(payload, None))["data"]["order"] is None


async def test_no_secret_is_left_in_an_answer() -> None:
    secret = "hook/secret token+"
    async with running_sink(lambda request: answer(500, f"no {request.path} no")) as sink, HttpClient() as http:
        context = Context(http, {"PART": secret})
        result = await attempt(claim(sink.url("/x/${PART}").replace(" ", "%20")), context)
        refused = await attempt(claim("http://${PART}/"), context)
    assert "secret" not in result.response + refused.response
    assert (refused.outcome, refused.response) == (Outcome.REFUSED, "the URL is not a valid http or https URL")


async def test_a_missing_variable_is_named() -> None:
    async with HttpClient() as http:
        result = await attempt(claim("https://${HOST_OF_HOOK}/"), Context(http, {}))
    assert (result.outcome, result.response) == (Outcome.REFUSED, "environment variable HOST_OF_HOOK is not set")


async def test_a_fault_in_a_channel_is_a_failed_attempt() -> None:
    async with HttpClient() as http:
        broken = claim("https://h.example/")
        result = await attempt(Claim(1, broken.target, (1,), {}), Context(http, {}))
    assert (result.outcome, result.response) == (Outcome.FAILED, "KeyError in the channel webhook")
