"""Receives button presses and replies from Telegram by long polling. One relay at a time polls for each bot."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

from walltrack_alerts.errors import AlertsError, DatabaseBusyError, DatabaseUnavailableError
from walltrack_alerts.relay import queries
from walltrack_alerts.relay.bot_api import BotApi, BotApiError
from walltrack_alerts.relay.buttons import Bot
from walltrack_alerts.relay.channels import Context, Target
from walltrack_alerts.relay.http import SendError, Timeouts
from walltrack_alerts.relay.log import Level, Log
from walltrack_alerts.relay.queries import Connection

_RELOAD = 5.0  # seconds between two looks at the targets
_DUTY = timedelta(seconds=60)  # after the last renewal; then another relay may poll for the bot
_STANDBY = 5.0  # seconds between two looks whether the duty is free
_POLL = 20  # seconds for which Telegram holds the call while nothing happens
_UPDATES = 20  # at most per call
_LONGEST_ANSWER = 4_000_000  # bytes; an update repeats its message with all entities
_PATIENCE = 12.0  # seconds in which the relay tries to store a press while its user waits
_RETRY = 0.5  # seconds between two of these attempts
_UNKNOWN = 8  # attempts: a user can press a button before the relay has recorded that the message was sent
_FINISH = 3.0  # seconds in which a relay that stops finishes what it has received
_BACKOFF = (1, 2, 5, 15, 30, 60)  # seconds between calls that fail
_CONFLICT = 409


class ButtonPoller:
    """Polls for all bots that have a target with an allow-list. Other bots are left to other programs."""

    def __init__(self, dsn: str, relay: str, context: Context, log: Log) -> None:
        self._database = _Database(dsn, relay)
        self._context = context
        self._log = log
        self._pollers: dict[str, _BotPoller] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Poll until cancelled; then the updates that were handled are confirmed."""
        try:
            while True:
                try:
                    self._apply(await self._database.targets())
                except AlertsError:
                    pass  # the relay logs that the database is away; it still polls the bots that it knows
                except Exception as error:  # noqa: BLE001 - a fault here must not end the answers
                    self._log.fault("buttons", error)
                await asyncio.sleep(_RELOAD)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._database.close()

    def _apply(self, targets: Iterable[Target]) -> None:
        """Start the pollers of new bots, and those that have ended; stop the others; give each its targets."""
        targets_of: dict[str, dict[int, Target]] = defaultdict(dict)
        apis: dict[str, BotApi] = {}
        for target in targets:
            if target.kind != "telegram" or not target.config.get("allow"):
                continue
            try:
                api = BotApi.of(target.config, self._context.http, self._context.environ)
            except AlertsError:
                continue  # each delivery of the target reports it
            duty = f"buttons of bot {api.bot_id or '?'} ({api.fingerprint})"
            apis[duty] = api
            targets_of[duty][target.target_id] = target
        for duty in self._tasks.keys() - targets_of.keys():
            self._tasks.pop(duty).cancel()
            del self._pollers[duty]
        for duty, own in targets_of.items():
            if duty not in self._tasks or self._tasks[duty].done():
                self._pollers[duty] = _BotPoller(duty, apis[duty], self._database, self._log)
                self._tasks[duty] = asyncio.create_task(self._pollers[duty].run(), name=duty)
            self._pollers[duty].bot.targets = own


class _BotPoller:
    """Polls for one bot."""

    def __init__(self, duty: str, api: BotApi, database: _Database, log: Log) -> None:
        self.bot = Bot(api, self._store_press)
        self._duty = duty
        self._api = api
        self._database = database
        self._log = log
        self._offset: int | None = None
        self._had_duty = False

    async def run(self) -> None:
        """Poll while this relay has the duty, until cancelled."""
        failures = 0
        try:
            while True:
                if not await self._has_duty():
                    self._offset = None  # the relay that has the duty confirms what it handles
                    await asyncio.sleep(_STANDBY)
                    continue
                try:
                    await self._poll()
                    failures = 0
                except (BotApiError, SendError) as error:
                    delay = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
                    failures += 1
                    self._explain(error)
                    await asyncio.sleep(max(delay, (error.retry_after or 0) if isinstance(error, BotApiError) else 0))
        finally:
            if self._offset is not None:
                with suppress(BotApiError, SendError):
                    await self._get_updates(0, limit=1, timeouts=Timeouts(lookup=1, connect=1, read=1, total=2))

    async def _poll(self) -> None:
        """Wait for updates and handle them. The next call confirms them, so that a crash before it loses none."""
        timeouts = Timeouts(read=_POLL + 10, total=_POLL + 15)
        updates = await self._get_updates(_POLL, limit=_UPDATES, timeouts=timeouts)
        handling = asyncio.gather(*(self._handle(update) for update in updates))
        try:
            await asyncio.shield(handling)
        finally:  # a relay that stops still answers the presses that it has received
            done, _ = await asyncio.wait({handling}, timeout=_FINISH)
            if done:
                self._offset = max((update["update_id"] + 1 for update in updates), default=self._offset)

    async def _handle(self, update: Mapping[str, Any]) -> None:
        """Handle one update. One that cannot be handled must not come back forever."""
        try:
            await self.bot.handle(update)
        except Exception as error:  # noqa: BLE001 - an update may hold anything
            self._log.fault(self._duty, error)

    async def _get_updates(self, seconds: int, *, limit: int, timeouts: Timeouts) -> list[Mapping[str, Any]]:
        params: dict[str, Any] = {"timeout": seconds, "limit": limit, "allowed_updates": ["callback_query", "message"]}
        params |= {} if self._offset is None else {"offset": self._offset}
        updates = await self._api.call("getUpdates", params, timeouts=timeouts, limit=_LONGEST_ANSWER)
        found = updates if isinstance(updates, list) else []
        return [update for update in found if isinstance(update, Mapping) and isinstance(update.get("update_id"), int)]

    async def _store_press(self, target_id: int, reference: str, action: str, user: str, detail: str | None) -> tuple[str, str]:
        """Store a button press, trying for some seconds; returns the outcome and the reply to the user."""
        try:
            return await self._database.press_button(target_id, reference, action, user, detail)
        except (DatabaseUnavailableError, DatabaseBusyError):
            self._warn("a button press was not recorded, because the database does not respond")
            return "failed", "The database does not respond. Try again in a minute, or use the panel."
        except AlertsError as error:
            self._warn(f"a button press was not recorded: {error}")
            return "failed", "It failed. Use the panel; the log of the relay says why."

    async def _has_duty(self) -> bool:
        """Whether this relay polls. While the database is away no other relay can begin, so the one that polls continues."""
        with suppress(AlertsError):
            self._had_duty = await self._database.take_duty(self._duty)
        return self._had_duty

    def _explain(self, error: BotApiError | SendError) -> None:
        if isinstance(error, BotApiError) and error.code == _CONFLICT:
            self._warn(f"another program receives the updates of this bot, so its buttons may not work: {error}")
        else:
            self._warn(f"no updates: {error}")

    def _warn(self, text: str) -> None:
        self._log.line(Level.WARNING, "buttons", f"{self._duty}: {text}", duty=self._duty)


class _Database:
    """The two connections of the poller: button presses do not wait for the rest."""

    def __init__(self, dsn: str, relay: str) -> None:
        self._relay = relay
        self._watching, self._pressing = Connection(dsn), Connection(dsn)
        self._watch, self._press = asyncio.Lock(), asyncio.Lock()  # a connection makes one call at a time

    async def targets(self) -> Iterable[Target]:
        async with self._watch:
            return (await queries.enabled_targets(self._watching)).values()

    async def take_duty(self, duty: str) -> bool:
        async with self._watch:
            return await queries.take_duty(self._watching, duty, self._relay, _DUTY)

    async def press_button(self, target_id: int, reference: str, action: str, user: str, detail: str | None) -> tuple[str, str]:
        """Store a button press, again while the database is away or does not know the message yet (AlertsError)."""
        try:
            async with asyncio.timeout(_PATIENCE):
                for attempt in count(1):
                    with suppress(DatabaseUnavailableError, DatabaseBusyError):
                        async with self._press:
                            outcome = await queries.press_button(self._pressing, target_id, reference, action, user, detail)
                        if outcome[0] != "unknown" or attempt >= _UNKNOWN:
                            return outcome
                    await asyncio.sleep(_RETRY)
        except TimeoutError:
            pass
        raise DatabaseUnavailableError("The database does not respond.")

    async def close(self) -> None:
        await self._watching.close()
        await self._pressing.close()
