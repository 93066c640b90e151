"""A model of orders and their alerts: the rules R1 to R7."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True)
class Order:
    """The five columns that alerting watches."""

    order_type: str
    status: str
    attempt_count: int
    max_attempts: int
    last_error: str | None

    @property
    def exhausted(self) -> bool:
        return 0 < self.attempt_count >= self.max_attempts

    @property
    def state(self) -> str:
        return self.status.lower()

    @property
    def outcome(self) -> str:
        """Filled orders and those a person cancelled need no operator; exhausted ones do (R1, R4, R5)."""
        if self.state == "cancelled" and self.exhausted and gave_up(self.last_error):
            return "exhausted"
        if self.state in {"filled", "cancelled"}:
            return self.state
        return "exhausted" if self.exhausted else "open"


@dataclass(frozen=True)
class Alert:
    """One alert and the kinds of its events."""

    severity: str
    attempts: int
    error: str | None
    status: str = "active"
    occurrences: int = 1
    acknowledged_by: str | None = None
    resolution: str | None = None
    resolved_by: str | None = None
    snoozed_until: datetime | None = None
    events: tuple[str, ...] = ("raised",)

    def acknowledged(self, by: str) -> Alert:
        return replace(self, status="acknowledged", acknowledged_by=by, events=(*self.events, "acknowledged"))

    def snoozed(self, until: datetime | None) -> Alert:
        """Snoozing again until the same time changes nothing."""
        if until == self.snoozed_until:
            return self
        return replace(self, snoozed_until=until, events=(*self.events, "snoozed"))

    def resolved(self, resolution: str, by: str) -> Alert:
        return replace(
            self, status="resolved", resolution=resolution, resolved_by=by, snoozed_until=None, events=(*self.events, "resolved")
        )

    def seen(self, severity: str, attempts: int, error: str | None, counts: bool) -> Alert:
        """R3: a further failure counts, any other write only refreshes; a rising severity reactivates and wakes the alert."""
        alert = replace(self, severity=severity, attempts=attempts, error=error)
        if counts:
            alert = replace(alert, occurrences=self.occurrences + 1, events=(*alert.events, "repeated"))
        if (self.severity, severity) == ("high", "critical"):
            alert = replace(alert, status="active", acknowledged_by=None, snoozed_until=None, events=(*alert.events, "escalated"))
        return alert


@dataclass(frozen=True)
class Life:
    """An order (None once deleted), its alerts, and whether a manual resolve holds (R6)."""

    order: Order | None = None
    alerts: tuple[Alert, ...] = ()
    held: bool = False

    @property
    def open(self) -> Alert | None:
        return self.alerts[-1] if self.alerts and self.alerts[-1].status != "resolved" else None

    def with_newest(self, alert: Alert) -> Life:
        return replace(self, alerts=(*self.alerts[:-1], alert))

    def settled(self, resolution: str) -> Life:
        """R4: a resolve by the system holds nothing."""
        return replace(self.with_newest(self.open.resolved(resolution, "system")), held=False) if self.open else self

    def resolved_by_hand(self, resolution: str, by: str) -> Life:
        return replace(self.with_newest(self.open.resolved(resolution, by)), held=True) if self.open else self

    def written(self, new: Order | None) -> Life:
        """Apply a write of the order to its alerts."""
        old = self.order
        if new is None:
            return replace(self.settled("Order deleted"), order=None)
        if new == old:
            return self
        counts = old is None or new.attempt_count > old.attempt_count or (new.state == "failed" != old.state)
        still = old is not None and old.exhausted  # an order that becomes exhausted anew alerts anew
        life = replace(self, order=new, held=self.held and still and not counts)
        if new.outcome == "filled" or (new.outcome == "cancelled" and (old is None or old.state != "cancelled")):
            return life.settled(f"Order {new.outcome}")
        held = life.held and new.attempt_count <= life.alerts[-1].attempts
        edited = new.outcome == "cancelled" and new.exhausted  # was cancelled before: no person decided, no attempt was made
        if not new.exhausted or (not life.open and (held or edited)):
            return life
        counts = counts and not edited
        known = [real(new.last_error), life.open and life.open.error, old and real(old.last_error), new.last_error]
        error = next((text for text in known if text and text.strip()), None)
        severity = "high" if new.order_type.lower() == "entry" else "critical"
        if life.open:
            return life.with_newest(life.open.seen(severity, new.attempt_count, error, counts))
        return replace(life, alerts=(*life.alerts, Alert(severity, new.attempt_count, error)), held=False)

    def reconciled(self) -> Life:
        """No write was missed, so there is nothing to heal."""
        return self


def gave_up(error: str | None) -> bool:
    """Whether the retry worker wrote the error, so that it does not say why the order failed (R5)."""
    return (error or "").startswith("Max retries reached")


def real(error: str | None) -> str | None:
    """The error, if it says why the order failed."""
    return None if gave_up(error) else error
