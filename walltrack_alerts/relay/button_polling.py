"""Receives button presses and replies from Telegram by long polling: no port is open, and one relay polls for each bot."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from walltrack_alerts.errors import AlertsError, DatabaseBusyError, DatabaseUnavailableError
from walltrack_alerts.relay.bot_api import BotApi, BotApiError
from walltrack_alerts.relay.buttons import Answers, Bot
from walltrack_alerts.relay.channels import Context, Target
from walltrack_alerts.relay.http import SendError, Timeouts

log = logging.getLogger(__name__)

RELOAD_SECONDS = 15.0  # between two looks at the targets
DUTY_SECONDS = 60.0  # after the last renewal, another relay may poll for the bot
POLL_SECONDS = 20  # Telegram holds the call until something happens, or so long
_UPDATES = 20  # at most per call
_LONGEST_ANSWER = 4_000_000  # bytes; an update repeats its message with all entities
_RETRIES = (0.5, 1, 2, 4)  # seconds between attempts to reach the database while the user waits
_BACKOFF = (1, 2, 5, 15, 30, 60)  # seconds between calls that fail
_CONFLICT = 409
_DATABASE_AWAY = "The database does not answer. Press again in a minute, or use the panel."


class ButtonDatabase(Answers, Protocol):
    """What the poller needs of the database."""

    async def telegram_targets(self) -> Sequence[Target]:
        """The enabled targets of kind telegram (AlertsError)."""

    async def take_duty(self, duty: str, seconds: float) -> bool:
        """Whether this relay has a duty, for so long from now on (AlertsError)."""


class ButtonPoller:
    """Polls for all bots that have a target with an allow-list. The updates of bots without one are left to other programs."""

    def __init__(self, database: ButtonDatabase, context: Context) -> None:
        self._database = database
        self._context = context
        self._pollers: dict[str, _BotPoller] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Poll until cancelled; then the updates that were handled are confirmed."""
        try:
            while True:
                with suppress(AlertsError):  # the database is away: the bots that are known go on
                    self._apply(await self._database.telegram_targets())
                await asyncio.sleep(RELOAD_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _apply(self, targets: Sequence[Target]) -> None:
        """Start, change and stop the pollers of single bots."""
        bots: dict[str, dict[int, Target]] = defaultdict(dict)
        apis: dict[str, BotApi] = {}
        for target in targets:
            if not target.config.get("allow"):
                continue
            try:
                api = BotApi.of(target.config, self._context.http, self._context.environ)
            except AlertsError:
                continue  # each delivery of the target says so
            duty = _duty(api)
            apis[duty] = api
            bots[duty][target.target_id] = target
        for duty in self._tasks.keys() - bots.keys():
            self._tasks.pop(duty).cancel()
            del self._pollers[duty]
        for duty, of_bot in bots.items():
            if duty in self._tasks and not self._tasks[duty].done():
                self._pollers[duty].targets.clear()
                self._pollers[duty].targets.update(of_bot)
                continue
            self._pollers[duty] = _BotPoller(duty, apis[duty], of_bot, self._database)
            self._tasks[duty] = asyncio.create_task(self._pollers[duty].run(), name=duty)


class _BotPoller:
    """Polls for one bot."""

    def __init__(self, duty: str, api: BotApi, targets: dict[int, Target], database: ButtonDatabase) -> None:
        self.targets = targets
        self._duty = duty
        self._api = api
        self._database = database
        self._bot = Bot(api, targets, self)
        self._offset: int | None = None
        self._had_duty = False

    async def run(self) -> None:
        """Poll while this relay has the duty, until cancelled."""
        failures = 0
        try:
            while True:
                if not await self._has_duty():
                    self._offset = None  # the relay that has the duty confirms what it handles
                    await asyncio.sleep(DUTY_SECONDS / 6)
                    continue
                try:
                    await self._poll()
                    failures = 0
                except (BotApiError, SendError) as error:
                    delay = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
                    failures += 1
                    await asyncio.sleep(self._explain(error, delay))
        finally:
            if self._offset is not None:
                with suppress(BotApiError, SendError):
                    await self._get_updates(0, limit=1, timeouts=Timeouts(lookup=2, connect=2, read=2, total=3))

    async def answer_message(self, target_id: int, reference: str, action: str, user: str, detail: str | None) -> tuple[str, str]:
        """Answers.answer_message(), tried for some seconds; then the user learns that it failed."""
        for delay in (*_RETRIES, None):
            try:
                return await self._database.answer_message(target_id, reference, action, user, detail)
            except (DatabaseUnavailableError, DatabaseBusyError):
                if delay is not None:
                    await asyncio.sleep(delay)
            except AlertsError as error:
                log.warning("%s: an answer failed: %s", self._duty, error)
                return "failed", "It failed. Use the panel."
        log.warning("%s: an answer was not stored, because the database does not answer", self._duty)
        return "failed", _DATABASE_AWAY

    async def _poll(self) -> None:
        """Wait for updates and handle them. The next call confirms them, so that a crash before it loses none."""
        updates = await self._get_updates(
            POLL_SECONDS, limit=_UPDATES, timeouts=Timeouts(read=POLL_SECONDS + 10, total=POLL_SECONDS + 15)
        )
        await asyncio.gather(*(self._handle(update) for update in updates))
        self._offset = max((update["update_id"] + 1 for update in updates), default=self._offset)

    async def _handle(self, update: Mapping[str, Any]) -> None:
        """Handle one update. One that cannot be handled must not come back for ever."""
        try:
            await self._bot.handle(update)
        except Exception as error:  # noqa: BLE001 - an update may hold anything
            log.warning("%s: an update could not be handled: %s", self._duty, type(error).__name__)

    async def _get_updates(self, seconds: int, *, limit: int, timeouts: Timeouts) -> list[Mapping[str, Any]]:
        params: dict[str, Any] = {"timeout": seconds, "limit": limit, "allowed_updates": ["callback_query", "message"]}
        params |= {} if self._offset is None else {"offset": self._offset}
        updates = await self._api.call("getUpdates", params, timeouts=timeouts, limit=_LONGEST_ANSWER)
        return [update for update in updates or [] if isinstance(update, Mapping) and isinstance(update.get("update_id"), int)]

    async def _has_duty(self) -> bool:
        """Whether this relay polls. While the database is away no other relay can begin, so the one that polls goes on."""
        with suppress(AlertsError):
            self._had_duty = await self._database.take_duty(self._duty, DUTY_SECONDS)
        return self._had_duty

    def _explain(self, error: BotApiError | SendError, delay: float) -> float:
        """Say what is wrong with the calls; the seconds to wait."""
        if isinstance(error, BotApiError) and error.code == _CONFLICT:
            log.warning("%s: another program receives the updates of this bot, so buttons do not work: %s", self._duty, error)
        else:
            log.warning("%s: no updates: %s", self._duty, error)
        retry_after = error.retry_after if isinstance(error, BotApiError) else None
        return max(delay, retry_after or 0)


def _duty(api: BotApi) -> str:
    return f"buttons of bot {api.bot_id or '?'} ({api.fingerprint})"
