"""Alerts with a past, inserted as rows, for the charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from tests.support.bot import Bot


def past_alert(
    bot: Bot,
    severity: str,
    hours_ago: float,
    *,
    acknowledged_after: float | None = None,
    resolved_after: float | None = None,
    **data: Any,
) -> None:
    """An alert raised some hours ago, and the minutes until it was acknowledged and resolved (None: it was not)."""
    created = datetime.now(UTC) - timedelta(hours=hours_ago)
    acknowledged, resolved = (
        None if after is None else created + timedelta(minutes=after) for after in (acknowledged_after, resolved_after)
    )
    bot.execute(
        "insert into walltrack.alerts (alert_type, severity, status, title, data, created_at, updated_at, last_seen_at, "
        "acknowledged_at, acknowledged_by, resolved_at, resolved_by, resolution) values ('order_failed_permanently', "
        "%(severity)s, %(status)s, 'EXIT Order Failed - Manual Action Required', %(data)s, %(created)s, %(created)s, "
        "%(created)s, %(acknowledged)s, %(ada)s, %(resolved)s, %(system)s, %(resolution)s)",
        {
            "severity": severity,
            "status": "resolved" if resolved else "acknowledged" if acknowledged else "active",
            "data": Jsonb(data),
            "created": created,
            "acknowledged": acknowledged,
            "ada": acknowledged and "ada",
            "resolved": resolved,
            "system": resolved and "system",
            "resolution": resolved and "Order filled",
        },
    )
