"""The events of the page: only these know who is logged in. Each answers with what became of every alert it was asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import gradio as gr

from walltrack_alerts.models import Alert
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import asking, texts, view
from walltrack_alerts.ui.access import READ_ONLY, Person
from walltrack_alerts.ui.reading import TIMEOUT, Source, explain, note

AT_ONCE = 4
"""Statements of one bulk action that run side by side: others want connections too."""

Transition = Callable[[AlertService, UUID, str], Awaitable[Alert]]


class Acting:
    """What a person can do. Everything the page sends is checked here, the role too."""

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

    async def identify(self, event: gr.EventData, request: gr.Request) -> str:
        """Tell the page who it acts as, and give it a ticket for the live connection."""
        person = self._who(request)
        if person is None:
            return _answer({"nonce": _nonce(event), "role": "nobody"})
        return _answer(
            {
                "nonce": _nonce(event),
                "user": texts.line(texts.visible(person.name), 100),
                "role": person.role.value,
                "order_actions": self._order_actions,
                **self._live(request),
            }
        )

    async def acknowledge(self, event: gr.EventData, request: gr.Request) -> str:
        """active -> acknowledged."""
        return await self._act(event, request, lambda service, alert_id, by: service.acknowledge_alert(alert_id, by))

    async def resolve(self, event: gr.EventData, request: gr.Request) -> str:
        """active or acknowledged -> resolved, with a note."""
        words = asking.string(getattr(event, "note", None), 2000)
        if not words:
            return _refuse(event, "Write a note first: how did it end?")
        return await self._act(event, request, lambda service, alert_id, by: service.resolve_alert(alert_id, words, by))

    async def snooze(self, event: gr.EventData, request: gr.Request) -> str:
        """Quiet until a time; awake when none is given."""
        asked = getattr(event, "until", None)
        until: datetime | None = asking.time(asked)
        if asked is not None and until is None:
            return _refuse(event, "This is no time to snooze until.")
        return await self._act(event, request, lambda service, alert_id, by: service.snooze_alert(alert_id, until, by))

    async def retry(self, event: gr.EventData, request: gr.Request) -> str:
        """The order of the alert: failed -> pending."""
        return await self._act_on_order(event, request, lambda service, alert_id, by: service.retry_order(alert_id, by))

    async def cancel(self, event: gr.EventData, request: gr.Request) -> str:
        """The order of the alert: pending or failed -> cancelled."""
        reason = asking.string(getattr(event, "note", None), 500) or "Manually cancelled"
        return await self._act_on_order(event, request, lambda service, alert_id, by: service.cancel_order(alert_id, reason, by))

    async def _act_on_order(self, event: gr.EventData, request: gr.Request, transition: Transition) -> str:
        if not self._order_actions:
            return _refuse(event, "Order actions are switched off in this panel.")
        answer = await self._act(event, request, transition, most=1)
        for alert_id in asking.uuids(getattr(event, "ids", None))[:1]:
            self._touch(alert_id)
        return answer

    async def _act(self, event: gr.EventData, request: gr.Request, transition: Transition, most: int = asking.MOST) -> str:
        person = self._who(request)
        if person is None or not person.may_act:
            return _refuse(event, "You are not logged in any more." if person is None else READ_ONLY)
        by = person.name or asking.string(getattr(event, "actor", None))
        if not by:
            return _refuse(event, "Say who you are first.")
        ids = asking.uuids(getattr(event, "ids", None))
        if not ids or len(ids) > most:
            return _refuse(event, "This is no alert id." if not ids else "One order at a time.")
        service, few = self._source.service(), asyncio.Semaphore(AT_ONCE)

        deadline = asyncio.get_running_loop().time() + TIMEOUT

        async def one(alert_id: UUID) -> view.Json:
            return await _one(service, alert_id, by, transition, few, deadline)

        return _answer({"nonce": _nonce(event), "outcomes": await asyncio.gather(*map(one, ids))})


async def _one(
    service: AlertService, alert_id: UUID, by: str, transition: Transition, few: asyncio.Semaphore, deadline: float
) -> view.Json:
    try:
        async with asyncio.timeout_at(deadline), few:  # one for all of them: the page does not wait longer
            alert = await transition(service, alert_id, by)
    except Exception as error:  # noqa: BLE001 - whatever it is, the page says it and nobody sees a traceback
        note(error)
        return {"id": str(alert_id), "outcome": "failed", "text": texts.visible(explain(error))}
    answer = {"id": str(alert_id), "outcome": "done", "text": "", "alert": view.row(alert)}
    if alert.notice is None:
        return answer
    return answer | {"outcome": "late", "text": texts.visible(_notice(alert)), "first": _first(alert)}


def _first(alert: Alert) -> view.Json | None:
    """Who did it before, where the alert tells; the page knows the time zone."""
    if alert.resolved_at is not None:
        return {"did": "resolved", "by": texts.line(texts.text(alert.resolved_by), 100), "at": view.ms(alert.resolved_at)}
    if alert.acknowledged_at is not None and "acknowledged" in str(alert.notice):
        return {
            "did": "acknowledged",
            "by": texts.line(texts.text(alert.acknowledged_by), 100),
            "at": view.ms(alert.acknowledged_at),
        }
    return None


def _notice(alert: Alert) -> str:
    """What the database said."""
    words = str(alert.notice)
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")


def _refuse(event: gr.EventData, text: str) -> str:
    ids = asking.uuids(getattr(event, "ids", None))
    return _answer({"nonce": _nonce(event), "outcomes": [{"id": str(each), "outcome": "refused", "text": text} for each in ids]})


def _nonce(event: gr.EventData) -> str:
    return asking.string(getattr(event, "nonce", None))


def _answer(answer: view.Json) -> str:
    # A string, because Gradio looks into dicts for files to serve; no '<', because it warns of '<script'.
    return json.dumps(answer).replace("<", "\\u003c")
