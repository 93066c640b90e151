"""Alerts for failed trading orders, raised by PostgreSQL itself in the transaction of the order write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walltrack_alerts.enums import AlertSeverity, AlertStatus, EventKind, NoticeCode
from walltrack_alerts.errors import AlertsError

if TYPE_CHECKING:
    from walltrack_alerts.models import Alert, AlertCounts, AlertEvent, AlertFilter, AlertPage, Check, Summary, TimelineEntry
    from walltrack_alerts.service import AlertService

__all__ = [
    "Alert",
    "AlertCounts",
    "AlertEvent",
    "AlertFilter",
    "AlertPage",
    "AlertService",
    "AlertSeverity",
    "AlertStatus",
    "AlertsError",
    "Check",
    "EventKind",
    "NoticeCode",
    "Summary",
    "TimelineEntry",
]


def __getattr__(name: str) -> object:
    """Load the models and the service on first access: `walltrack-alerts --help` needs neither."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{'service' if name == 'AlertService' else 'models'}"), name)
    globals()[name] = value
    return value
