"""create_alerts_panel(): one gr.HTML whose page script asks for snapshots and sends what a person does.

Reading goes through a server function: it is not queued, shows no progress and fails silently, so the script
itself can say that the database or the server is away. Acting goes through events: only these know who is
logged in. Whatever strangers wrote travels as JSON and is placed with textContent; no template ever sees it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from importlib import resources
from uuid import UUID

import gradio as gr

from walltrack_alerts.errors import AlertNotFoundError, AlertsError, DatabaseUnavailableError
from walltrack_alerts.models import Alert, AlertSeverity
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import view

LIMIT = 200
"""Rows in the list. Critical ones come first, so what is left out is the least urgent."""

TIMEOUT = 10
"""Seconds until a database that does not answer counts as unreachable."""

_FILES = resources.files("walltrack_alerts.ui")

log = logging.getLogger(__name__)


def create_alerts_panel(
    service_or_dsn: AlertService | str,
    *,
    operator: str | None = None,
    refresh_seconds: float = 2.0,
    elem_id: str = "alerts-panel",
) -> gr.Blocks:
    """Make the panel, inside another app's gr.Blocks, gr.Tab, ... or to be launched or mounted by itself.

    Who acts is the user logged in to the app, else `operator`, else the name asked for in the page. For a
    libpq connection string the panel makes a service of its own; one that is given must not be in use on
    another event loop than the server's. Two panels on one page need different `elem_id`s.
    """
    actions = _Actions(_Source(service_or_dsn), (operator or "").strip())
    blocks = gr.Blocks(title="Alerts", fill_width=True)
    with blocks:
        page = gr.HTML(
            value="",
            html_template="<div></div>",  # constant: the script fills it and Gradio never touches it again
            js_on_load=_script(),
            apply_default_css=False,
            elem_id=elem_id,
            server_functions=[actions.snapshot],
            style=(_FILES / "panel.css").read_text(encoding="utf-8"),
            panel_id=elem_id,
            refresh_ms=max(int(refresh_seconds * 1000), 200),
        )
        for event, action in (
            (page.identify, actions.identify),
            (page.acknowledge, actions.acknowledge),
            (page.resolve, actions.resolve),
        ):
            event(
                action,
                outputs=page,
                queue=False,  # a click never waits for somebody else's
                trigger_mode="multiple",
                show_progress="hidden",
                api_visibility="private",
            )
    return blocks


def _script() -> str:
    """The files of js/ as one function body, in the order of their names."""
    pieces = [file for file in (_FILES / "js").iterdir() if file.name.endswith(".js")]
    return "".join(file.read_text(encoding="utf-8") for file in sorted(pieces, key=lambda file: file.name))


class _Source:
    """The service to ask; made where it is used, because its connections belong to one event loop."""

    def __init__(self, service_or_dsn: AlertService | str) -> None:
        self._given = service_or_dsn
        self._made: tuple[asyncio.AbstractEventLoop, AlertService] | None = None

    def service(self) -> AlertService:
        if isinstance(self._given, AlertService):
            return self._given
        loop = asyncio.get_running_loop()
        if self._made is None or self._made[0] is not loop:
            self._made = loop, AlertService.from_url(self._given)
        return self._made[1]


class _Actions:
    """What the page can ask for. Everything it sends is checked here; every failure becomes a text."""

    def __init__(self, source: _Source, operator: str) -> None:
        self._source = source
        self._operator = operator
        self._problem: str | None = None

        # Gradio marks the function itself as callable from the page, which a bound method does not allow.
        async def snapshot(asked: object) -> view.Json:
            """The list, the numbers and the selected alert; or what is wrong."""
            return await self._snapshot(asked if isinstance(asked, dict) else {})

        self.snapshot = snapshot

    async def identify(self, request: gr.Request) -> str:
        """Tell the page whether it has to ask for a name."""
        return _answer({"user": self._actor("", request)})

    async def acknowledge(self, event: gr.EventData, request: gr.Request) -> str:
        """active -> acknowledged."""
        return await self._act(
            event,
            request,
            "Acknowledged.",
            lambda service, alert_id, actor: service.acknowledge_alert(alert_id, actor),
        )

    async def resolve(self, event: gr.EventData, request: gr.Request) -> str:
        """active or acknowledged -> resolved, with a note."""
        note = _string(event, "note")
        if not note:
            return _answer(_outcome(event, "refused", "Write a note first: how did it end?"))
        return await self._act(
            event,
            request,
            "Resolved.",
            lambda service, alert_id, actor: service.resolve_alert(alert_id, note, actor),
        )

    async def _act(
        self,
        event: gr.EventData,
        request: gr.Request,
        success: str,
        transition: Callable[[AlertService, UUID, str], Awaitable[Alert]],
    ) -> str:
        actor = self._actor(_string(event, "actor"), request)
        if not actor:
            return _answer(_outcome(event, "refused", "Say who you are first."))
        try:
            alert_id = UUID(_string(event, "alert_id"))
        except ValueError:
            return _answer(_outcome(event, "refused", "This is no alert id."))
        try:
            async with asyncio.timeout(TIMEOUT):
                alert = await transition(self._source.service(), alert_id, actor)
        except Exception as error:  # noqa: BLE001 - whatever it is, the page says it and nobody sees a traceback
            _log(error)
            return _answer(_outcome(event, "failed", _explain(error)))
        if alert.notice is not None:
            return _answer(_outcome(event, "late", _who_was_first(alert)))
        return _answer(_outcome(event, "done", success))

    def _actor(self, named: str, request: gr.Request) -> str:
        """The login wins: nobody who has one can act under another name."""
        return str(request.username or "") or self._operator or named

    async def _snapshot(self, asked: view.Json) -> view.Json:
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self._read(_severity(asked.get("severity")), _uuid(asked.get("selected")))
        except Exception as error:  # noqa: BLE001 - as above
            problem = _explain(error)
            if problem != self._problem:  # once, not at every turn
                self._problem = problem
                _log(error)
            return {
                "unreachable": isinstance(error, DatabaseUnavailableError | TimeoutError),
                "problem": problem,
            }
        if self._problem is not None:
            self._problem = None
            log.warning("the panel has its database again")
        return answer

    async def _read(self, severity: AlertSeverity | None, selected: UUID | None) -> view.Json:
        service = self._source.service()
        # The numbers first: an alert raised in between is in the list at once, in the badge at the next turn.
        numbers = await service.get_active_count()
        alerts = await service.get_active_alerts(severity, limit=LIMIT)
        chosen = None
        if selected is not None:
            try:
                chosen = view.detail(await service.get_alert(selected), await service.get_events(selected))
            except AlertNotFoundError:
                chosen = {"id": str(selected), "gone": True}
        return {
            "now": view.now(),
            "severity": severity,
            "counts": view.counts(numbers),
            "alerts": [view.row(alert) for alert in alerts],
            "selected": chosen,
        }


def _explain(error: Exception) -> str:
    """What a person is told. A server's own words may name hosts and users: these are for the log."""
    if isinstance(error, DatabaseUnavailableError):
        return "The database cannot be reached. Look at the status before you try again."
    if isinstance(error, TimeoutError):
        return f"The database did not answer within {TIMEOUT} s. Look at the status before you try again."
    if isinstance(error, AlertsError):
        return str(error)
    return "Something unexpected went wrong; the log of the panel's server has the details."


def _log(error: Exception) -> None:
    expected = isinstance(error, AlertsError | TimeoutError)
    log.warning("%s", str(error) or _explain(error), exc_info=None if expected else error)


def _who_was_first(alert: Alert) -> str:
    if alert.resolved_at is not None:
        return f"Somebody was faster: resolved by {alert.resolved_by}, {alert.resolved_at:%H:%M:%S} UTC."
    if alert.acknowledged_at is not None:
        who, at = alert.acknowledged_by, alert.acknowledged_at
        return f"Somebody was faster: acknowledged by {who}, {at:%H:%M:%S} UTC."
    return str(alert.notice)


def _outcome(event: gr.EventData, outcome: str, text: str) -> view.Json:
    """The answer to one click; the page knows by the nonce to which."""
    return {
        "nonce": _string(event, "nonce"),
        "alert_id": _string(event, "alert_id"),
        "outcome": outcome,
        "text": text,
    }


def _answer(answer: view.Json) -> str:
    # A string, because Gradio looks into dicts for files to serve; no '<', because it warns of '<script'.
    return json.dumps(answer).replace("<", "\\u003c")


def _string(event: gr.EventData, name: str) -> str:
    value = getattr(event, name, None)
    return value.strip() if isinstance(value, str) else ""


def _severity(value: object) -> AlertSeverity | None:
    return next((severity for severity in AlertSeverity if severity.value == value), None)


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
