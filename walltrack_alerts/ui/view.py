"""Alerts for the page: plain text and numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from walltrack_alerts.models import Alert, AlertSeverity, Summary, TimelineEntry
from walltrack_alerts.silences import Silence
from walltrack_alerts.text import short_address
from walltrack_alerts.ui import sanitize

Json = dict[str, Any]

LONGEST = 120_000
"""Characters of a text in the detail. Errors come from outside, and a browser renders every character."""

_RANK = {severity: rank for rank, severity in enumerate(AlertSeverity)}


def alert_row(alert: Alert, silence: Silence | None = None) -> Json:
    """One alert as the list shows it, with the silence that mutes it."""
    data = alert.data
    kind = sanitize.line(sanitize.text(data.get("order_type")), 20).lower()
    token = sanitize.text(data.get("token"))
    symbol = sanitize.line(sanitize.text(data.get("token_symbol")), 40)
    amount = sanitize.line(sanitize.number(data.get("amount_sol")), 30)
    return {
        "id": str(alert.id),
        "place": _place(alert),
        "severity": alert.severity.value,
        "status": alert.status.value,
        "by": sanitize.line(sanitize.text(alert.resolved_by or alert.acknowledged_by), 60),
        "snoozed": None if alert.snoozed_until is None or not alert.is_open else to_epoch_ms(alert.snoozed_until),
        "silenced": None if silence is None else _silence(silence),
        "title": sanitize.line(sanitize.text(alert.title)),
        "token": symbol or short_address(sanitize.line(token, 60)),
        "address": short_address(sanitize.line(token, 60)),
        "kind": kind,
        "side": sanitize.line(sanitize.text(data.get("side")), 12).lower(),
        "error": sanitize.line(sanitize.text(data.get("error"))),
        "message": sanitize.line(sanitize.text(alert.message)),
        "amount": amount and f"{amount} SOL",
        "attempts": _attempts(data),
        "occurrences": alert.occurrences,
        "simulated": data.get("is_simulated") is True,
        "created": to_epoch_ms(alert.created_at),
        "resolved": None if alert.resolved_at is None else to_epoch_ms(alert.resolved_at),
    }


def ringing_row(alert: Alert) -> Json:
    """One alert that sounds, and since when."""
    return alert_row(alert) | {"rings": rings_since(alert)}


def rings_since(alert: Alert) -> int:
    """When an alert was raised, failed again, became worse or woke, microseconds since 1970; the newest of these."""
    return max(_us(at) for at in (alert.created_at, alert.notified_at, alert.snoozed_until) if at is not None)


def alert_detail(alert: Alert, timeline: list[TimelineEntry], order: Json | None, silence: Silence | None = None) -> Json:
    """One alert with everything known about it; the newest entry of the timeline first."""
    return alert_row(alert, silence) | {
        "text": sanitize.clipped(sanitize.text(alert.message), LONGEST),
        "resolution": sanitize.clipped(sanitize.text(alert.resolution), LONGEST),
        "address": sanitize.address(alert.data.get("token")),
        "hasOrder": "order_id" in alert.data,
        "order": order,
        "facts": _facts(alert),
        "json": sanitize.clipped(sanitize.pretty(alert.data), LONGEST),
        "timeline": [
            {
                "kind": entry.kind.replace("_", " "),
                "actor": sanitize.line(sanitize.text(entry.actor), 100),
                "at": to_epoch_ms(entry.at),
                "text": sanitize.clipped(_entry(entry), 4000),
                "until": _until(entry),
                "status": _status(entry),
                "inDigest": entry.detail.get("digest") is True,
            }
            for entry in reversed(timeline)
        ],
    }


def tile_counts(numbers: Summary, median_seconds: float | None) -> Json:
    """The numbers of the tiles; all but `snoozed` leave the snoozed ones out."""
    return {
        "critical": numbers.critical,
        "unresolved": numbers.unresolved,
        "waiting": numbers.waiting,
        "acknowledged": numbers.acknowledged,
        "snoozed": numbers.snoozed,
        "severities": {severity.value: numbers.by_severity.get(severity, 0) for severity in AlertSeverity},
        "nextWake": None if numbers.next_wake is None else to_epoch_ms(numbers.next_wake),
        "median": median_seconds,
    }


def epoch_ms_now() -> int:
    """Milliseconds since 1970, so that the page can tell how far its own clock is off."""
    return to_epoch_ms(datetime.now(UTC))


def to_epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970."""
    return int(at.timestamp() * 1000)


def _place(alert: Alert) -> list[int]:
    """The sort key of the alert in a list; ids break ties. Microseconds since 1970 fit a JavaScript number."""
    if alert.resolved_at is not None:
        return [1, 0, -_us(alert.resolved_at)]
    return [0, _RANK[alert.severity], _us(alert.created_at)]


def _us(at: datetime) -> int:
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _facts(alert: Alert) -> list[list[str]]:
    """Labels and texts, what matters most on top; other kinds of alerts bring keys of their own."""
    data = alert.data | ({"amount_sol": sanitize.number(alert.data["amount_sol"])} if "amount_sol" in alert.data else {})
    rest = {
        sanitize.line(sanitize.visible(key), 60): sanitize.clipped(sanitize.text(value), LONGEST) for key, value in data.items()
    }
    attempts, maximum = rest.pop("attempts", ""), rest.pop("max_attempts", "")
    kind, side, amount = rest.pop("order_type", ""), rest.pop("side", ""), rest.pop("amount_sol", "")
    known = {
        "Error": rest.pop("error", ""),
        "At stake": amount and f"{amount} SOL",
        "Attempts": f"{attempts} of {maximum}" if attempts and maximum else attempts,
        "Type": ", ".join(part for part in (kind, side) if part),
        "Symbol": rest.pop("token_symbol", ""),
        "Token": rest.pop("token", ""),
        "Order": rest.pop("order_id", ""),
        "Position": rest.pop("position_id", ""),
        "Simulated": rest.pop("is_simulated", ""),
    }
    about = {
        "Alert": str(alert.id),
        "Alert type": sanitize.line(sanitize.text(alert.alert_type), 200),
        "Occurrences": str(alert.occurrences) if alert.occurrences > 1 else "",
    }
    return [[label, fact] for facts in (known, rest, about) for label, fact in facts.items() if fact]


def _entry(entry: TimelineEntry) -> str:
    """The text of a timeline entry."""
    detail = entry.detail
    attempts, error = sanitize.text(detail.get("attempts")), sanitize.text(detail.get("error"))
    if entry.kind == "resolved":
        return sanitize.text(detail.get("resolution"))
    if entry.kind in ("raised", "repeated"):
        return ": ".join(part for part in (attempts and f"attempt {attempts}", error) if part)
    if entry.kind == "escalated":
        return sanitize.text(entry.escalation)
    return _delivery(entry, attempts) or sanitize.text(detail.get("reason"))


def _delivery(entry: TimelineEntry, attempts: str) -> str:
    """The text of a timeline entry of a delivery; empty for other entries."""
    if entry.kind == "delivered" and attempts not in ("", "1"):
        return f"at attempt {attempts}"
    if entry.kind == "delivery_failed":
        return f"{attempts} attempts; last response: {sanitize.text(entry.detail.get('response')) or 'none'}"
    if entry.kind == "delivery_dropped":
        return f"by {sanitize.line(sanitize.text(entry.detail.get('dropped_by')), 100)}"
    return ""


def _until(entry: TimelineEntry) -> int | None:
    """When a snooze ends; 0 for one that was ended; None where there is no snooze."""
    if entry.kind != "snoozed":
        return None
    until = entry.detail.get("snoozed_until")
    try:
        return to_epoch_ms(datetime.fromisoformat(until)) if isinstance(until, str) else 0
    except ValueError:
        return 0


def _status(entry: TimelineEntry) -> int | None:
    """The HTTP status of the response that ended a delivery."""
    status = entry.detail.get("status")
    return status if isinstance(status, int) else None


def _silence(silence: Silence) -> Json:
    return {
        "until": to_epoch_ms(silence.ends_at),
        "by": sanitize.line(sanitize.text(silence.created_by), 100),
        "reason": sanitize.clipped(sanitize.text(silence.reason), 500),
    }


def _attempts(data: Json) -> str:
    attempts, maximum = (sanitize.line(sanitize.text(data.get(key)), 12) for key in ("attempts", "max_attempts"))
    return f"{attempts}/{maximum}" if attempts and maximum else attempts
