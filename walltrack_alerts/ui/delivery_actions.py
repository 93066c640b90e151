"""The actions of the view of targets: replay and drop dead letters, end a silence. Each returns one outcome for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import gradio as gr

from walltrack_alerts.service import AlertService
from walltrack_alerts.silences import end_silence
from walltrack_alerts.targets import drop_deliveries, replay_deliveries
from walltrack_alerts.text import counted
from walltrack_alerts.ui import params, sanitize, view
from walltrack_alerts.ui.answers import Refusal, check_actor, encode, nonce_of
from walltrack_alerts.ui.auth.access import Person
from walltrack_alerts.ui.queries import TIMEOUT, Source, log_error, problem_text
from walltrack_alerts.ui.target_view import MOST_DEAD

Change = Callable[[AlertService, list[int], str], Awaitable[str]]
"""Changes deliveries or silences by their ids, under the name of an actor; returns a report for the page."""


class DeliveryActions:
    """The actions of a person. Everything the page sends is checked here, the role included."""

    def __init__(self, source: Source, who: Callable[[gr.Request], Person | None]) -> None:
        self._source = source
        self._who = who
        self.events: dict[str, Callable[[gr.EventData, gr.Request], Awaitable[str]]] = {
            "replay_deliveries": self.replay,
            "drop_deliveries": self.drop,
            "end_silence": self.end_silence,
        }

    async def replay(self, event: gr.EventData, request: gr.Request) -> str:
        """Replay dead letters, with as many attempts as new deliveries."""

        async def change(service: AlertService, ids: list[int], by: str) -> str:
            return f"Replayed: {_counted(await replay_deliveries(service, ids, by))}."

        return await self._act(event, request, change)

    async def drop(self, event: gr.EventData, request: gr.Request) -> str:
        """Drop dead letters."""

        async def change(service: AlertService, ids: list[int], by: str) -> str:
            return f"Dropped: {_counted(await drop_deliveries(service, ids, by))}."

        return await self._act(event, request, change)

    async def end_silence(self, event: gr.EventData, request: gr.Request) -> str:
        """End a silence before its time."""

        async def change(service: AlertService, ids: list[int], by: str) -> str:
            await end_silence(service, ids[0], by)
            return "The silence has ended."

        return await self._act(event, request, change)

    async def _act(self, event: gr.EventData, request: gr.Request, change: Change) -> str:
        by = check_actor(event, self._who(request))
        if isinstance(by, Refusal):
            return _answer(event, by.outcome, by.text, by.identity)
        ids = params.parse_numbers(getattr(event, "ids", None), MOST_DEAD)
        if not ids:
            return _answer(event, "refused", "This is not an id.")
        try:
            async with asyncio.timeout(TIMEOUT):
                report = await change(self._source.service(), ids, by)
        except Exception as error:  # noqa: BLE001 - the page explains every failure
            log_error(error)
            return _answer(event, "failed", sanitize.visible(problem_text(error)))
        return _answer(event, "done", report)


def _counted(number: int) -> str:
    return counted(number, "delivery", "deliveries")


def _answer(event: gr.EventData, outcome: str, text: str, identity: view.Json | None = None) -> str:
    return encode({"nonce": nonce_of(event), "change": {"outcome": outcome, "text": text}, **(identity or {})})
