"""Targets, their deliveries and the relays: one statement per function.

Errors are subclasses of AlertsError; InvalidTargetError and UnknownTargetError are the frequent ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from typing import Any
from uuid import UUID

from walltrack_alerts.enums import AlertSeverity, EventKind
from walltrack_alerts.errors import UnknownTargetError
from walltrack_alerts.models import UtcTime, _Row
from walltrack_alerts.service import AlertService


class TargetState(_Row):
    """A target: one row of walltrack.target_states with its filters."""

    target_id: int
    name: str
    kind: str
    address: str
    """Where it sends to, without anything that may be secret."""

    min_severity: AlertSeverity
    kinds: list[EventKind] | None = None
    order_types: list[str] | None = None
    tokens: list[str] | None = None
    alert_types: list[str] | None = None
    include_simulated: bool = False
    quiet_from: time | None = None
    quiet_until: time | None = None
    quiet_zone: str | None = None
    step: int = 0
    is_enabled: bool
    disabled_at: UtcTime | None = None
    disabled_reason: str | None = None
    created_at: UtcTime
    created_by: str | None = None
    changed_at: UtcTime | None = None
    changed_by: str | None = None
    pending: int
    dead: int
    oldest_pending_at: UtcTime | None = None
    last_success_at: UtcTime | None = None
    last_failure_at: UtcTime | None = None
    last_status: int | None = None
    last_response: str | None = None
    unread: int = 0
    """Events that the relay has not read for this target; at most 10,000 are counted."""

    @property
    def quiet_hours(self) -> str | None:
        """'22:00-07:00 Europe/Berlin', or None."""
        if self.quiet_from is None or self.quiet_until is None:
            return None
        return f"{self.quiet_from:%H:%M}-{self.quiet_until:%H:%M} {self.quiet_zone}"

    @property
    def is_failing(self) -> bool:
        """Whether its last attempt failed and the event is still undelivered."""
        return self.last_failure_at is not None and (self.last_success_at is None or self.last_failure_at > self.last_success_at)


class Delivery(_Row):
    """One row of walltrack.undelivered: what has not arrived, and why."""

    delivery_id: int
    target: str
    event_id: int
    kind: EventKind | None = None
    alert_id: UUID
    severity: AlertSeverity | None = None
    title: str | None = None
    token: str | None = None
    """The symbol of the alert's token, else its address."""

    state: str
    attempts: int
    due_at: UtcTime
    last_status: int | None = None
    last_response: str | None = None
    tried_at: UtcTime | None = None
    created_at: UtcTime
    reason: str


class RelayState(_Row):
    """Whether relays run."""

    running: int
    """Relays seen within the last two minutes, as in health()."""

    seen_at: UtcTime | None = None
    """When the last one was seen."""


_STATES = """
select s.*, s.target as name, t.kinds, t.order_types, t.tokens, t.alert_types, t.include_simulated, t.quiet_from, t.quiet_until,
  t.quiet_zone, t.changed_at, t.changed_by
from walltrack.target_states as s
inner join walltrack.notification_targets as t on t.target_id = s.target_id
"""


async def add_target(
    service: AlertService,
    name: str,
    kind: str,
    config: Mapping[str, Any],
    filters: Mapping[str, Any],
    since: datetime | None,
    by: str,
) -> TargetState:
    """Add a target, from now on or from the events at and after `since` (InvalidTargetError, nothing changed)."""
    rows = await service.rows(
        "select name from walltrack.add_target("
        ":name, :kind, cast(:config as jsonb), cast(:filters as jsonb), cast(:since as timestamptz), :by)",
        name=name,
        kind=kind,
        config=json.dumps(config),
        filters=json.dumps(filters),
        since=since,
        by=by,
    )
    return await target_state(service, rows[0]["name"])


async def set_target(
    service: AlertService, target: TargetState, config: Mapping[str, Any], filters: Mapping[str, Any], by: str
) -> TargetState:
    """Change the given settings and filters of a target; None removes a filter (InvalidTargetError, nothing changed)."""
    await service.rows(
        "select walltrack.set_target(:name, cast(:config as jsonb), cast(:filters as jsonb), :by)",
        name=target.name,
        config=json.dumps(config),
        filters=json.dumps(filters),
        by=by,
    )
    return await target_state(service, target.name)


async def target_states(service: AlertService) -> list[TargetState]:
    """All targets by name."""
    return [TargetState(**row) for row in await service.rows(_STATES + "order by s.target")]


async def target_state(service: AlertService, name: str) -> TargetState:
    """One target (UnknownTargetError)."""
    rows = await service.rows(_STATES + "where s.target = lower(btrim(:name))", name=name)
    if not rows:
        raise UnknownTargetError(f"there is no target {name!r}\n`walltrack-alerts targets list` shows them all.")
    return TargetState(**rows[0])


async def target_config(service: AlertService, target_id: int) -> dict[str, Any]:
    """The settings of a target, with placeholders; only the schema owner and the relay may read them."""
    rows = await service.rows("select config from walltrack.notification_targets where target_id = :id", id=target_id)
    config: dict[str, Any] = rows[0]["config"] if rows else {}
    return config


async def disable_target(service: AlertService, name: str, reason: str, by: str) -> TargetState:
    """Deliver nothing to a target until it is enabled again (UnknownTargetError)."""
    await service.rows("select walltrack.disable_target(:name, :reason, :by)", name=name, reason=reason, by=by)
    return await target_state(service, name)


async def enable_target(service: AlertService, name: str, since: datetime | None) -> TargetState:
    """Deliver to a target again, from now on or from the events at and after `since` (UnknownTargetError)."""
    await service.rows("select walltrack.enable_target(:name, cast(:since as timestamptz))", name=name, since=since)
    return await target_state(service, name)


async def remove_target(service: AlertService, name: str) -> None:
    """Remove a target with its deliveries, the delivered ones included (UnknownTargetError)."""
    await service.rows("select walltrack.remove_target(:name)", name=name)


async def undelivered(service: AlertService, *, dead: bool, target: str | None, limit: int | None) -> list[Delivery]:
    """Undelivered events, oldest first; with `dead`, only dead letters (UnknownTargetError)."""
    rows = await service.rows(
        "select u.*, coalesce(nullif(a.data ->> 'token_symbol', ''), a.data ->> 'token') as token "
        "from walltrack.undelivered as u left join walltrack.alerts as a on a.id = u.alert_id "
        "where (u.state = 'dead' or not :dead) and (cast(:target as text) is null or u.target = lower(btrim(:target))) "
        "order by u.delivery_id limit :limit",
        dead=dead,
        target=target,
        limit=limit,
    )
    if target is not None and not rows:
        await target_state(service, target)
    return [Delivery(**row) for row in rows]


async def relay_state(service: AlertService) -> RelayState:
    """How many relays run, and when the last one was seen."""
    rows = await service.rows(
        "select count(*) filter (where walltrack.is_relay_running(seen_at)) as running, max(seen_at) as seen_at "
        "from walltrack.relays"
    )
    return RelayState(**rows[0])


async def replay_deliveries(service: AlertService, ids: Sequence[int], by: str) -> int:
    """Replay dead letters, with as many attempts as new deliveries; returns how many (UnknownTargetError, nothing changed)."""
    return await _count(service, "select walltrack.replay_deliveries(cast(:ids as bigint[]), :by) as done", ids, by)


async def drop_deliveries(service: AlertService, ids: Sequence[int], by: str) -> int:
    """Drop dead letters; returns how many (UnknownTargetError, nothing changed)."""
    return await _count(service, "select walltrack.drop_deliveries(cast(:ids as bigint[]), :by) as done", ids, by)


async def _count(service: AlertService, statement: str, ids: Sequence[int], by: str) -> int:
    """How many deliveries a statement has changed."""
    rows = await service.rows(statement, ids=list(ids), by=by)
    done: int = rows[0]["done"]
    return done
