"""The HTTP client: whatever a receiver does, an attempt ends soon, with a short answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.relay.sink import Received, answer, running_sink
from walltrack_alerts.relay import http as http_client
from walltrack_alerts.relay.http import Answer, HttpClient, SendError, Timeouts, parse_retry_after, parse_url

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


async def test_an_answer_has_its_status_and_its_text() -> None:
    async with running_sink(lambda _: answer(500, "went\r\n wrong\x00\x1b[31m")) as sink, HttpClient() as http:
        result = await http.post(sink.url(), b"{}", allow_private=True)
    assert (result.status, result.text, result.is_success) == (500, "went wrong [31m", False)


async def test_connections_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "_IDLE_SECONDS", 60)
    async with running_sink() as sink, HttpClient() as http:
        for _ in range(5):
            await http.post(sink.url(), b"{}", allow_private=True)
        assert [request.connection for request in sink.requests] == [1] * 5


async def test_a_connection_that_its_server_closed_is_not_used_again() -> None:
    async with running_sink() as sink, HttpClient() as http:
        sink.behaviour = lambda _: "close"
        with pytest.raises(SendError):
            await http.post(sink.url(), b"{}", allow_private=True)
        sink.behaviour = lambda _: answer(200, connection="close")
        await http.post(sink.url(), b"{}", allow_private=True)
        sink.behaviour = lambda _: answer(204)
        assert (await http.post(sink.url(), b"{}", allow_private=True)).status == 204
        assert [request.connection for request in sink.requests] == [1, 2, 3]


@pytest.mark.parametrize(
    ("fault", "timeouts", "text"),
    [
        ("hang", Timeouts(read=0.3, total=30), "no response within 0.3 s"),
        ("cut", Timeouts(), "not a valid HTTP response"),
        ("trickle", Timeouts(read=30, total=0.6), "no complete response within 0.6 s"),
        ("malformed", Timeouts(), "not a valid HTTP response"),
        ("close", Timeouts(), "not a valid HTTP response: Server disconnected without sending a response."),
    ],
)
async def test_a_receiver_that_misbehaves_ends_the_attempt(fault: str, timeouts: Timeouts, text: str) -> None:
    async with running_sink(lambda _: fault) as sink, HttpClient(timeouts) as http:
        with pytest.raises(SendError, match=text) as caught:
            await http.post(sink.url(), b"{}", allow_private=True, limit=1_000_000)
        assert not caught.value.is_permanent
        assert not any(http._idle.values())


async def test_of_a_huge_answer_only_the_beginning_is_read() -> None:
    async with running_sink(lambda _: "huge") as sink, HttpClient() as http:
        result = await http.post(sink.url(), b"{}", allow_private=True)
    assert (result.status, len(result.body)) == (500, 4096)


async def test_redirects_are_not_followed() -> None:
    async with running_sink(lambda request: answer(307, location="/elsewhere")) as sink, HttpClient() as http:
        result = await http.post(sink.url(), b"{}", allow_private=True)
    assert (result.status, result.text) == (307, "redirect to /elsewhere, not followed")
    assert len(sink.requests) == 1


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with running_sink() as sink, HttpClient() as http:
        assert (await http.post(sink.url(), b"{}", allow_private=True)).status == 200


async def test_nothing_listens() -> None:
    with socket.socket() as taken:  # a port that no other program can get meanwhile
        taken.bind(("127.0.0.1", 0))
        async with HttpClient() as http:
            with pytest.raises(SendError, match="no connection"):
                await http.post(f"http://127.0.0.1:{taken.getsockname()[1]}/", b"{}", allow_private=True)


async def test_a_receiver_that_hangs_delays_no_other() -> None:
    def behaviour(request: Received) -> bytes | str:
        return "hang" if request.path == "/hangs" else answer(200)

    async with running_sink(behaviour) as sink, HttpClient(Timeouts(read=60, total=60)) as http:
        hanging = [asyncio.create_task(http.post(sink.url("/hangs"), b"{}", allow_private=True)) for _ in range(100)]
        await sink.received(100)
        assert (await http.post(sink.url(), b"{}", allow_private=True)).status == 200
        assert not any(task.done() for task in hanging)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


@pytest.mark.parametrize("value", ["1\r\nx-evil: 1", "1\nx-evil: 1", "\x00", "ü"])
async def test_headers_cannot_be_injected(value: str) -> None:
    async with running_sink() as sink, HttpClient() as http:
        with pytest.raises(SendError, match="the request cannot be sent"):
            await http.post(sink.url(), b"{}", {"x-id": value}, allow_private=True)
    assert not sink.requests


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/", "file:///etc/passwd", "example.org", "http://", "http:///path", "http://host:99999/", "http://a b/",
        "", "http://host/\r\nx: y", "http://ho\tst/", "http://[::1/", "https://user:secret@host/", "https://user@host/",
        "http://host\\@evil/", "http://" + "ü" * 70 + "/",
    ],
)  # fmt: skip
def test_invalid_urls_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(SendError, match=r"^the URL (is not a valid|holds a user name)") as caught:
        parse_url(url)
    assert caught.value.is_permanent
    assert "secret" not in str(caught.value)


def test_urls_are_sent_as_they_are_written() -> None:
    url = parse_url("https://müller.example:8443/a%2Fb/ü?x=a b&y=1%20#fragment".replace(" ", "+"))
    assert (url.host, url.port, url.target) == (b"xn--mller-kva.example", 8443, b"/a%2Fb/%C3%BC?x=a+b&y=1%20")


async def test_the_host_header_names_an_unusual_port() -> None:
    async with running_sink() as sink, HttpClient() as http:
        await http.post(sink.url(), b"{}", allow_private=True)
    assert sink.requests[0].headers["host"] == f"127.0.0.1:{sink.port}"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120), (" 0 ", 0), ("Sun, 01 Mar 2026 12:02:00 GMT", 120), ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 13:02:00 +0100", 120), ("Sun, 01 Mar 2026 12:02:00 -0000", 120), ("soon", None),
        ("-5", None), ("", None), ("1e3", None), ("9" * 30, None), ("٣", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


async def test_retry_after_is_part_of_the_answer() -> None:
    async with running_sink(lambda _: answer(429, "slow down", retry_after="7")) as sink, HttpClient() as http:
        assert await http.post(sink.url(), b"{}", allow_private=True) == Answer(429, b"slow down", 7.0)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server with a certificate for hook.test, which the client trusts."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj",
         "/CN=hook.test", "-addext", "subjectAltName=DNS:hook.test", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return tls


async def test_tls_verifies_the_name(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "walltrack_alerts.relay.addresses.socket.getaddrinfo", lambda *_args, **_options: [(2, 1, 6, "", ("127.0.0.1", 0))]
    )
    async with running_sink(tls=tls) as sink, HttpClient() as http:
        assert (await http.post(f"https://hook.test:{sink.port}/", b"{}", allow_private=True)).status == 200
        with pytest.raises(SendError, match="certificate verify failed"):
            await http.post(f"https://other.test:{sink.port}/", b"{}", allow_private=True)
