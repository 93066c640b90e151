"""What the page is told: alerts as plain texts and numbers, so that the page only has to place them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from walltrack_alerts.models import Alert, AlertCounts, AlertEvent, AlertSeverity

Json = dict[str, Any]


def row(alert: Alert) -> Json:
    """One alert as the list shows it."""
    data = alert.data
    return {
        "id": str(alert.id),
        "severity": alert.severity.value,
        "status": alert.status.value,
        "by": alert.resolved_by or alert.acknowledged_by,
        "title": alert.title,
        "token": _text(data.get("token_symbol")) or _short(_text(data.get("token"))),
        "address": _short(_text(data.get("token"))),
        "text": _text(data.get("error")) or alert.message,
        "attempts": _attempts(data),
        "occurrences": alert.occurrences,
        "simulated": data.get("is_simulated") is True,
        "created": _ms(alert.created_at),
    }


def detail(alert: Alert, events: list[AlertEvent]) -> Json:
    """One alert with everything known about it; events the newest first."""
    return row(alert) | {
        "message": alert.message,
        "resolution": alert.resolution,
        "facts": _facts(alert),
        "events": [
            {"kind": event.kind.value, "actor": event.actor, "at": _ms(event.at), "text": _event_text(event)}
            for event in reversed(events)
        ],
    }


def counts(numbers: AlertCounts) -> Json:
    """The numbers of the badge; waiting ones are open and not acknowledged."""
    return {
        "unresolved": numbers.total,
        "critical": numbers.critical,
        "waiting": numbers.active,
        "acknowledged": numbers.total - numbers.active,
        "severities": {severity.value: numbers.by_severity[severity].total for severity in AlertSeverity},
    }


def now() -> int:
    """Milliseconds since 1970, so that the page can tell how far its own clock is off."""
    return _ms(datetime.now(UTC))


def _facts(alert: Alert) -> list[list[str]]:
    """Labels and texts, what matters most on top; other kinds of alerts bring keys of their own."""
    rest = {key: _text(value) for key, value in alert.data.items()}
    attempts, maximum = rest.pop("attempts", ""), rest.pop("max_attempts", "")
    kind, side, amount = rest.pop("order_type", ""), rest.pop("side", ""), rest.pop("amount_sol", "")
    known = {
        "Order": rest.pop("order_id", ""),
        "Error": rest.pop("error", ""),
        "Attempts": f"{attempts} of {maximum}" if attempts and maximum else attempts,
        "Token": rest.pop("token", ""),
        "Symbol": rest.pop("token_symbol", ""),
        "Position": rest.pop("position_id", ""),
        "Type": ", ".join(part for part in (kind, side) if part),
        "Amount": amount and f"{amount} SOL",
        "Simulated": rest.pop("is_simulated", ""),
    }
    about = {"Alert": str(alert.id), "Alert type": alert.alert_type, "Occurrences": str(alert.occurrences)}
    return [[label, text] for facts in (known, rest, about) for label, text in facts.items() if text]


def _event_text(event: AlertEvent) -> str:
    detail = event.detail
    if event.kind == "resolved":
        return _text(detail.get("resolution"))
    if event.kind in ("raised", "repeated"):
        attempts = _text(detail.get("attempts"))
        return ": ".join(part for part in (attempts and f"attempt {attempts}", _text(detail.get("error"))) if part)
    return ""


def _attempts(data: Json) -> str:
    attempts, maximum = _text(data.get("attempts")), _text(data.get("max_attempts"))
    return f"{attempts}/{maximum}" if attempts and maximum else attempts


def _short(address: str) -> str:
    return address if len(address) <= 12 else f"{address[:4]}…{address[-4:]}"


def _text(value: object) -> str:
    """Anything that JSON can hold, as text: the page's numbers would lose digits of large ones."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
