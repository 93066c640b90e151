"""A test event for one target, sent from this process. It is not recorded in the database."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from walltrack_alerts.errors import AlertsError
from walltrack_alerts.relay.placeholders import MissingVariableError, missing_variables
from walltrack_alerts.service import AlertService
from walltrack_alerts.targets import target_config, target_state


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a test event: the outcome, the HTTP status, the response without secrets, the duration in seconds."""

    outcome: str
    status: int | None
    response: str
    seconds: float

    @property
    def is_delivered(self) -> bool:
        """Whether the target has received the event."""
        return self.outcome == "delivered"


async def send_trial(service: AlertService, name: str, *, panel_url: str | None, write: Callable[[str], None]) -> Trial:
    """Send a test event over the channel of a target (UnknownTargetError, MissingVariableError). `write` is its terminal."""
    try:
        from walltrack_alerts.relay.channels import Claim, Context, Target, attempt
        from walltrack_alerts.relay.http import HttpClient
    except ModuleNotFoundError as error:
        raise AlertsError(f"{error.name} is missing\nInstall the extra: pip install 'walltrack-alerts[relay]'") from error

    state = await target_state(service, name)
    config = await target_config(service, state.target_id)
    if missing := missing_variables(config, os.environ):
        raise MissingVariableError(missing, "The test runs in this process: set here what the relay has in its environment.")
    target = Target(state.target_id, state.name, state.kind, config)
    async with HttpClient() as http:
        began = time.monotonic()
        result = await attempt(Claim(0, target, (), item=item_for(state.name)), Context(http, os.environ, panel_url, write))
        return Trial(result.outcome, result.status, result.response, time.monotonic() - began)


def item_for(name: str) -> dict[str, Any]:
    """The item of a claim for an event of kind 'test', about an alert that does not exist."""
    now = datetime.now(UTC).isoformat()
    alert = {
        "id": str(uuid.uuid4()), "alert_type": "test", "severity": "info", "status": "active",
        "title": f"Test of target {name}", "message": "This is a test: nothing has happened, and there is nothing to do.",
        "data": {}, "requires_action": False, "dedupe_key": None, "created_at": now, "updated_at": now, "acknowledged_at": None,
        "acknowledged_by": None, "resolved_at": None, "resolved_by": None, "resolution": None, "occurrences": 1,
        "snoozed_until": None,
    }  # fmt: skip
    event = {"event_id": 0, "kind": "test", "actor": "system", "at": now, "detail": {"severity": "info"}}
    return {
        "event": event,
        "alert": alert,
        "attempt": 1,
        "webhook_id": f"test_{uuid.uuid4().hex}",
        "message": None,
        "is_edit": False,
    }
