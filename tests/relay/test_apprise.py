"""Apprise: messages reach its services, its errors become results, and no text of a stranger pings or links there."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from tests.relay.samples import LINKS, MARKUP, acknowledged, digest, group, item, resolved
from walltrack_alerts.relay.channels import Claim, Context, Outcome, Result, Target, attempt
from walltrack_alerts.relay.channels import apprise as channel
from walltrack_alerts.relay.http import HttpClient

HOSTILE = "@everyone <!channel> <@U1> !here [x](https://evil.com) **b** `c` ||d|| <script> evil.com\r\nBcc: a@evil.com"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the services that Apprise loads
SECRET = "s3cretpath"


class Service(ThreadingHTTPServer):
    """An HTTP server that keeps the bodies it gets; `status` is its answer, after `release` where it has to wait."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.release = threading.Event()
        self.release.set()
        self.address = f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.server.headers.append(dict(self.headers))
        self.server.release.wait(30)
        self.send_response(self.server.status)
        self.send_header("location", f"http://{self.server.address}/elsewhere")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.release.set()
        served.shutdown()
        thread.join()


async def send(url: str, given: dict[str, Any], **environ: str) -> Result:
    target = Target(3, "mail", "apprise", {"url": url})
    claim = Claim(1, target, (1,), **({"digest": given} if "groups" in given else {"item": given}))
    async with HttpClient() as http:
        return await attempt(claim, Context(http, {"PATH_OF_HOOK": SECRET, **environ}, "https://panel.example"))


async def test_a_message_has_a_title_and_a_body(service: Service) -> None:
    assert await send(f"json://{service.address}/", item()) == Result(Outcome.DELIVERED, response="sent")
    (body,) = service.bodies
    assert body["title"] == "\U0001f534 CRITICAL EXIT sell BONK failed 3/3, 12.5 SOL at stake"
    assert body["message"].startswith("Error: slippage exceeded\nThe position is still open.\n")
    assert "https://panel.example/?alert=" in body["message"]
    assert body["type"] == "failure"
    assert "github" not in json.dumps([service.bodies, service.headers])


@pytest.mark.parametrize(
    ("given", "kind"), [(resolved(), "success"), (acknowledged(severity="high"), "warning"), (digest(group(count=9)), "failure")]
)
async def test_updates_and_digests_are_messages_with_a_type(service: Service, given: dict[str, Any], kind: str) -> None:
    assert (await send(f"json://{service.address}/", given)).outcome is Outcome.DELIVERED
    assert service.bodies[0]["type"] == kind


async def test_an_error_has_the_status(service: Service) -> None:
    service.status = 503
    result = await send(f"json://{service.address}/", item())
    assert result.outcome is Outcome.FAILED
    assert "503" in result.response
    assert len(service.bodies) == 1  # no retries of its own


@pytest.mark.parametrize("password", ["p@ss/w0rd#1?&x=1", "12/34:5", "100%", "a+b c", "p%40ss%2Fw0rd"])
async def test_a_user_and_a_password_hold_any_character(service: Service, password: str) -> None:
    url = f"json://${{MAIL_USER}}:${{MAIL_PASSWORD}}@{service.address}/"
    result = await send(url, item(), MAIL_USER="ops@example.com", MAIL_PASSWORD=password)
    assert result == Result(Outcome.DELIVERED, response="sent")
    credentials = base64.b64decode(service.headers[0]["Authorization"].removeprefix("Basic "))
    assert credentials.decode() == f"ops@example.com:{unquote(password)}"


async def test_one_variable_holds_user_and_password(service: Service) -> None:
    result = await send(f"json://${{CREDENTIALS}}@{service.address}/", item(), CREDENTIALS="ada:p/w")
    assert result.outcome is Outcome.DELIVERED
    assert base64.b64decode(service.headers[0]["Authorization"].removeprefix("Basic ")) == b"ada:p/w"


async def test_redirects_are_not_followed(service: Service) -> None:
    service.status = 307
    assert (await send(f"json://{service.address}/", item())).outcome is Outcome.FAILED
    assert len(service.bodies) == 1


async def test_a_timeout_is_a_failure_that_may_have_arrived(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_SECONDS", 0.2)
    service.release.clear()
    result = await send(f"json://{service.address}/", item())
    service.release.set()
    assert result == Result(Outcome.FAILED, response="no response within 0.2 s; the message may have arrived")


async def test_apprise_does_not_wait_between_two_messages(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself it would wait for ten minutes here, so this would end with a timeout."""
    monkeypatch.setattr(channel, "_SECONDS", 60.0)
    monkeypatch.setattr("apprise.plugins.ntfy.NotifyNtfy.request_rate_per_sec", 600)
    assert (await send(f"ntfy://{service.address}/one/two", item())).outcome is Outcome.DELIVERED
    assert sorted(body["topic"] for body in service.bodies) == ["one", "two"]


async def test_a_connection_that_fails_is_a_failure(service: Service) -> None:
    result = await send("json://127.0.0.1:9/", item())
    assert result.outcome is Outcome.FAILED
    assert "onnection" in result.response


@pytest.mark.parametrize("url", ["nonsense://x", "no url", "json://", "${PATH_OF_HOOK}"])
async def test_a_url_that_apprise_does_not_know_is_refused(url: str) -> None:
    result = await send(url, item())
    assert result.outcome is Outcome.REFUSED
    assert SECRET not in result.response


async def test_no_answer_or_log_holds_a_secret(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    service.status = 500
    url = f"ntfy://{service.address}/${{PATH_OF_HOOK}}"
    assert (await send(url, item())).outcome is Outcome.FAILED
    service.status = 200
    assert (await send(url, item())).outcome is Outcome.DELIVERED
    seen = (await send("ntfy://127.0.0.1:9/${PATH_OF_HOOK}", item())).response + "".join(capfd.readouterr())
    logging.getLogger().removeHandler(handler)
    assert SECRET not in seen
    assert service.bodies[1]["topic"] == SECRET


def urls(service: Service) -> dict[str, str]:
    return {
        "json": f"json://{service.address}/",
        "mattermost": f"mmost://{service.address}/{'t' * 24}",
        "rocket chat": f"rocket://{'a' * 24}/{'b' * 32}@{service.address}/#x",
        "ntfy": f"ntfy://{service.address}/topic",
        "slack": f"slack://{'T' * 9}/{'B' * 9}/{'c' * 24}/#x",
        "discord": f"discord://{'1' * 18}/{'t' * 60}",
    }


def texts(value: Any) -> Iterator[str]:
    """All texts of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)


@pytest.mark.parametrize("name", ["json", "mattermost", "rocket chat", "ntfy", "slack", "discord"])
async def test_hostile_texts_ping_and_link_nothing(service: Service, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("apprise.plugins.slack.NotifySlack.webhook_url", f"http://{service.address}")
    monkeypatch.setattr("apprise.plugins.discord.NotifyDiscord.notify_url", f"http://{service.address}")
    given = item(data={"token_symbol": HOSTILE, "error": HOSTILE}, acknowledged_by=HOSTILE)
    await send(urls(service)[name], given)
    (body,) = service.bodies
    sent = "\n".join(texts(body))
    link = f"https://panel.example/?alert={given['alert']['id']}"
    assert link in sent
    shown = sent.replace(link, "")
    assert not MARKUP.search(shown), shown
    for own in ("#x", "#A32037"):  # the name of the channel, a colour
        shown = shown.replace(own, " ")
    assert not LINKS.search(shown), shown
