"""The middleware in front of a panel: passes on authenticated requests to routes that the page needs."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from walltrack_alerts.ui.assets import MODULES_CACHE, is_module
from walltrack_alerts.ui.auth.access import Access, is_same_origin
from walltrack_alerts.ui.auth.login import Login, query_of, redirect
from walltrack_alerts.ui.auth.users import PasswordAccess
from walltrack_alerts.ui.bodies import BodyError, read_body, replay
from walltrack_alerts.ui.calls import MAX_CALL_BYTES, Calls
from walltrack_alerts.ui.gradio_internals import EVENT_ROUTE, FUNCTION_ROUTE
from walltrack_alerts.ui.live import PATH
from walltrack_alerts.ui.page import route_of

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",  # no foreign page may hide the buttons under its own content
    "content-security-policy": "default-src 'none'; frame-ancestors 'self'",  # the page brings its own
    "referrer-policy": "same-origin",
}

_FILES = re.compile(r"/(static|assets)/[\w./-]{1,200}", re.ASCII)
_READ = {"/", "/config", "/theme.css", "/gradio_api/login_check", "/gradio_api/app_id"}
_CALLS = {FUNCTION_ROUTE, f"{FUNCTION_ROUTE}/", EVENT_ROUTE}

_TAKEN_AWAY = {b"origin", b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server"}
"""Gradio trusts these headers for its own address and for CORS."""


class AccessMiddleware:
    """Handles every other request itself, including WebSockets."""

    def __init__(self, app: ASGIApp, access: Access, *, calls: Calls, origins: Collection[str] = ()) -> None:
        self._app = app
        self._access = access
        self._calls = calls
        self._login = Login(access) if isinstance(access, PasswordAccess) else None
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        route = route_of(scope)
        response = await self._answer(connection, route, receive)
        if response is not None:
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(response)
            else:
                await response(scope, receive, _with_headers(send, route))
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._pass_on(scope, route, receive, _with_headers(send, route))

    async def _pass_on(self, scope: Scope, route: str, receive: Receive, send: Send) -> None:
        # Of queries, Gradio looks for pages and links of its own; the page's is for its script.
        headers = [(name, value) for name, value in scope["headers"] if name not in _TAKEN_AWAY]
        if route in _CALLS:
            try:
                body = self._calls.checked(route, await read_body(receive, MAX_CALL_BYTES))
            except BodyError as error:
                await PlainTextResponse(str(error), status_code=error.status)(scope, receive, send)
                return
            receive = replay(body, receive)
            headers = [(name, value) for name, value in headers if name not in {b"content-type", b"content-length"}]
            headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._app({**scope, "headers": headers, "query_string": b""}, receive, send)

    async def _answer(self, connection: HTTPConnection, route: str, receive: Receive) -> Response | None:
        """The response instead of the app's; None lets the request through."""
        hosts = connection.headers.getlist("host")
        if len(hosts) > 1 or not all(map(_is_host, filter(None, hosts))):
            return PlainTextResponse("Invalid Host header.", status_code=400)
        closed = self._access.host_refusal(connection) or self._foreign(connection)
        if closed:
            return PlainTextResponse(closed, status_code=403)
        if self._login is not None and route in {"/login", "/logout"} and connection.scope["type"] == "http":
            request = Request(connection.scope, receive)
            return await self._login.answer(request) if route == "/login" else self._login.log_out(request)
        if self._access.person_of(connection) is None:
            return self._unknown(connection, route)
        return None if _is_needed(connection, route) else PlainTextResponse("Not found.", status_code=404)

    def _unknown(self, connection: HTTPConnection, route: str) -> Response:
        refusal = self._access.refusal(connection)
        accepted = connection.headers.get("accept", "")
        if self._login is not None and "text/html" in accepted:
            return redirect("../" * (route.count("/") - 1) + "login" + query_of(connection))
        if "application/json" in accepted:
            return JSONResponse({"error": refusal}, status_code=401)
        return PlainTextResponse(refusal, status_code=401)

    def _foreign(self, connection: HTTPConnection) -> str:
        """Why a request from a foreign page is refused; browsers name the page in Origin."""
        if connection.scope["type"] == "http" and connection.scope["method"] in {"GET", "HEAD"}:
            return ""
        foreign = "origin" in connection.headers and not is_same_origin(connection, self._origins)
        return "This request comes from a page of another origin." if foreign else ""


def _is_host(text: str) -> bool:
    """Whether a Host header can be one: a name or an address, with a port or without."""
    try:
        parts = urlsplit(f"//{text}")
        return (
            parts.netloc == text
            and parts.username is None
            and parts.port != 0
            and re.fullmatch(r"[\w.:-]+", parts.hostname or "", re.ASCII) is not None
        )
    except ValueError:
        return False


def _is_needed(connection: HTTPConnection, route: str) -> bool:
    if connection.scope["type"] == "websocket":
        return route.startswith(PATH)
    if connection.scope["method"] == "POST":
        return route in _CALLS
    return connection.scope["method"] in {"GET", "HEAD"} and (
        route in _READ or is_module(route) or _FILES.fullmatch(route) is not None
    )


def _with_headers(send: Send, route: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if is_module(route):
                headers["cache-control"] = MODULES_CACHE
            elif not _FILES.fullmatch(route):
                headers["cache-control"] = "no-store"
        await send(message)

    return sending
