"""Escalation steps: one statement per function.

Errors are subclasses of AlertsError; InvalidTargetError and UnknownTargetError are the frequent ones.
"""

from __future__ import annotations

from datetime import timedelta

from walltrack_alerts.enums import AlertSeverity, AlertStatus
from walltrack_alerts.errors import UnknownTargetError
from walltrack_alerts.models import _Row
from walltrack_alerts.service import AlertService


class EscalationStep(_Row):
    """One row of walltrack.escalation_steps: events 'escalated' for alerts of a severity that stay in a status."""

    severity: AlertSeverity
    status: AlertStatus
    step: int
    after: timedelta
    repeat_every: timedelta | None = None
    repeats: int = 0


async def escalation_steps(service: AlertService) -> list[EscalationStep]:
    """All steps: critical first, active before acknowledged, in their order."""
    rows = await service.rows(
        "select * from walltrack.escalation_steps order by walltrack.severity_rank(severity), status desc, step"
    )
    return [EscalationStep(**row) for row in rows]


async def escalation_step(service: AlertService, severity: str, status: str, step: int) -> EscalationStep:
    """One step (UnknownTargetError)."""
    for found in await escalation_steps(service):
        if (found.severity, found.status, found.step) == (severity, status, step):
            return found
    raise UnknownTargetError(
        f"there is no step {step} of {severity} alerts that are {status}\n`walltrack-alerts escalation list` shows all steps."
    )


async def set_escalation_step(
    service: AlertService, severity: str, status: str, step: int, after: str, every: str | None, repeats: int
) -> EscalationStep:
    """Add or change a step; `after` and `every` are intervals of PostgreSQL (InvalidTargetError)."""
    rows = await service.rows(
        "select * from walltrack.set_escalation_step("
        ":severity, :status, :step, cast(:after as interval), cast(:every as interval), :repeats)",
        severity=str(severity),
        status=status,
        step=step,
        after=after,
        every=every,
        repeats=repeats,
    )
    return EscalationStep(**rows[0])


async def remove_escalation_step(service: AlertService, severity: str, status: str, step: int) -> None:
    """Remove a step (UnknownTargetError)."""
    await service.rows(
        "select walltrack.remove_escalation_step(:severity, :status, :step)", severity=str(severity), status=status, step=step
    )
