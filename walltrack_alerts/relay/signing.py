"""Webhook signatures according to Standard Webhooks (version 1, HMAC-SHA256)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from walltrack_alerts.errors import AlertsError

_PREFIX = "whsec_"


class SigningSecretError(AlertsError):
    """A signing secret cannot be used; the text does not show it."""


def signing_headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt, with one signature for each secret (SigningSecretError).

    `timestamp`: Unix seconds of the attempt, because receivers refuse old ones. Without secrets there is no signature.
    """
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if secrets:
        signed = f"{message_id}.{timestamp}.".encode() + body
        headers["webhook-signature"] = " ".join(_signature(signing_key(secret), signed) for secret in secrets)
    return headers


def signing_key(secret: str) -> bytes:
    """The key of a secret (SigningSecretError).

    It is base64, after whsec_ or without it, because the libraries of receivers decode both. Another text is the key itself.
    """
    secret = secret.strip()
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        if secret.startswith(_PREFIX):
            raise SigningSecretError("a signing secret is not base64 after whsec_") from None
        key = secret.encode()
    if not key:
        raise SigningSecretError("a signing secret is empty")
    return key


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
