"""The actions of the page: acknowledge, resolve, snooze, retry, cancel. Each returns one outcome per alert."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import gradio as gr

from walltrack_alerts.enums import NoticeCode
from walltrack_alerts.errors import AlertsError
from walltrack_alerts.models import Alert
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import params, sanitize, view
from walltrack_alerts.ui.answers import Refusal, check_actor, encode, nonce_of
from walltrack_alerts.ui.auth.access import Person
from walltrack_alerts.ui.queries import TIMEOUT, Source, is_database_unavailable, log_error, problem_text

AT_ONCE = 4
"""Concurrent statements of one bulk action; other pages need connections too."""

BATCH = 50
"""Alerts that one statement changes. It locks them for some 20 ms, and order writes wait for a locked alert 200 ms at most."""

Transition = Callable[[AlertService, UUID, str], Awaitable[view.Json]]
"""Changes one alert under a name and returns the outcome."""

BulkTransition = Callable[[AlertService, list[UUID], str], Awaitable[list[Alert]]]
"""Changes those of several alerts that need no message, and returns them."""


class Actions:
    """The actions of a person. Everything the page sends is checked here, the role included."""

    def __init__(
        self,
        source: Source,
        who: Callable[[gr.Request], Person | None],
        live: Callable[[gr.Request], view.Json],
        touch: Callable[[UUID], None],
        *,
        order_actions: bool,
    ) -> None:
        self._source = source
        self._who = who
        self._live = live
        self._touch = touch
        self._order_actions = order_actions
        self.events: dict[str, Callable[[gr.EventData, gr.Request], Awaitable[str]]] = {
            "identify": self.identify,
            "acknowledge": self.acknowledge,
            "resolve": self.resolve,
            "snooze": self.snooze,
            "retry": self.retry,
            "cancel": self.cancel,
        }

    async def identify(self, event: gr.EventData, request: gr.Request) -> str:
        """Answer with the name and role that the page acts under, and a ticket for the live connection."""
        person = self._who(request)
        if person is None:
            return encode({"nonce": nonce_of(event), "role": "anonymous"})
        return encode(
            {
                "nonce": nonce_of(event),
                "user": sanitize.line(sanitize.visible(person.name), 100),
                "role": person.role.value,
                "order_actions": self._order_actions,
                **self._live(request),
            }
        )

    async def acknowledge(self, event: gr.EventData, request: gr.Request) -> str:
        """active -> acknowledged."""

        async def transition(service: AlertService, alert_id: UUID, by: str) -> view.Json:
            alert = await service.acknowledge_alert(alert_id, by)
            if alert.notice_code != NoticeCode.ALREADY_ACKNOWLEDGED or alert.acknowledged_by == by:
                return _done(alert)
            return _late(alert, "acknowledged", alert.acknowledged_by, alert.acknowledged_at)

        return await self._act(event, request, transition, lambda service, ids, by: service.acknowledge_alerts(ids, by))

    async def resolve(self, event: gr.EventData, request: gr.Request) -> str:
        """active or acknowledged -> resolved, with a note."""
        words = params.parse_string(getattr(event, "note", None), 2000)
        if not words:
            return _refuse(event, Refusal("Enter a resolution note first."))

        async def transition(service: AlertService, alert_id: UUID, by: str) -> view.Json:
            alert = await service.resolve_alert(alert_id, words, by)
            if alert.notice_code != NoticeCode.ALREADY_RESOLVED or (alert.resolved_by, alert.resolution) == (by, words):
                return _done(alert)
            return _late(alert, "resolved", alert.resolved_by, alert.resolved_at)

        return await self._act(event, request, transition, lambda service, ids, by: service.resolve_alerts(ids, words, by))

    async def snooze(self, event: gr.EventData, request: gr.Request) -> str:
        """Quiet until a time; awake when none is given."""
        asked = getattr(event, "until", None)
        until: datetime | None = params.parse_time(asked)
        if asked is not None and until is None:
            return _refuse(event, Refusal("An alert cannot be snoozed until that time."))

        async def transition(service: AlertService, alert_id: UUID, by: str) -> view.Json:
            alert = await service.snooze_alert(alert_id, until, by)
            return _done(alert, f"{alert.notice}." if alert.notice_code == NoticeCode.SNOOZE_REPLACED else "")

        return await self._act(event, request, transition, lambda service, ids, by: service.snooze_alerts(ids, until, by))

    async def retry(self, event: gr.EventData, request: gr.Request) -> str:
        """The order of the alert: failed -> pending."""

        async def transition(service: AlertService, alert_id: UUID, by: str) -> view.Json:
            return _done(await service.retry_order(alert_id, by))

        return await self._act_on_order(event, request, transition)

    async def cancel(self, event: gr.EventData, request: gr.Request) -> str:
        """The order of the alert: pending or failed -> cancelled."""
        reason = params.parse_string(getattr(event, "note", None), 500) or "Manually cancelled"

        async def transition(service: AlertService, alert_id: UUID, by: str) -> view.Json:
            return _done(await service.cancel_order(alert_id, reason, by))

        return await self._act_on_order(event, request, transition)

    async def _act_on_order(self, event: gr.EventData, request: gr.Request, transition: Transition) -> str:
        if not self._order_actions:
            return _refuse(event, Refusal("Order actions are disabled in this panel."))
        answer = await self._act(event, request, transition, most=1)
        for alert_id in params.parse_uuids(getattr(event, "ids", None))[:1]:
            self._touch(alert_id)
        return answer

    async def _act(
        self,
        event: gr.EventData,
        request: gr.Request,
        transition: Transition,
        bulk: BulkTransition | None = None,
        most: int = params.MOST,
    ) -> str:
        by = check_actor(event, self._who(request))
        if isinstance(by, Refusal):
            return _refuse(event, by)
        ids = params.parse_uuids(getattr(event, "ids", None))
        if not ids or len(ids) > most:
            text = f"At most {most} at a time, these are {len(ids)}." if ids else "This is not an alert id."
            return _refuse(event, Refusal(text))
        return encode({"nonce": nonce_of(event), "outcomes": await self._outcomes(ids, by, transition, bulk)})

    async def _outcomes(self, ids: list[UUID], by: str, transition: Transition, bulk: BulkTransition | None) -> list[view.Json]:
        """One outcome per alert, in the order of the ids."""
        service, few = self._source.service(), asyncio.Semaphore(AT_ONCE)
        deadline = asyncio.get_running_loop().time() + TIMEOUT  # one for all of them: the page does not wait longer
        done: dict[UUID, view.Json] = {}
        if bulk is not None and len(ids) > 1:
            with contextlib.suppress(AlertsError, TimeoutError):  # then each alert gets an outcome of its own
                async with asyncio.timeout_at(deadline):
                    for start in range(0, len(ids), BATCH):
                        changed = await bulk(service, ids[start : start + BATCH], by)
                        done |= {alert.id: _done(alert) for alert in changed}

        async def outcome(alert_id: UUID) -> view.Json:
            if alert_id in done:
                return {"id": str(alert_id)} | done[alert_id]
            try:
                async with asyncio.timeout_at(deadline), few:
                    found = await transition(service, alert_id, by)
            except Exception as error:  # noqa: BLE001 - the page explains every failure
                log_error(error)
                found = {
                    "outcome": "failed",
                    "text": sanitize.visible(problem_text(error)),
                    "away": is_database_unavailable(error),
                }
            return {"id": str(alert_id)} | found

        return await asyncio.gather(*map(outcome, ids))


def _done(alert: Alert, text: str = "") -> view.Json:
    return {"outcome": "done", "text": sanitize.visible(text), "alert": view.alert_row(alert)}


def _late(alert: Alert, did: str, by: str | None, at: datetime | None) -> view.Json:
    """Another person was first; the page formats the time in its own zone."""
    first = {"did": did, "by": sanitize.line(sanitize.text(by), 100), "at": None if at is None else view.to_epoch_ms(at)}
    return {"outcome": "late", "text": "", "alert": view.alert_row(alert), "first": first}


def _refuse(event: gr.EventData, refusal: Refusal) -> str:
    ids = params.parse_uuids(getattr(event, "ids", None))
    outcomes = [{"id": str(each), "outcome": refusal.outcome, "text": refusal.text} for each in ids]
    return encode({"nonce": nonce_of(event), "outcomes": outcomes, **refusal.identity})
