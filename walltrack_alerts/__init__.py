"""Database-native alerting for trading systems on PostgreSQL: the order write itself raises the alarm."""

from walltrack_alerts.errors import AlertsError
from walltrack_alerts.models import (
    Alert,
    AlertCounts,
    AlertEvent,
    AlertFilter,
    AlertPage,
    AlertSeverity,
    AlertStatus,
    Check,
    EventKind,
    Summary,
    TimelineEntry,
)
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
    "Summary",
    "TimelineEntry",
]
