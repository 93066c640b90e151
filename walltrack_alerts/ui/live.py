"""The live hub: one database listener for all pages of a panel; WebSockets carry the ids of changed alerts.

A message also carries the new numbers, but no more: the page reads the rest with its own rights. The page reads its whole list
again whenever it connects and whenever the state becomes live. Everything here runs on the server's event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from uuid import UUID

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from walltrack_alerts.errors import AlertsError, DatabaseUnavailableError
from walltrack_alerts.listener import StreamState, Timing, listen
from walltrack_alerts.ui.answers import UNEXPECTED
from walltrack_alerts.ui.auth.access import is_same_origin
from walltrack_alerts.ui.view import Json

PATH = "/walltrack-live/"
TICKET_SECONDS = 60
HEARTBEAT_SECONDS = 10.0
COALESCE_SECONDS = 0.03
COUNTS_SECONDS = 0.5
WAITING_MESSAGES = 32
"""A browser that lets more than these wait is disconnected; it comes back and reads everything."""
MAX_CLIENTS = 500
MAX_CLIENTS_OF_ONE = 30
"""Pages of one user. Pages without a login count only towards MAX_CLIENTS."""
RETRY_SECONDS = 5.0
"""Until a listener is started again that cannot be started."""
TIMING = Timing(retry=(0.1, 3.0))

GOING_AWAY, TRY_AGAIN_LATER, POLICY, LOGGED_OUT = 1001, 1013, 1008, 4401

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Client:
    user: str
    waiting: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(WAITING_MESSAGES))
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    code: int = GOING_AWAY

    def end(self, code: int) -> None:
        self.code = code
        self.ended.set()


class Hub:
    """Listens to a database (a direct connection) for the pages of one panel.

    `origins` are further origins that may connect, such as https://alerts.example.org where a proxy changes the Host
    header. `whoami` names the user of a connection, on a server with a login: a ticket of another user is refused, and a
    user who is no longer logged in is disconnected. `counts` reads the numbers that every page shows, once for all of them.
    Hubs with the same `key` take each other's tickets: those of several server processes.
    """

    def __init__(
        self,
        listen_dsn: str,
        *,
        origins: Collection[str] = (),
        whoami: Callable[[HTTPConnection], str | None] | None = None,
        counts: Callable[[], Awaitable[Json]] | None = None,
        key: bytes | None = None,
    ) -> None:
        self._key = key or secrets.token_bytes(32)
        self.path = PATH + self._sign("path")[:16]
        self._dsn = listen_dsn
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._whoami = whoami
        self._counts = counts
        self._clients: set[_Client] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cursor = "now"
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()
        self._state, self._since, self._why = StreamState.CONNECTING, _now(), ""

    @property
    def clients(self) -> int:
        """How many pages are connected."""
        return len(self._clients)

    def ticket(self, user: str) -> str:
        """A text that lets this user connect within TICKET_SECONDS; '' is a user without a name."""
        value = f"{user.encode().hex()}.{int(time.time() + TICKET_SECONDS)}"
        return f"{value}.{self._sign(value)}"

    def _user_of(self, ticket: str) -> str | None:
        """The user of a ticket; None if it is invalid or expired."""
        value, _, signature = ticket.rpartition(".")
        if not hmac.compare_digest(self._sign(value).encode(), signature.encode()):
            return None
        name, _, until = value.partition(".")
        return bytes.fromhex(name).decode() if int(until) > time.time() else None

    def _sign(self, value: str) -> str:
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()

    def attach(self, app: FastAPI) -> str:
        """Add the WebSocket to the app that serves the page, once; its path below the root of that app."""
        if not any(getattr(route, "path", None) == self.path for route in app.routes):
            app.add_api_websocket_route(self.path, self._serve)
        return self.path

    def touch(self, alert_id: UUID | str) -> None:
        """Tell the pages to read an alert again; callable from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._mark_changed, str(alert_id))

    async def close(self) -> None:
        """Stop listening and disconnect every page; a page that connects later starts everything again."""
        for client in self._clients:
            client.end(GOING_AWAY)
        tasks, self._tasks = self._tasks, []
        if tasks and self._loop is asyncio.get_running_loop():
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    # ---- the pages ----

    async def _serve(self, websocket: WebSocket) -> None:
        user = self._user_of(websocket.query_params.get("ticket", ""))
        if not is_same_origin(websocket, self._origins):
            await _refuse(websocket, 403, "Connection refused: the page comes from another origin.")
        elif user is None or not self._is_logged_in_as(user, websocket):
            await _refuse(websocket, 401, "No valid ticket.")
        elif len(self._clients) >= MAX_CLIENTS or (user and self._pages_of(user) >= MAX_CLIENTS_OF_ONE):
            await _refuse(websocket, 503, "Too many pages are connected.")
        else:
            await self._connected(websocket, _Client(user))

    def _pages_of(self, user: str) -> int:
        return sum(client.user == user for client in self._clients)

    def _is_logged_in_as(self, user: str, connection: HTTPConnection) -> bool:
        return self._whoami is None or self._whoami(connection) == user

    async def _connected(self, websocket: WebSocket, client: _Client) -> None:
        await websocket.accept()
        self._start()
        self._clients.add(client)
        client.waiting.put_nowait(self._message(()))
        tasks = [
            asyncio.create_task(work)
            for work in (self._send(websocket, client), _receive(websocket, client), client.ended.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.discard(client)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(RuntimeError, WebSocketDisconnect):  # it went first
                async with asyncio.timeout(1):  # a browser that takes nothing takes no farewell either
                    await websocket.close(client.code)

    async def _send(self, websocket: WebSocket, client: _Client) -> None:
        asked = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    message = await client.waiting.get()
            except TimeoutError:
                message = self._message(())
            if time.monotonic() - asked >= HEARTBEAT_SECONDS:  # also while messages never pause
                asked = time.monotonic()
                if not self._is_logged_in_as(client.user, websocket):
                    client.end(LOGGED_OUT)
                    return
            await websocket.send_text(message)

    def _broadcast(self, changed: Collection[str], counts: Json | None = None) -> None:
        message = self._message(changed, counts)
        for client in self._clients:
            try:
                client.waiting.put_nowait(message)
            except asyncio.QueueFull:
                client.end(TRY_AGAIN_LATER)

    def _message(self, changed: Collection[str], counts: Json | None = None) -> str:
        state = {"state": self._state, "since": self._since, "why": self._why}
        return json.dumps(state | {"changed": list(changed), "counts": counts})

    # ---- the database ----

    def _start(self) -> None:
        """Listen on this loop; a server that was stopped and started again has another one."""
        loop = asyncio.get_running_loop()
        if not self._tasks or self._loop is not loop or any(task.done() for task in self._tasks):
            for task in self._tasks if self._loop is loop else ():
                task.cancel()
            self._loop = loop
            self._news = asyncio.Event()
            self._set_state(StreamState.CONNECTING, "")
            self._tasks = [
                loop.create_task(work, name="walltrack_alerts live hub") for work in (self._listen(), self._broadcast_changes())
            ]

    async def _listen(self) -> None:
        """Listen until cancelled. When the stream ends, the state changes, and the stream is resumed where it stopped."""
        while True:
            try:
                async with aclosing(listen(self._dsn, self._cursor, timing=TIMING, on_state=self._on_stream_state)) as events:
                    async for event in events:
                        self._cursor = event.cursor or self._cursor
                        self._mark_changed(str(event.alert_id))
            except DatabaseUnavailableError as error:
                self._set_state(StreamState.STALE, _AWAY, log_as=str(error))
            except AlertsError as error:  # its advice is for the reader: a pooler, a missing right, a restored database
                self._cursor = "now"
                self._set_state(StreamState.STALE, str(error))
            except Exception:  # the page shows any error, and the next attempt may succeed
                log.exception("the live hub's listener ended")
                self._set_state(StreamState.STALE, UNEXPECTED)
            await asyncio.sleep(RETRY_SECONDS)

    def _on_stream_state(self, state: StreamState, why: str) -> None:
        if state is StreamState.STALE:
            self._set_state(state, _AWAY, log_as=why)
        elif state is not StreamState.CONNECTING or self._state is not StreamState.STALE:
            self._set_state(state, "")  # while the database is away, a further attempt changes nothing

    def _set_state(self, state: StreamState, why: str, *, log_as: str = "") -> None:
        if (state, why) == (self._state, self._why):
            return
        if state is StreamState.STALE:
            log.warning("live updates have stopped: %s", log_as or why)
        elif state is StreamState.LIVE and self._why:
            log.warning("live updates are back")
        if state is not self._state:
            self._since = _now()
        self._state, self._why = state, why
        self._broadcast(())

    def _mark_changed(self, alert_id: str) -> None:
        self._changed[alert_id] = None
        self._news.set()

    async def _broadcast_changes(self) -> None:
        """Tell the pages about changes, in batches, until cancelled."""
        while True:
            await self._news.wait()
            await asyncio.sleep(COALESCE_SECONDS)
            self._news.clear()
            changed, self._changed = self._changed, {}
            self._broadcast(changed, await self._read_counts())

    async def _read_counts(self) -> Json | None:
        """The numbers, if the database responds soon; the page reads them anyway, and shows what is wrong."""
        if self._counts is None or not self._clients:
            return None
        try:
            async with asyncio.timeout(COUNTS_SECONDS):
                return await self._counts()
        except (AlertsError, TimeoutError):
            return None
        except Exception:  # the pages must hear of the changes all the same
            log.exception("the live hub could not read the numbers")
            return None


_AWAY = "The database cannot be reached."  # the server's own text may name hosts and users: log only


async def _refuse(websocket: WebSocket, status: int, text: str) -> None:
    await websocket.send_denial_response(PlainTextResponse(text, status_code=status))


async def _receive(websocket: WebSocket, client: _Client) -> None:
    """Return when the page disconnects. Pages send nothing: a client that does is disconnected."""
    message = await websocket.receive()
    if message["type"] != "websocket.disconnect":
        client.end(POLICY)


def _now() -> int:
    return int(time.time() * 1000)
