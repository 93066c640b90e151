"""The server functions of the page. They only read, are not queued, and return every failure as a text.

They answer with JSON as a string: FastAPI would look at every value of an object, which costs more than reading it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import gradio as gr

from walltrack_alerts.errors import AlertNotFoundError, AlertsError, DatabaseUnavailableError, InvalidCursorError
from walltrack_alerts.models import Alert, Summary
from walltrack_alerts.relay.targets import Silence, silences_of
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import params, view
from walltrack_alerts.ui.charts import read_charts
from walltrack_alerts.ui.order_view import order
from walltrack_alerts.ui.single_flight import SingleFlight
from walltrack_alerts.ui.target_view import read_targets

FIRST, MOST = 100, 500
"""Rows of the first page of a list, and of any page."""

TIMEOUT = 10
"""Seconds until a database that does not answer counts as unreachable."""

_MEDIAN_SECONDS = 5.0  # how old the median, which is not cheap, may be while the other numbers stay as they are

log = logging.getLogger(__name__)


class Source:
    """The service to ask; made where it is used, because its connections belong to one event loop, and closed with that loop."""

    def __init__(self, service_or_dsn: AlertService | str) -> None:
        self._given = service_or_dsn
        self._made: tuple[asyncio.AbstractEventLoop, AlertService] | None = None
        self._end: asyncio.Task[None] | None = None

    def service(self) -> AlertService:
        """The one given, or one of this loop's own."""
        if isinstance(self._given, AlertService):
            return self._given
        loop = asyncio.get_running_loop()
        if self._made is None or self._made[0] is not loop:
            self._made = loop, AlertService.from_url(self._given)
            self._end = loop.create_task(_close_in_the_end(self._made[1]), name="walltrack_alerts service")
        return self._made[1]


async def _close_in_the_end(service: AlertService) -> None:
    """The end of a loop cancels its tasks, this one included."""
    async with service:
        await asyncio.Event().wait()


class Queries:
    """What the page can ask for; `knows` says whether the person behind a request may look.

    Gradio marks the functions themselves, which bound methods do not allow, and puts them beside its own attributes:
    their names must not be any of these.
    """

    def __init__(self, source: Source, knows: Callable[[gr.Request | None], bool] = lambda _: True) -> None:
        self._source = source
        self._knows = knows
        self._flights = SingleFlight()
        self._problem: str | None = None
        self._median: tuple[float, tuple[int, ...], float | None] | None = None

        async def known(_asked: object) -> str:
            """That this is the panel which made the page: another one would not find what the page asks for."""
            return "{}"

        async def snapshot(asked: object, request: gr.Request | None = None) -> str:
            """The tiles, the first page of the list, and those of some ids that are in the list beyond it."""
            return await self._text(asked, request, self._snapshot)

        async def read_page(asked: object, request: gr.Request | None = None) -> str:
            """A further page of the list."""
            return await self._text(asked, request, self._page)

        async def detail(asked: object, request: gr.Request | None = None) -> str:
            """Everything about one alert, its order as it is now included."""
            return await self._text(asked, request, self._detail)

        async def health(asked: object, request: gr.Request | None = None) -> str:
            """The failed checks of alerting itself."""
            return await self._text(asked, request, self._health)

        async def charts(asked: object, request: gr.Request | None = None) -> str:
            """What the charts show."""
            return await self._text(asked, request, self._charts)

        async def targets(asked: object, request: gr.Request | None = None) -> str:
            """The targets, the dead letters and the silences."""
            return await self._text(asked, request, self._targets)

        self.functions: list[Callable[..., Awaitable[str]]] = [known, snapshot, read_page, detail, health, charts, targets]

    async def _text(self, asked: object, request: gr.Request | None, read: Callable[[view.Json], Awaitable[view.Json]]) -> str:
        if not self._knows(request):
            return json.dumps({"problem": "You are not logged in"})
        mapping = params.mapping(asked)

        async def text() -> str:
            return json.dumps(await self._answer(lambda: read(mapping)), separators=(",", ":"))

        return await self._flights.get(f"{read.__name__} {json.dumps(mapping, sort_keys=True)}", text)

    async def _snapshot(self, asked: view.Json) -> view.Json:
        service = self._source.service()
        which = params.alert_filter(asked.get("filter"))
        # The numbers first: an alert raised in between is in the list at once, in the tiles at the next turn.
        numbers = await self.counts()
        first = await service.get_page(which, limit=params.number(asked.get("limit"), FIRST, MOST))
        ids = params.uuids(asked.get("ids"))[: params.MOST]
        changed = await service.get_changed(which, ids) if ids else []
        calling, since = await self._calling(numbers["critical"])
        muted = await self._silences_of([*first.alerts, *changed])
        return {
            "now": view.now(),
            "counts": numbers,
            "alerts": [view.row(alert, muted.get(alert.id)) for alert in first.alerts],
            "next": first.next,
            "changed": [view.row(alert, muted.get(alert.id)) for alert in changed],
            "calling": [view.calling(alert) for alert in calling],
            "callingSince": since,
        }

    async def counts(self) -> view.Json:
        """The numbers of the tiles, and when they were read, ms since 1970."""
        at = view.now()
        numbers = await self._source.service().get_summary()
        return view.summary(numbers, await self._median_seconds(numbers)) | {"at": at}

    async def _silences_of(self, alerts: list[Alert]) -> dict[UUID, Silence]:
        """The silences of the open ones among these alerts."""
        ids = [alert.id for alert in alerts if alert.is_open]
        return await silences_of(self._source.service(), ids) if ids else {}

    async def _calling(self, critical: int) -> tuple[list[Alert], int]:
        """What sounds, whatever the list shows, and since when all of them are here: the newest of many, else all since ever."""
        if not critical:
            return [], 0
        found = await self._source.service().get_calling(FIRST)
        return found, 0 if len(found) < FIRST else view.calls_since(found[-1])

    async def _median_seconds(self, numbers: Summary) -> float | None:
        now, moved_by = time.monotonic(), (numbers.acknowledged, numbers.waiting, numbers.unresolved)
        if self._median is None or now - self._median[0] > _MEDIAN_SECONDS or moved_by != self._median[1]:
            self._median = now, moved_by, await self._source.service().get_median_seconds_to_acknowledge()
        return self._median[2]

    async def _page(self, asked: view.Json) -> view.Json:
        which, limit = params.alert_filter(asked.get("filter")), params.number(asked.get("limit"), 1, MOST)
        after = params.string(asked.get("after"), 200) or None
        try:
            found = await self._source.service().get_page(which, after, limit)
        except InvalidCursorError:
            found = await self._source.service().get_page(which, limit=limit)
        muted = await self._silences_of(found.alerts)
        return {"alerts": [view.row(alert, muted.get(alert.id)) for alert in found.alerts], "next": found.next}

    async def _detail(self, asked: view.Json) -> view.Json:
        alert_id = params.uuid(asked.get("id"))
        if alert_id is None:
            return {"gone": True}
        service = self._source.service()
        try:
            alert = await service.get_alert(alert_id)
        except AlertNotFoundError:
            return {"id": str(alert_id), "gone": True}
        timeline = await service.get_timeline(alert_id)
        row = await service.get_order(alert_id) if "order_id" in alert.data else None
        muted = await self._silences_of([alert])
        return view.detail(alert, timeline, None if row is None else order(row), muted.get(alert_id))

    async def _charts(self, asked: view.Json) -> view.Json:
        return await read_charts(self._source.service(), asked.get("days"), asked.get("timezone"))

    async def _targets(self, _asked: view.Json) -> view.Json:
        return await read_targets(self._source.service())

    async def _health(self, _asked: view.Json) -> view.Json:
        checks = await self._source.service().get_health()
        return {"ill": [{"name": each.name, "found": each.found, "advice": each.advice} for each in checks if each.ok is False]}

    async def _answer(self, read: Callable[[], Awaitable[view.Json]]) -> view.Json:
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await read()
        except Exception as error:  # noqa: BLE001 - the page explains every failure
            problem = explain(error)
            if problem != self._problem:  # once, not at every turn
                self._problem = problem
                note(error)
            return {"unreachable": is_away(error), "problem": problem}
        if self._problem is not None:
            self._problem = None
            log.warning("the panel reaches its database again")
        return answer


def is_away(error: Exception) -> bool:
    """Whether the error means that the database does not respond."""
    return isinstance(error, DatabaseUnavailableError | TimeoutError)


def explain(error: Exception) -> str:
    """The text for the page. A server's own text may name hosts and users and stays in the log."""
    if isinstance(error, DatabaseUnavailableError):
        return "The database cannot be reached. Check the status before you try again."
    if isinstance(error, TimeoutError):
        return f"The database did not respond within {TIMEOUT} s. Check the status before you try again."
    if isinstance(error, AlertsError):
        return str(error)
    return "Something unexpected went wrong; the log of the panel's server has the details."


def note(error: Exception) -> None:
    """Log an error, with a traceback when it is unexpected."""
    expected = isinstance(error, AlertsError | TimeoutError)
    log.warning("%s", str(error) or explain(error), exc_info=None if expected else error)
