"""The gate in front of a panel: an ASGI app that lets nobody through whom its Access does not know, and the login page."""

from __future__ import annotations

import asyncio
import html
import logging
import time
from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from string import Template

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from walltrack_alerts.passwords import NAME_LENGTH, PASSWORD_LENGTH, SESSION_SECONDS
from walltrack_alerts.ui.access import Access, PasswordAccess, is_same_origin

MAX_FORM_BYTES = 10_000
CHECKS_AT_ONCE = 2
WRONG_PASSWORDS = 10
"""From one address within WRONG_SECONDS; then it has to wait."""
WRONG_SECONDS = 300.0

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",  # nobody's page may lay the buttons under something else
    "content-security-policy": "frame-ancestors 'self'",
    "referrer-policy": "same-origin",
}

log = logging.getLogger(__name__)


class Guard:
    """Every request of the app inside, the WebSocket and Gradio's own routes included, is from somebody who is known."""

    def __init__(self, app: ASGIApp, access: Access, *, origins: Collection[str] = ()) -> None:
        self._app = app
        self._access = access
        self._login = _Login(access) if isinstance(access, PasswordAccess) else None
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        response = await self._answer(connection, receive)
        if response is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, _with_headers(send))

    async def _answer(self, connection: HTTPConnection, receive: Receive) -> Response | None:
        """What is said instead of the app; None lets the request through."""
        closed = self._access.closed(connection) or self._foreign(connection)
        if closed:
            return PlainTextResponse(closed, status_code=403)
        route = _route(connection)
        if self._login is not None and route in {"/login", "/logout"} and connection.scope["type"] == "http":
            request = Request(connection.scope, receive)
            return await self._login.answer(request) if route == "/login" else self._login.log_out(request)
        if self._access.who(connection) is not None:
            return None
        return self._unknown(connection, route)

    def _unknown(self, connection: HTTPConnection, route: str) -> Response:
        refusal = self._access.refusal(connection)
        accepted = connection.headers.get("accept", "")
        if self._login is not None and "text/html" in accepted:
            query = connection.scope["query_string"].decode("latin-1")
            return _go("../" * (route.count("/") - 1) + "login" + (f"?{query}" if query else ""))
        if "application/json" in accepted:
            return JSONResponse({"error": refusal}, status_code=401)
        return PlainTextResponse(refusal, status_code=401)

    def _foreign(self, connection: HTTPConnection) -> str:
        """A page of somebody else asks the browser to act here; a browser names such a page."""
        if connection.scope["type"] == "http" and connection.scope["method"] in {"GET", "HEAD"}:
            return ""
        foreign = "origin" in connection.headers and not is_same_origin(connection, self._origins)
        return _FOREIGN if foreign else ""


_FOREIGN = "This request comes from a page of another origin."
_TOO_MANY = "Too many wrong passwords. Wait some minutes."


@dataclass(slots=True)
class _Login:
    """The login page and what it sends."""

    access: PasswordAccess
    _checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHECKS_AT_ONCE))
    _wrong: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=WRONG_PASSWORDS)))

    async def answer(self, request: Request) -> Response:
        """GET shows the page, POST logs in and goes on to the panel with the query it was asked for."""
        query = request.scope["query_string"].decode("latin-1")
        onward = "./" + (f"?{query}" if query else "")
        if request.method != "POST":
            return _go(onward) if self.access.who(request) else self._page()
        address = request.client.host if request.client else ""
        if self._has_to_wait(address):
            return self._page(_TOO_MANY, status=429)
        if int(request.headers.get("content-length") or MAX_FORM_BYTES + 1) > MAX_FORM_BYTES:
            return self._page("That was no login.", status=400)
        async with request.form(max_files=0, max_fields=10) as form:
            name, password = str(form.get("username", "")).strip(), str(form.get("password", ""))
        async with self._checks:
            if self._has_to_wait(address):  # others from there have guessed meanwhile
                return self._page(_TOO_MANY, status=429)
            user = None
            if len(name) <= NAME_LENGTH and len(password) <= PASSWORD_LENGTH[1]:
                user = await asyncio.to_thread(self.access.file.check, name, password)
            if user is None:
                self._wrong[address].append(time.monotonic())
        if user is None:
            log.warning("wrong name or password from %s", address)
            return self._page("Wrong name or password.", name, status=401)
        response = _go(onward)
        response.set_cookie(
            self.access.file.cookie_name(),
            self.access.file.session(user),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="lax",  # a link to an alert opens it, a foreign form sends nothing
            secure=_is_https(request),
        )
        return response

    def log_out(self, connection: HTTPConnection) -> Response:
        """End the session in this browser, whoever still has its cookie."""
        if connection.headers.get("sec-fetch-site") == "cross-site":
            return PlainTextResponse(_FOREIGN, status_code=403)
        self.access.end(self.access.session_of(connection))
        response = _go("login")
        response.delete_cookie(self.access.file.cookie_name(), httponly=True, samesite="lax", secure=_is_https(connection))
        return response

    def _has_to_wait(self, address: str) -> bool:
        oldest = time.monotonic() - WRONG_SECONDS
        for each in [each for each, times in self._wrong.items() if times[-1] < oldest]:
            del self._wrong[each]
        times = self._wrong.get(address)
        return times is not None and len(times) == WRONG_PASSWORDS and times[0] >= oldest

    def _page(self, problem: str = "", name: str = "", status: int = 200) -> Response:
        page = _PAGE.substitute(
            problem=f'<p role="alert">{html.escape(problem)}</p>' if problem else "",
            name=html.escape(name),
        )
        return HTMLResponse(page, status_code=status, headers={"cache-control": "no-store"})


def _go(where: str) -> Response:
    """A relative redirect: no proxy and no prefix can make it wrong."""
    return Response(status_code=303, headers={"location": where, "cache-control": "no-store"})


def _route(connection: HTTPConnection) -> str:
    """The path below the place where the panel is mounted."""
    path, root = connection.scope["path"], connection.scope.get("root_path", "")
    return (path.removeprefix(root) if root and path.startswith(root + "/") else path) or "/"


def _is_https(connection: HTTPConnection) -> bool:
    forwarded = connection.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    return (forwarded or connection.scope["scheme"]) == "https"


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Log in - Alerts</title>
<link rel="icon" href="data:,">
<style>
:root { --ground: #f5f6f8; --card: #fff; --text: #1e293b; --quiet: #475569; --line: #64748b; --act: #1d4ed8; --bad: #b91c1c }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0b1120; --card: #1e293b; --text: #f1f5f9; --quiet: #cbd5e1; --line: #94a3b8; --act: #2563eb; --bad: #fca5a5 }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 16px; background: var(--ground);
  color: var(--text); font: 16px/1.5 ui-sans-serif, system-ui, sans-serif }
main { width: 100%; max-width: 380px; padding: 32px; border-radius: 12px; background: var(--card);
  box-shadow: 0 1px 2px rgb(0 0 0 / .1), 0 8px 24px rgb(0 0 0 / .08) }
h1 { margin: 0; font-size: 22px }
.lead { margin: 4px 0 24px; color: var(--quiet) }
label { display: block; margin: 0 0 16px; font-weight: 600; font-size: 14px }
input { display: block; width: 100%; height: 44px; margin-top: 4px; padding: 0 12px; border: 1px solid var(--line);
  border-radius: 8px; background: transparent; color: inherit; font: inherit }
button { width: 100%; height: 44px; margin-top: 8px; border: 0; border-radius: 8px; background: var(--act); color: #fff;
  font: inherit; font-weight: 600; cursor: pointer }
button:hover { filter: brightness(1.1) }
input:focus-visible, button:focus-visible { outline: 3px solid #60a5fa; outline-offset: 1px }
[role=alert] { margin: 0 0 16px; color: var(--bad); font-weight: 600 }
</style>
</head>
<body>
<main>
<h1>Alerts</h1>
<p class="lead">Log in to see alerts and to act on them.</p>
$problem
<form method="post">
<label>Name
<input name="username" value="$name" autocomplete="username" autocapitalize="none" maxlength="100" required autofocus></label>
<label>Password
<input name="password" type="password" autocomplete="current-password" maxlength="1000" required></label>
<button type="submit">Log in</button>
</form>
</main>
</body>
</html>
""")
