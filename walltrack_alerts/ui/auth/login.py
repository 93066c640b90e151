"""Logging in and out of a panel whose users are in a file."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response

from walltrack_alerts.passwords import DEVICE_SECONDS, NAME_LENGTH, PASSWORD_LENGTH, SESSION_SECONDS, User
from walltrack_alerts.ui.auth import addresses
from walltrack_alerts.ui.auth.page import login_page
from walltrack_alerts.ui.auth.throttle import Throttle
from walltrack_alerts.ui.auth.users import PasswordAccess
from walltrack_alerts.ui.bodies import BodyError, read_body

MAX_FORM_BYTES = 10_000
CHECKS_AT_ONCE = 2
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Login:
    """Answers GET and POST of /login, and /logout."""

    access: PasswordAccess
    _checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHECKS_AT_ONCE))
    _throttle: Throttle = field(default_factory=Throttle)
    _warned: bool = False

    async def answer(self, request: Request) -> Response:
        """GET shows the page, POST logs in and redirects to the panel, with the query string of the request."""
        onward = "./" + query_of(request)
        if request.method != "POST":
            return redirect(onward) if self.access.person_of(request) else login_page()
        try:
            name, password = await _read_credentials(request)
        except BodyError as error:
            return login_page(str(error), status=error.status)
        address, device = self._address(request), self.access.file.device_of(self._device_cookie(request), name)
        wait = self._throttle.wait(name, address, device)
        if wait:
            return login_page(f"Too many wrong passwords. Try again in {_format_wait(wait)}.", name, status=429, wait=wait)
        user = await self._check(name, password)
        if user is None:
            log.warning("wrong name or password from %s", address or "a Unix socket")
            return login_page("Wrong name or password.", name, status=401)
        self._throttle.right(name, address, device)
        file, response = self.access.file, redirect(onward)
        _set_cookie(response, request, file.cookie_name(), file.session(user), SESSION_SECONDS)
        _set_cookie(response, request, file.device_cookie_name(), file.device(user.name, device), DEVICE_SECONDS)
        return response

    def log_out(self, connection: HTTPConnection) -> Response:
        """End the session, copies of its cookie included."""
        if connection.headers.get("sec-fetch-site") == "cross-site":
            return PlainTextResponse("This request comes from a page of another origin.", status_code=403)
        self.access.end(self.access.session_of(connection))
        response = redirect("login")
        _set_cookie(response, connection, self.access.file.cookie_name(), "", 0)
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
            log.warning("all clients of %s count as one; if it is your proxy, pass --trusted-proxy %s", peer, peer)
        return addresses.origin(request, self.access.trusted)


def redirect(where: str) -> Response:
    """A relative redirect: no proxy and no prefix can make it wrong."""
    return Response(status_code=303, headers={"location": where, "cache-control": "no-store"})


def query_of(connection: HTTPConnection) -> str:
    """The query string of the request, with its question mark."""
    query = connection.scope["query_string"].decode("latin-1")
    return f"?{query}" if query else ""


def _set_cookie(response: Response, connection: HTTPConnection, cookie: str, value: str, seconds: int) -> None:
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
    """Whether the browser uses HTTPS, by the proxy's header; a client that forges it affects only its own cookie."""
    forwarded = connection.headers.get("x-forwarded-proto", "").split(",")[0].strip()
    return (forwarded or connection.scope["scheme"]) == "https"


async def _read_credentials(request: Request) -> tuple[str, str]:
    """The name and the password (BodyError)."""
    body = await read_body(request.receive, MAX_FORM_BYTES)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise BodyError(415, "This is not a login request.")
    try:
        form = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError as error:
        raise BodyError(400, "This is not a login request.") from error
    name, password = (form.get(each, [""])[0] for each in ("username", "password"))
    return name.strip(), password


def _format_wait(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return f"{seconds} s" if seconds < 60 else "a minute" if minutes == 1 else f"{minutes} minutes"
