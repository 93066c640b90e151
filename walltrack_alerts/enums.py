"""The enumerations of alerts and events; in a module of their own, so that `--help` does not load pydantic."""

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


class NoticeCode(StrEnum):
    """The SQLSTATE of a NOTICE: a call changed nothing, or more than it was asked to. sql/README.md explains each."""

    ALREADY_ACKNOWLEDGED = "WT101"
    ALREADY_RESOLVED = "WT102"
    SNOOZE_UNCHANGED = "WT103"
    SNOOZE_REPLACED = "WT104"
    NO_OPEN_ALERT = "WT105"
    STAYS_RESOLVED = "WT106"
    TARGET_UNCHANGED = "WT107"
    SILENCE_ENDED = "WT108"


class EventKind(StrEnum):
    """The kind of an event of an alert."""

    RAISED = "raised"
    REPEATED = "repeated"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
