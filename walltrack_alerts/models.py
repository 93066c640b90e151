"""Immutable models of what the database returns; all times are aware and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from walltrack_alerts.enums import AlertSeverity as AlertSeverity  # noqa: PLC0414 - part of the models for others
from walltrack_alerts.enums import AlertStatus as AlertStatus  # noqa: PLC0414 - part of the models for others
from walltrack_alerts.enums import EventKind as EventKind  # noqa: PLC0414 - part of the models for others
from walltrack_alerts.enums import NoticeCode

UtcTime = Annotated[AwareDatetime, AfterValidator(lambda value: value.astimezone(UTC))]


def _storable(text: str) -> str:
    """The text, stripped; characters that a database cannot store (NUL, lone surrogates) become U+FFFD."""
    return text.strip().replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True, extra="ignore")


class Alert(_Row):
    """One row of walltrack.alerts."""

    id: UUID
    alert_type: str
    severity: AlertSeverity
    status: AlertStatus
    title: str
    message: str
    data: dict[str, Any]
    requires_action: bool
    dedupe_key: str | None = None
    created_at: UtcTime
    updated_at: UtcTime
    acknowledged_at: UtcTime | None = None
    acknowledged_by: str | None = None
    resolved_at: UtcTime | None = None
    resolution: str | None = None
    notified_at: UtcTime | None = None
    occurrences: int = 1
    last_seen_at: UtcTime
    resolved_by: str | None = None
    snoozed_until: UtcTime | None = None

    notice: str | None = Field(default=None, exclude=True)
    """The NOTICE of the call that returned this alert, e.g. 'already acknowledged by ada at ...'; for people."""

    notice_code: NoticeCode | None = Field(default=None, exclude=True)
    """The code of that NOTICE, for programs."""

    @property
    def is_active(self) -> bool:
        """Neither acknowledged nor resolved."""
        return self.status is AlertStatus.ACTIVE

    @property
    def is_open(self) -> bool:
        """Active or acknowledged: not resolved."""
        return self.status is not AlertStatus.RESOLVED

    @property
    def is_snoozed(self) -> bool:
        """Whether `snoozed_until` is in the future."""
        return self.snoozed_until is not None and self.snoozed_until > datetime.now(UTC)

    @property
    def age(self) -> timedelta:
        """Time since it was raised; never negative, even if this machine's clock is behind the database's."""
        return max(datetime.now(UTC) - self.created_at, timedelta(0))


class AlertEvent(_Row):
    """One row of walltrack.alert_events."""

    event_id: int
    xid: str
    alert_id: UUID
    kind: EventKind
    actor: str
    at: UtcTime
    detail: dict[str, Any]

    cursor: str | None = None
    """The position after this event; only the event stream fills it and the following fields."""

    alert_type: str | None = None
    title: str | None = None
    requires_action: bool | None = None
    dedupe_key: str | None = None
    order_id: str | None = None

    # Order facts of the alert, for output to people; the JSON of an event leaves them out.
    token: str | None = Field(default=None, exclude=True)
    token_symbol: str | None = Field(default=None, exclude=True)
    side: str | None = Field(default=None, exclude=True)
    is_simulated: bool | None = Field(default=None, exclude=True)


class Notification(BaseModel):
    """The payload of a notification on channel walltrack_alerts, version 1. Texts are clipped; the tables are the truth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal[1]
    event_id: int
    kind: EventKind
    alert_id: UUID
    alert_type: str
    severity: AlertSeverity
    status: AlertStatus
    requires_action: bool
    dedupe_key: str | None
    order_id: str | None
    title: str
    at: AwareDatetime


class SeverityCount(_Row):
    """One row of walltrack.alert_counts: the open alerts of one severity."""

    severity: AlertSeverity
    active: int
    acknowledged: int
    total: int


class AlertCounts(BaseModel):
    """How many alerts are open, per severity and in total."""

    model_config = ConfigDict(frozen=True)

    by_severity: dict[AlertSeverity, SeverityCount]

    @property
    def total(self) -> int:
        """All open alerts."""
        return sum(count.total for count in self.by_severity.values())

    @property
    def active(self) -> int:
        """Open alerts that are not acknowledged."""
        return sum(count.active for count in self.by_severity.values())

    @property
    def critical(self) -> int:
        """The open critical alerts."""
        return self.by_severity[AlertSeverity.CRITICAL].total


class AlertFilter(BaseModel):
    """The alerts that a list shows. Hashable; a field left at its default restricts nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severities: frozenset[AlertSeverity] = frozenset()
    """Empty: every severity."""

    status: Literal["open", "active", "acknowledged", "snoozed", "resolved", "all"] = "open"
    """open: every unresolved alert, the snoozed ones included. active and acknowledged: without the snoozed ones."""

    order_type: Literal["entry", "exit"] | None = None
    simulated: bool | None = None
    """True: only alerts of simulated orders; False: only all others."""

    text: Annotated[str, AfterValidator(_storable)] = ""
    """A text in the token, its symbol, an id, the dedupe key, the error or the title, in any case."""


class AlertPage(BaseModel):
    """One page of a list, and where the next one begins."""

    model_config = ConfigDict(frozen=True)

    alerts: list[Alert]
    """In list order. A page may have fewer alerts than requested, even none, and still have a `next`."""

    next: str | None
    """For get_page(after=...) with the same filter; None after the last page."""


class Summary(BaseModel):
    """Counts of open alerts. All counts except `snoozed` exclude snoozed alerts."""

    model_config = ConfigDict(frozen=True)

    critical: int
    unresolved: int
    waiting: int
    """Active alerts: not acknowledged."""

    acknowledged: int
    snoozed: int
    by_severity: dict[AlertSeverity, int]
    next_wake: UtcTime | None
    """When the next snooze ends, which changes the counts."""


class TimelineEntry(_Row):
    """An event of an alert, or an operator's action on its order."""

    at: UtcTime
    kind: (
        EventKind
        | Literal[
            "order_retried", "order_cancelled",
            "delivered", "delivery_failed", "delivery_dropped", "delivery_cancelled", "delivery_silenced",
        ]
    )  # fmt: skip
    actor: str
    detail: dict[str, Any]
    event_id: int | None = None

    @property
    def escalation(self) -> str:
        """Why an alert was escalated: the reason, the step and its repeat, or the severity that it rose to."""
        detail = self.detail
        if detail.get("reason"):
            return str(detail["reason"])
        if "step" not in detail:
            return str(detail.get("severity") or "")
        return f"step {detail['step']}" + (f", repeat {detail['repeat']}" if detail.get("repeat") else "")


class Check(_Row):
    """One check of alerting itself: its name, its result, the finding and, for a failure, the advice."""

    name: str
    ok: bool | None
    """None where the check does not apply; `advice` is the alternative."""

    found: str
    advice: str = ""
