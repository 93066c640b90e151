"""What the database returns, as immutable models; all times are aware and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from walltrack_alerts.enums import AlertSeverity as AlertSeverity  # noqa: PLC0414 - part of the models for others
from walltrack_alerts.enums import AlertStatus as AlertStatus  # noqa: PLC0414 - part of the models for others
from walltrack_alerts.enums import EventKind as EventKind  # noqa: PLC0414 - part of the models for others

UtcTime = Annotated[AwareDatetime, AfterValidator(lambda value: value.astimezone(UTC))]


def _storable(text: str) -> str:
    """The text without white space around it; what no text of a database can have (NUL, half a character) as U+FFFD."""
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
    """What the database said about the call that returned this alert, e.g. 'already acknowledged by ada at ...'."""

    @property
    def is_active(self) -> bool:
        """Nobody has acknowledged or resolved it yet."""
        return self.status is AlertStatus.ACTIVE

    @property
    def is_open(self) -> bool:
        """Active or acknowledged: not resolved."""
        return self.status is not AlertStatus.RESOLVED

    @property
    def is_snoozed(self) -> bool:
        """Kept quiet until a time that has not come yet."""
        return self.snoozed_until is not None and self.snoozed_until > datetime.now(UTC)

    @property
    def age(self) -> timedelta:
        """Time since it was raised; never negative, also when this machine's clock runs behind the database's."""
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
    """Where to go on after this event; from the event stream only, like what follows."""

    alert_type: str | None = None
    title: str | None = None
    requires_action: bool | None = None
    dedupe_key: str | None = None
    order_id: str | None = None

    # Facts of the order as its alert has them, for people: the JSON of an event is without them.
    token: str | None = Field(default=None, exclude=True)
    token_symbol: str | None = Field(default=None, exclude=True)
    side: str | None = Field(default=None, exclude=True)
    is_simulated: bool | None = Field(default=None, exclude=True)


class Notification(BaseModel):
    """The payload of a notification on channel walltrack_alerts, version 1; its texts are clipped, the tables are the truth."""

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
        """The open alerts nobody has acknowledged."""
        return sum(count.active for count in self.by_severity.values())

    @property
    def critical(self) -> int:
        """The open critical alerts."""
        return self.by_severity[AlertSeverity.CRITICAL].total


class AlertFilter(BaseModel):
    """Which alerts a list shows. Hashable; what it leaves open restricts nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severities: frozenset[AlertSeverity] = frozenset()
    """Empty means all."""

    status: Literal["open", "active", "acknowledged", "snoozed", "resolved", "all"] = "open"
    """open: every unresolved alert, the snoozed ones included. active and acknowledged: without the snoozed ones."""

    order_type: Literal["entry", "exit"] | None = None
    simulated: bool | None = None
    """True: only what is simulated, False: only what is not (or does not say)."""

    text: Annotated[str, AfterValidator(_storable)] = ""
    """Is in the token, its symbol, an id, the dedupe key, the error or the title; upper and lower case are one."""


class AlertPage(BaseModel):
    """One page of a list, and where the next one begins."""

    model_config = ConfigDict(frozen=True)

    alerts: list[Alert]
    """In list order. May be fewer than asked for, even none, while `next` says that the search can go on."""

    next: str | None
    """For get_page(after=...) with the same filter; None when this was the last page."""


class Summary(BaseModel):
    """How many alerts need somebody now. All counts but `snoozed` leave the snoozed ones out."""

    model_config = ConfigDict(frozen=True)

    critical: int
    unresolved: int
    waiting: int
    """Nobody has acknowledged them."""

    acknowledged: int
    snoozed: int
    by_severity: dict[AlertSeverity, int]
    next_wake: UtcTime | None
    """When the next snoozed alert wakes and the counts change by themselves."""


class TimelineEntry(_Row):
    """Something that happened to an alert, or that an operator did to its order."""

    at: UtcTime
    kind: EventKind | Literal["order_retried", "order_cancelled"]
    actor: str
    detail: dict[str, Any]
    event_id: int | None = None


class Check(_Row):
    """One finding about alerting itself: what was looked at, whether it is well, what was seen and, if it is ill, what to do."""

    name: str
    ok: bool | None
    """None where it is not possible here; `advice` is what to do instead."""

    found: str
    advice: str = ""
