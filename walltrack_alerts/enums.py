"""The enumerations of alerts and events; apart from the models, so that `--help` does not load pydantic."""

from __future__ import annotations

from enum import StrEnum


class AlertSeverity(StrEnum):
    """The severity of an alert. A permanently failed EXIT is critical, an ENTRY high."""

    CRITICAL = "critical"
    HIGH = "high"
    WARNING = "warning"
    INFO = "info"


class AlertStatus(StrEnum):
    """The status of an alert; active and acknowledged alerts are open."""

    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class EventKind(StrEnum):
    """What happened to an alert."""

    RAISED = "raised"
    REPEATED = "repeated"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
