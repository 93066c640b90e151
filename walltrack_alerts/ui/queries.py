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
from walltrack_alerts.service import AlertService
from walltrack_alerts.silences import Silence, silences_of
from walltrack_alerts.ui import params, view
from walltrack_alerts.ui.answers import UNEXPECTED
from walltrack_alerts.ui.charts import read_charts
from walltrack_alerts.ui.order_view import order_facts
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
    """What the page can ask for; `knows` returns whether a request comes from a person who may read alerts.

    Gradio marks the functions themselves, which bound methods do not allow, and puts them beside its own attributes:
    their names must not be any of these.
    """

    def __init__(self, source: Source, knows: Callable[[gr.Request | None], bool] = lambda _: True) -> None:
        self._source = source
        self._knows = knows
        self._flights = SingleFlight()
        self._problem: str | None = None
        self._median: tuple[float, tuple[int, ...], float | None] | None = None

        async def ping(_asked: object) -> str:
            """Confirm that this panel made the page; another one would not know the functions that the page calls."""
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

        self.functions: list[Callable[..., Awaitable[str]]] = [ping, snapshot, read_page, detail, health, charts, targets]

    async def _text(self, asked: object, request: gr.Request | None, read: Callable[[view.Json], Awaitable[view.Json]]) -> str:
        if not self._knows(request):
            return json.dumps({"problem": "You are not logged in"})
        mapping = params.parse_mapping(asked)

        async def text() -> str:
            return json.dumps(await self._answer(lambda: read(mapping)), separators=(",", ":"))

        return await self._flights.get(f"{read.__name__} {json.dumps(mapping, sort_keys=True)}", text)

    async def _snapshot(self, asked: view.Json) -> view.Json:
        service = self._source.service()
        which = params.parse_filter(asked.get("filter"))
        # The numbers first: an alert raised in between is in the list at once, in the tiles at the next turn.
        numbers = await self.counts()
        first = await service.get_page(which, limit=params.parse_number(asked.get("limit"), FIRST, MOST))
        ids = params.parse_uuids(asked.get("ids"))[: params.MOST]
        changed = await service.get_changed(which, ids) if ids else []
        ringing, since = await self._ringing_alerts(numbers["critical"])
        muted = await self._silences_of([*first.alerts, *changed])
        return {
            "now": view.epoch_ms_now(),
            "counts": numbers,
            "alerts": [view.alert_row(alert, muted.get(alert.id)) for alert in first.alerts],
            "next": first.next,
            "changed": [view.alert_row(alert, muted.get(alert.id)) for alert in changed],
            "ringing": [view.ringing_row(alert) for alert in ringing],
            "ringingSince": since,
        }

    async def counts(self) -> view.Json:
        """The numbers of the tiles, and when they were read, ms since 1970."""
        at = view.epoch_ms_now()
        numbers = await self._source.service().get_summary()
        return view.tile_counts(numbers, await self._median_seconds(numbers)) | {"at": at}

    async def _silences_of(self, alerts: list[Alert]) -> dict[UUID, Silence]:
        """The silences of the open ones among these alerts."""
        ids = [alert.id for alert in alerts if alert.is_open]
        return await silences_of(self._source.service(), ids) if ids else {}

    async def _ringing_alerts(self, critical: int) -> tuple[list[Alert], int]:
        """The ringing alerts, independent of the list's filter, and the time (µs since 1970) from which they are complete.

        0 means all.
        """
        if not critical:
            return [], 0
        found = await self._source.service().get_ringing_alerts(FIRST)
        return found, 0 if len(found) < FIRST else view.rings_since(found[-1])

    async def _median_seconds(self, numbers: Summary) -> float | None:
        now, moved_by = time.monotonic(), (numbers.acknowledged, numbers.waiting, numbers.unresolved)
        if self._median is None or now - self._median[0] > _MEDIAN_SECONDS or moved_by != self._median[1]:
            self._median = now, moved_by, await self._source.service().get_median_seconds_to_acknowledge()
        return self._median[2]

    async def _page(self, asked: view.Json) -> view.Json:
        which, limit = params.parse_filter(asked.get("filter")), params.parse_number(asked.get("limit"), 1, MOST)
        after = params.parse_string(asked.get("after"), 200) or None
        try:
            found = await self._source.service().get_page(which, after, limit)
        except InvalidCursorError:
            found = await self._source.service().get_page(which, limit=limit)
        muted = await self._silences_of(found.alerts)
        return {"alerts": [view.alert_row(alert, muted.get(alert.id)) for alert in found.alerts], "next": found.next}

    async def _detail(self, asked: view.Json) -> view.Json:
        alert_id = params.parse_uuid(asked.get("id"))
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
        return view.alert_detail(alert, timeline, None if row is None else order_facts(row), muted.get(alert_id))

    async def _charts(self, asked: view.Json) -> view.Json:
        return await read_charts(self._source.service(), asked.get("days"), asked.get("timezone"))

    async def _targets(self, _asked: view.Json) -> view.Json:
        return await read_targets(self._source.service())

    async def _health(self, _asked: view.Json) -> view.Json:
        checks = await self._source.service().get_health()
        return {
            "failedChecks": [
                {"name": each.name, "found": each.found, "advice": each.advice} for each in checks if each.ok is False
            ]
        }

    async def _answer(self, read: Callable[[], Awaitable[view.Json]]) -> view.Json:
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await read()
        except Exception as error:  # noqa: BLE001 - the page explains every failure
            problem = problem_text(error)
            if problem != self._problem:  # once, not at every turn
                self._problem = problem
                log_error(error)
            return {"unreachable": is_database_unavailable(error), "problem": problem}
        if self._problem is not None:
            self._problem = None
            log.warning("the panel reaches its database again")
        return answer


def is_database_unavailable(error: Exception) -> bool:
    """Whether the error means that the database does not respond."""
    return isinstance(error, DatabaseUnavailableError | TimeoutError)


def problem_text(error: Exception) -> str:
    """The text for the page. A server's own text may name hosts and users and stays in the log."""
    if isinstance(error, DatabaseUnavailableError):
        return "The database cannot be reached. Check the status before you try again."
    if isinstance(error, TimeoutError):
        return f"The database did not respond within {TIMEOUT} s. Check the status before you try again."
    if isinstance(error, AlertsError):
        return str(error)
    return UNEXPECTED


def log_error(error: Exception) -> None:
    """Log an error, with a traceback when it is unexpected."""
    expected = isinstance(error, AlertsError | TimeoutError)
    log.warning("%s", str(error) or problem_text(error), exc_info=None if expected else error)
