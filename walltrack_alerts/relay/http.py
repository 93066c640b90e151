"""The HTTP client of the relay: no redirects, no proxies, short timeouts, bounded responses, checked addresses."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self
from urllib.parse import quote, urlsplit

import httpcore2

from walltrack_alerts.errors import AlertsError
from walltrack_alerts.relay.addresses import CheckedBackend, LookupFailedError, PrivateAddressError, Resolver
from walltrack_alerts.relay.placeholders import KEPT_IN_URLS

_IDLE_SECONDS = 1.5  # shorter than servers keep idle connections: none is used in the moment in which its server closes it
_USER_AGENT = b"walltrack-alerts"
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")  # in a URL; urlsplit() would remove some of them silently


_Key = tuple[bytes, bytes, int, bool]  # scheme, host and port of the origin, and whether it may be private


class SendError(AlertsError):
    """No response was received. `is_permanent`: a retry with the same configuration will fail, too."""

    def __init__(self, text: str, *, is_permanent: bool = False) -> None:
        self.is_permanent = is_permanent
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: for the name, for the connection with its TLS handshake, between two parts of the response, for all of it."""

    lookup: float = 5.0
    connect: float = 5.0
    read: float = 10.0
    total: float = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response: status, the beginning of the body, Retry-After in seconds from now, Location of a redirect."""

    status: int
    body: bytes
    retry_after: float | None = None
    location: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body, or where a redirect leads, as one line of printable characters."""
        if self.location is not None and 300 <= self.status < 400:
            return printable_line(f"redirect to {self.location}, not followed")
        return printable_line(self.body.decode(errors="replace"))


class HttpClient:
    """Sends requests over HTTP/1.1 and keeps connections for the next ones; an async context manager."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._resolver = Resolver()
        self._tls = httpcore2.default_ssl_context()
        self._backends = {
            allowed: CheckedBackend(self._resolver, allow_private=allowed, lookup_seconds=self._timeouts.lookup)
            for allowed in (False, True)
        }
        self._idle: dict[_Key, list[httpcore2.AsyncHTTPConnection]] = defaultdict(list)
        self._swept_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the idle connections."""
        idle = [connection for kept in self._idle.values() for connection in kept]
        self._idle.clear()
        for connection in idle:
            await _close(connection)
        self._resolver.close()

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        allow_private: bool = False,
        timeouts: Timeouts | None = None,
        limit: int = 4096,
    ) -> Answer:
        """POST a body; at most `limit` bytes of the response are read (SendError)."""
        return await self.request("POST", url, body, headers, allow_private=allow_private, timeouts=timeouts, limit=limit)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        allow_private: bool = False,
        timeouts: Timeouts | None = None,
        limit: int = 4096,
    ) -> Answer:
        """Send a request; at most `limit` bytes of the response are read (SendError)."""
        timeouts = timeouts or self._timeouts
        target = parse_url(url)
        request = httpcore2.Request(
            method,
            target,
            headers=_headers(target, body, headers or {}),
            content=body,
            extensions={"timeout": {"connect": timeouts.connect, "read": timeouts.read, "write": timeouts.read}},
        )
        try:
            async with asyncio.timeout(timeouts.total):
                return await self._exchange(request, allow_private, limit)
        except TimeoutError:
            raise SendError(f"no complete response within {timeouts.total:g} s") from None
        except PrivateAddressError as error:
            raise SendError(
                f"{error}; the target does not allow private addresses (see --allow-private)", is_permanent=True
            ) from None
        except LookupFailedError as error:
            raise SendError(str(error)) from None
        except httpcore2.LocalProtocolError:
            raise SendError("the request cannot be sent: a header is invalid", is_permanent=True) from None
        except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise SendError(_explain(error, timeouts)) from None

    async def _exchange(self, request: httpcore2.Request, allow_private: bool, limit: int) -> Answer:
        """One request and its response; the connection is kept if all of the response was read."""
        origin = request.url.origin
        key = (origin.scheme, origin.host, origin.port, allow_private)
        connection = await self._connection(origin, key)
        is_kept = False
        try:
            response = await connection.handle_async_request(request)
            body = bytearray()
            async for chunk in response.aiter_stream():
                body += chunk
                if len(body) > limit:
                    break
            else:
                await response.aclose()
                is_kept = connection.is_idle()
        finally:
            if is_kept:
                self._idle[key].append(connection)
            else:
                await _close(connection)
        return _answer(response, bytes(body[:limit]))

    async def _connection(self, origin: httpcore2.Origin, key: _Key) -> httpcore2.AsyncHTTPConnection:
        """An idle connection to the origin that its server has not closed, or a new one."""
        await self._sweep()
        kept = self._idle[key]
        while kept:
            connection = kept.pop()
            if not connection.has_expired():
                return connection
            await _close(connection)
        return httpcore2.AsyncHTTPConnection(
            origin,
            ssl_context=self._tls,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=self._backends[key[-1]],
        )

    async def _sweep(self) -> None:
        """Close the connections that were not used again, now and then."""
        now = time.monotonic()
        if now < self._swept_at + _IDLE_SECONDS:
            return
        self._swept_at = now
        for key in list(self._idle):
            expired = [connection for connection in self._idle[key] if connection.has_expired()]
            self._idle[key] = [connection for connection in self._idle[key] if connection not in expired]
            if not self._idle[key]:
                del self._idle[key]
            for connection in expired:
                await _close(connection)


def parse_url(url: str) -> httpcore2.URL:
    """The parts of an http or https URL (SendError, which does not show the URL, because it may hold a secret)."""
    try:
        parts, port = urlsplit(url), urlsplit(url).port
        host = _ascii_host(parts.hostname or "")
    except ValueError:
        parts, port, host = None, None, b""
    if parts is None or parts.scheme not in {"http", "https"} or not host or _FORBIDDEN.search(url):
        raise SendError("the URL is not a valid http or https URL", is_permanent=True)
    if "@" in parts.netloc:
        raise SendError("the URL holds a user name or a password, which is not supported", is_permanent=True)
    query = "?" + quote(parts.query, safe=KEPT_IN_URLS) if parts.query else ""
    target = quote(parts.path or "/", safe=KEPT_IN_URLS) + query
    return httpcore2.URL(scheme=parts.scheme.encode(), host=host, port=port, target=target.encode())


def _ascii_host(host: str) -> bytes:
    """The name as DNS knows it (ValueError)."""
    return host.encode("ascii" if host.isascii() else "idna")


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Seconds from now, from a number of seconds or an HTTP date; None if it is neither."""
    value = value.strip()
    if re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def _headers(url: httpcore2.URL, body: bytes, headers: Mapping[str, str]) -> Sequence[tuple[bytes, bytes]]:
    """The headers of a request (SendError). h11 refuses line breaks in names and values."""
    host = b"[%s]" % url.host if b":" in url.host else url.host
    default = {b"http": 80, b"https": 443}[url.scheme]
    port = b"" if url.port in {None, default} else b":%d" % (url.port or default)
    try:
        given = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    except UnicodeEncodeError:
        raise SendError("the request cannot be sent: a header is not ASCII", is_permanent=True) from None
    return [
        (b"host", host + port),
        (b"user-agent", _USER_AGENT),
        (b"accept", b"*/*"),
        (b"content-length", b"%d" % len(body)),
        *given,
    ]


def _answer(response: httpcore2.Response, body: bytes) -> Answer:
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    after = headers.get(b"retry-after")
    return Answer(
        response.status,
        body,
        None if after is None else parse_retry_after(after, datetime.now(UTC)),
        headers.get(b"location"),
    )


def _explain(error: Exception, timeouts: Timeouts) -> str:
    """An explanation of the error for the operator."""
    match error:
        case httpcore2.ConnectTimeout():
            return f"no connection within {timeouts.connect:g} s"
        case httpcore2.TimeoutException():
            return f"no response within {timeouts.read:g} s"
        case httpcore2.ConnectError():
            return f"no connection: {printable_line(str(error)) or 'refused'}"
        case httpcore2.RemoteProtocolError():
            return f"not a valid HTTP response: {printable_line(str(error))}"
    return "the connection broke before the response was complete"


def printable_line(text: str) -> str:
    """Printable characters, with one space for each run of others."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


async def _close(connection: httpcore2.AsyncHTTPConnection) -> None:
    """Close a connection in any state, also when its peer does not answer."""
    with suppress(Exception):
        async with asyncio.timeout(1):
            await connection.aclose()
