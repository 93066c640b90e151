"""Silences: one statement per function.

Errors are subclasses of AlertsError; InvalidTargetError and UnknownTargetError are the frequent ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from walltrack_alerts.enums import AlertSeverity
from walltrack_alerts.models import UtcTime, _Row
from walltrack_alerts.service import AlertService


class Silence(_Row):
    """One row of walltrack.silences. A matcher that is None matches everything."""

    silence_id: int
    token: str | None = None
    error: str | None = None
    order_type: str | None = None
    severity: AlertSeverity | None = None
    alert_type: str | None = None
    reason: str
    created_by: str
    created_at: UtcTime
    ends_at: UtcTime
    ended_at: UtcTime | None = None
    ended_by: str | None = None

    @property
    def matchers(self) -> dict[str, str]:
        """The matchers that are given, by name."""
        values = self.model_dump(include={"token", "error", "order_type", "severity", "alert_type"}, exclude_none=True)
        return {name: str(value) for name, value in values.items()}


async def read_silences(service: AlertService, *, ended: bool) -> list[Silence]:
    """The active silences, or all of them; the next one to end first."""
    view = "silences" if ended else "active_silences"
    return [Silence(**row) for row in await service.rows(f"select * from walltrack.{view} order by ends_at, silence_id")]  # noqa: S608


async def silences_of(service: AlertService, alert_ids: Sequence[UUID]) -> dict[UUID, Silence]:
    """The silence that mutes each of these alerts now, by the id of the alert; of several the one that ends last."""
    rows = await service.rows(
        "select a.id as alert_id, s.* from walltrack.alerts as a cross join lateral walltrack.silence_of(a) as s "
        "where exists (select from walltrack.active_silences) and a.id = any(cast(:ids as uuid[])) and s.silence_id is not null",
        ids=[str(alert_id) for alert_id in alert_ids],
    )
    return {row["alert_id"]: Silence(**row) for row in rows}


async def add_silence(
    service: AlertService, matchers: Mapping[str, str], reason: str, until: datetime | None, how_long: str | None, by: str
) -> Silence:
    """Mute alerts that match all matchers, until a time or for an interval of PostgreSQL (InvalidTargetError)."""
    rows = await service.rows(
        "select * from walltrack.add_silence(cast(:matchers as jsonb), :reason, "
        "coalesce(cast(:until as timestamptz), now() + cast(:how_long as interval)), :by)",
        matchers=json.dumps(dict(matchers)),
        reason=reason,
        until=until,
        how_long=how_long,
        by=by,
    )
    return Silence(**rows[0])


async def end_silence(service: AlertService, silence_id: int, by: str) -> Silence:
    """End a silence now; events that it muted are not delivered later (UnknownTargetError)."""
    rows = await service.rows("select * from walltrack.end_silence(:id, :by)", id=silence_id, by=by)
    return Silence(**rows[0])
