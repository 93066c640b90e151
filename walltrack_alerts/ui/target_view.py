"""Targets, dead letters and silences for the page: plain text and numbers, without the settings of targets."""

from __future__ import annotations

from datetime import datetime

from walltrack_alerts.service import AlertService
from walltrack_alerts.silences import Silence, read_silences
from walltrack_alerts.targets import Delivery, TargetState, relay_state, target_states, undelivered
from walltrack_alerts.text import short_address
from walltrack_alerts.ui import sanitize, view

MOST_DEAD = 200
"""Dead letters in one answer, the oldest first."""

MATCHERS = {"order_type": "order type", "alert_type": "alert type"}


async def read_targets(service: AlertService) -> view.Json:
    """The data of the view of targets."""
    states = await target_states(service)
    dead = await undelivered(service, dead=True, target=None, limit=MOST_DEAD)
    relays = await relay_state(service)
    return {
        "targets": [_target(state) for state in states],
        "dead": [_dead(delivery) for delivery in dead],
        "deadCount": sum(state.dead for state in states),
        "silences": [_silence(silence) for silence in await read_silences(service, ended=False)],
        "relays": relays.running,
        "relaySeen": _ms(relays.seen_at),
    }


def _target(state: TargetState) -> view.Json:
    """One target; `failing` is the last error of an undelivered event."""
    return {
        "name": state.name,
        "kind": state.kind,
        "address": _line(state.address, 200),
        "severity": state.min_severity.value,
        "step": state.step,
        "enabled": state.is_enabled,
        "disabled": _ms(state.disabled_at),
        "reason": _line(state.disabled_reason, 300),
        "success": _ms(state.last_success_at),
        "pending": state.pending,
        "oldest": _ms(state.oldest_pending_at),
        "unread": state.unread,
        "dead": state.dead,
        "failure": _ms(state.last_failure_at),
        "isFailing": state.is_failing,
        "response": _response(state.last_status, state.last_response),
    }


def _dead(delivery: Delivery) -> view.Json:
    return {
        "id": delivery.delivery_id,
        "target": delivery.target,
        "alert": str(delivery.alert_id),
        "severity": "" if delivery.severity is None else delivery.severity.value,
        "title": ": ".join(filter(None, (short_address(_line(delivery.token, 60)), _line(delivery.title, 300)))),
        "event": delivery.kind or "",
        "attempts": delivery.attempts,
        "tried": _ms(delivery.tried_at),
        "response": _response(delivery.last_status, delivery.last_response),
    }


def _silence(silence: Silence) -> view.Json:
    """`matches` are pairs of a matcher and its value."""
    return {
        "id": silence.silence_id,
        "matches": [[MATCHERS.get(name, name), _line(value, 200)] for name, value in silence.matchers.items()],
        "reason": _line(silence.reason, 500),
        "by": _line(silence.created_by, 100),
        "until": view.to_epoch_ms(silence.ends_at),
    }


def _response(status: int | None, response: str | None) -> str:
    """The status and the text of a response, e.g. '502 Bad Gateway'. The relay has removed secrets from it."""
    text = _line(response, 500)
    if status is None or text.startswith(str(status)):
        return text
    return f"{status} {text}".strip()


def _line(text: str | None, longest: int) -> str:
    return sanitize.line(sanitize.text(text), longest)


def _ms(at: datetime | None) -> int | None:
    return None if at is None else view.to_epoch_ms(at)
