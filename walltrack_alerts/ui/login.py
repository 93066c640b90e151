"""The login page of a panel whose users are in a file, and what it sends."""

from __future__ import annotations

import asyncio
import html
import logging
from dataclasses import dataclass, field
from string import Template
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from walltrack_alerts.passwords import DEVICE_SECONDS, NAME_LENGTH, PASSWORD_LENGTH, SESSION_SECONDS, User
from walltrack_alerts.ui import addresses
from walltrack_alerts.ui.access import PasswordAccess
from walltrack_alerts.ui.bodies import BodyError, read_body
from walltrack_alerts.ui.throttle import Throttle

MAX_FORM_BYTES = 10_000
CHECKS_AT_ONCE = 2
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Login:
    """Answers GET and POST of /login, and /logout."""

    access: PasswordAccess
    _checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHECKS_AT_ONCE))
    _throttle: Throttle = field(default_factory=Throttle)
    _warned: bool = False

    async def answer(self, request: Request) -> Response:
        """GET shows the page, POST logs in and goes on to the panel with the query it was asked for."""
        onward = "./" + query_of(request)
        if request.method != "POST":
            return go(onward) if self.access.who(request) else _page()
        try:
            name, password = await _form(request)
        except BodyError as error:
            return _page(str(error), status=error.status)
        address, device = self._address(request), self.access.file.device_of(self._device_cookie(request), name)
        wait = self._throttle.wait(name, address, device)
        if wait:
            return _page(f"Too many wrong passwords. Try again in {_spoken(wait)}.", name, status=429, wait=wait)
        user = await self._check(name, password)
        if user is None:
            log.warning("wrong name or password from %s", address or "a Unix socket")
            return _page("Wrong name or password.", name, status=401)
        self._throttle.right(name, address, device)
        file, response = self.access.file, go(onward)
        _set(response, request, file.cookie_name(), file.session(user), SESSION_SECONDS)
        _set(response, request, file.device_cookie_name(), file.device(user.name, device), DEVICE_SECONDS)
        return response

    def log_out(self, connection: HTTPConnection) -> Response:
        """End the session in this browser, whoever still has its cookie."""
        if connection.headers.get("sec-fetch-site") == "cross-site":
            return PlainTextResponse("This request comes from a page of another origin.", status_code=403)
        self.access.end(self.access.session_of(connection))
        response = go("login")
        _set(response, connection, self.access.file.cookie_name(), "", 0)
        return response

    async def _check(self, name: str, password: str) -> User | None:
        if len(name) > NAME_LENGTH or len(password) > PASSWORD_LENGTH[1]:
            return None
        async with self._checks:
            return await asyncio.to_thread(self.access.file.check, name, password)

    def _device_cookie(self, request: Request) -> str:
        return request.cookies.get(self.access.file.device_cookie_name(), "")

    def _address(self, request: Request) -> str:
        peer = addresses.peer(request)
        if not self._warned and "x-forwarded-for" in request.headers and not addresses.is_in(peer, self.access.trusted):
            self._warned = True
            log.warning("all who come through %s count as one; if that is your proxy: --trusted-proxy %s", peer, peer)
        return addresses.origin(request, self.access.trusted)


def go(where: str) -> Response:
    """A relative redirect: no proxy and no prefix can make it wrong."""
    return Response(status_code=303, headers={"location": where, "cache-control": "no-store"})


def query_of(connection: HTTPConnection) -> str:
    """The query as it was asked for, with its question mark."""
    query = connection.scope["query_string"].decode("latin-1")
    return f"?{query}" if query else ""


def _set(response: Response, connection: HTTPConnection, cookie: str, value: str, seconds: int) -> None:
    response.set_cookie(
        cookie,
        value,
        max_age=seconds,
        path=None,  # the browser takes the folder of the login page: the prefix of the panel, whatever proxies made of it
        httponly=True,
        samesite="lax",  # a link to an alert opens it, a foreign form sends nothing
        secure=_is_https(connection),
    )


def _is_https(connection: HTTPConnection) -> bool:
    """Whether the browser speaks HTTPS, by its proxy's word: whoever invents it spoils only the own cookie."""
    forwarded = connection.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    return (forwarded or connection.scope["scheme"]) == "https"


async def _form(request: Request) -> tuple[str, str]:
    """The name and the password (BodyError)."""
    body = await read_body(request.receive, MAX_FORM_BYTES)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise BodyError(415, "That was no login.")
    try:
        form = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError as error:
        raise BodyError(400, "That was no login.") from error
    name, password = (form.get(each, [""])[0] for each in ("username", "password"))
    return name.strip(), password


def _spoken(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return f"{seconds} s" if seconds < 60 else "a minute" if minutes == 1 else f"{minutes} minutes"


def _page(problem: str = "", name: str = "", status: int = 200, wait: int = 0) -> Response:
    page = _PAGE.substitute(
        problem=f'<p role="alert">{html.escape(problem)}</p>' if problem else "",
        name=html.escape(name),
        name_focus="" if name else " autofocus",
        password_focus=" autofocus" if name else "",
    )
    headers = {"cache-control": "no-store", "content-security-policy": PAGE_POLICY}
    return HTMLResponse(page, status_code=status, headers=headers | ({"retry-after": str(wait)} if wait else {}))


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
<input name="username" value="$name" autocomplete="username" autocapitalize="none" maxlength="100" required$name_focus></label>
<label>Password
<input name="password" type="password" autocomplete="current-password" maxlength="1000" required$password_focus></label>
<button type="submit">Log in</button>
</form>
</main>
</body>
</html>
""")
