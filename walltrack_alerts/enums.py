"""The fixed words of alerts and their events. Apart from the models, so that `--help` need not load pydantic."""

from __future__ import annotations

from enum import StrEnum


class AlertSeverity(StrEnum):
    """How bad it is. An EXIT that failed for good is critical, an ENTRY high."""

    CRITICAL = "critical"
    HIGH = "high"
    WARNING = "warning"
    INFO = "info"


class AlertStatus(StrEnum):
    """Where an alert is in its life; active and acknowledged ones are open."""

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
