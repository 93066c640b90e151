"""The routes of the panel's server that a logged-in user can reach: only those that the page needs."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.panels import PATIENCE, client, logged_in
from walltrack_alerts import passwords
from walltrack_alerts.ui import PasswordAccess, Role, bodies, connections, launch_panel, queries
from walltrack_alerts.ui.calls import MAX_CALL_BYTES

pytestmark = pytest.mark.own_server

CALLS = ("/gradio_api/component_server", "/gradio_api/component_server/", "/gradio_api/run/predict")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A panel without a database, which no test of this module changes."""
    file = tmp_path_factory.mktemp("panel") / "users"
    passwords.add_user(file, "bob", Role.READER, "battery staple")
    panel = launch_panel("host=/nowhere dbname=x", port=0, block=False, access=PasswordAccess(file))
    yield panel.url
    panel.close()


@pytest.fixture(scope="module")
def reader(url: str) -> Iterator[httpx.Client]:
    """The client of a logged-in reader."""
    with logged_in(url, "bob", "battery staple") as session:
        yield session


@pytest.fixture(scope="module")
def open_url() -> Iterator[str]:
    """A panel without a login."""
    panel = launch_panel("host=/nowhere dbname=x", port=0, block=False)
    yield panel.url
    panel.close()


def component(session: httpx.Client) -> int:
    return int(session.get("/config").json()["components"][-1]["id"])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/", "/config", "/theme.css", "/gradio_api/login_check", "/static/js/iframeResizer.contentWindow.min.js"]
)
def test_the_pages_routes_are_served(reader: httpx.Client, method: str, path: str) -> None:
    # HEAD is for pages only, as far as Gradio knows.
    assert reader.request(method, path).status_code in ({200} if method == "GET" or path == "/" else {200, 405})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"/gradio_api/{name}") for name in (
            "info", "openapi.json", "startup-events", "user", "token", "runs", "file=/etc/hostname", "proxy=http://127.0.0.1:1/",
            "queue/data?session_hash=x", "queue/status", "heartbeat/x", "upload_progress?upload_id=x", "deep_link?session_hash=x",
            "stream/x/1/1/playlist.m3u8", "vibe-code", "login_check/", "custom_component/x/client/component/x.js",
        )),
        *(("POST", f"/gradio_api/{name}") for name in (
            "upload", "queue/join", "cancel", "reset", "call/x", "call/v2/x", "api/predict", "run/other", "stream/x",
            "process_recording", "vibe-edit", "undo-vibe-edit", "vibe-code", "vibe-starter-queries", "run-history/connect",
        )),
        ("GET", "/monitoring"), ("GET", "/manifest.json"), ("GET", "/robots.txt"), ("GET", "/pwa_icon"), ("GET", "/svelte/x"),
        ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "//"), ("GET", "//config"), ("GET", "/walltrack-live/x"),
        ("POST", "/"), ("POST", "/config"), ("PUT", "/gradio_api/run/predict"), ("DELETE", "/"), ("OPTIONS", "/config"),
        ("GET", "/static/%2e%2e/%2e%2e/routes.py"), ("GET", "/assets/%00"), ("GET", "/assets/" + "x" * 300),
    ],
)  # fmt: skip
def test_no_other_route_is_served(reader: httpx.Client, url: str, method: str, path: str) -> None:
    answer = reader.send(reader.build_request(method, httpx.URL(url + path)))
    assert answer.status_code in {403, 404}, (answer.status_code, answer.text)


async def test_no_other_websocket_is_served(reader: httpx.Client, url: str) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in reader.cookies.items())
    for path in ("/", "/gradio_api/queue/join", "/walltrack-live/x"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url.replace("http", "ws") + path, origin=url, additional_headers={"Cookie": cookie}):  # type: ignore[arg-type]
                pass
        assert refused.value.response.status_code in {403, 404}


FUNCTION = {"component_id": 1, "fn_name": "snapshot", "session_hash": "x", "data": {}}
EVENT = {"fn_index": 0, "session_hash": "x", "data": [], "event_data": {}}
ODD = [
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b"\xff", b"[" * 50_000, b'{"fn_index":' + b"9" * 5000 + b"}", b"0",
    *(
        json.dumps(call | {name: odd}).encode()
        for call, names in ((FUNCTION, ("component_id", "fn_name", "session_hash")), (EVENT, ("fn_index", "session_hash")))
        for name in names
        for odd in (None, -1, 99, 0.5, True, "", "x" * 101, [], {}, "__class__", float("nan"))
    ),
    json.dumps(FUNCTION | {"data": float("inf")}).encode(),
    b'{"component_id":1,"fn_name":"snapshot","session_hash":"x","data":"\\ud800"}',
]  # fmt: skip


def test_malformed_calls_are_client_errors(reader: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    number = component(reader)
    for path in CALLS:
        for body in ODD:
            sent = body.replace(b'"component_id": 1,', b'"component_id": %d,' % number)
            answer = reader.post(path, content=sent, headers={"Content-Type": "application/json"})
            fine = answer.status_code == 200 and b'"session_hash"' in sent  # an odd value where none is needed
            assert fine or 400 <= answer.status_code < 500, (path, sent[:100], answer.status_code, answer.text)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_odd_arguments_get_an_answer(reader: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    odd: list[object] = [None, True, -1, 1e308, "", "\0", "x" * 5000, [], [[]], {}, {"a": {}}]
    config = reader.get("/config").json()
    functions = ("ping", "snapshot", "read_page", "detail", "charts", "targets")
    for value in odd:
        for name in functions:
            data = dict.fromkeys(("filter", "limit", "ids", "id", "after", "days", "timezone"), value)
            for asked in (value, data):
                call = {"component_id": component(reader), "fn_name": name, "session_hash": "x", "data": asked}
                assert reader.post(CALLS[0], json=call).status_code == 200, (name, asked)
        for event in config["dependencies"]:
            data = dict.fromkeys(("nonce", "ids", "note", "actor", "until", "target", "_data"), value)
            call = {"fn_index": event["id"], "session_hash": "x", "event_data": data}
            assert reader.post(CALLS[2], json=call).status_code == 200, (event["id"], value)
        assert "Traceback" not in "".join(capfd.readouterr()), value


@pytest.mark.parametrize("path", [*CALLS, "/login"])
def test_large_bodies_are_not_read(reader: httpx.Client, path: str) -> None:
    assert reader.post(path, content=b"x" * (MAX_CALL_BYTES + 1)).status_code == 413
    assert reader.post(path, content=(b"x" * 10_000 for _ in range(11))).status_code == 413  # without a Content-Length


def test_an_endless_body_is_not_awaited(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)
    request = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nusername="
    assert raw(url, request).startswith(b"HTTP/1.1 408")


def raw(url: str, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), PATIENCE) as connection:
        connection.sendall(request)
        return connection.recv(1000)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "multipart/form-data"}, b"x"),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n--x--',
        ),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n"),
        ({"Content-Type": "application/json"}, b"{}"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"&".join(b"a%d=1" % n for n in range(100))),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"username=%ff&password=x"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"username=\xff&password=x"),
        ({"Content-Type": "x"}, b""),
        ({}, b"username=ada&password=guess"),
    ],
)  # fmt: skip
def test_a_malformed_login_form_is_refused(url: str, headers: dict[str, str], body: bytes) -> None:
    with client(url, **headers) as session:
        answer = session.post("/login", content=body)
        assert answer.status_code in {400, 415} and "This is not a login request" in answer.text


@pytest.mark.parametrize(
    "header",
    [
        "Host: [::1",
        "Host: [:::]",
        "Host: a b",
        "Host: a:b",
        "Host: a@b",
        "Host: a/b",
        "Host: x:99999",
        "Host: ä",
        "Host: a\r\nHost: b",
    ],
)
def test_an_invalid_host_is_refused(url: str, open_url: str, header: str) -> None:
    for each in (url, open_url):
        for path in ("/", "/login", "/config"):
            assert raw(each, f"GET {path} HTTP/1.1\r\n{header}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "name", ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Gradio-Server", "Origin", "X-Forwarded-For", "Cookie", "Accept"]
)
def test_odd_headers_do_no_harm(reader: httpx.Client, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    for odd in ("[::1", "http://[::1", "", ",", "x" * 5000, "a;b=c", '"'):
        for method, path in (("GET", "/"), ("GET", "/config"), ("GET", "/login"), ("POST", CALLS[2])):
            assert reader.request(method, path, headers={name: odd}).status_code < 500, (name, odd, path)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_answers_with_data_are_never_cached(reader: httpx.Client, url: str) -> None:
    call = FUNCTION | {"component_id": component(reader)}
    answers = [
        reader.get("/"),
        reader.get("/config"),
        reader.post(CALLS[0], json=call),
        httpx.get(f"{url}/login"),
        httpx.get(url),
    ]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    asset = re.search(r"\./(assets/index-\w+\.js)", answers[0].text)
    assert asset and reader.get(f"/{asset[1]}").headers.get("cache-control") != "no-store"


def test_the_page_names_nothing_outside_its_folder(reader: httpx.Client) -> None:
    page = reader.get("/").text
    assert re.search(r'<(link|script|img)\b[^>]*(href|src)="(/|https?:)', page) is None
    assert '<link rel="icon" href="data:,">' in page  # without one browsers ask the host for /favicon.ico


def test_the_policy_allows_the_pages_own_scripts_alone(reader: httpx.Client, url: str) -> None:
    page = reader.get("/")
    policy = dict(each.strip().split(" ", 1) for each in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'" and policy["object-src"] == "'none'" and policy["frame-ancestors"] == "'self'"
    nonce = re.search(r"'nonce-([\w-]+)'", policy["script-src"])
    assert nonce and "unsafe-inline" not in policy["script-src"]
    scripts = re.findall(r"<script\b[^>]*>", page.text)
    assert len(scripts) >= 4 and all(f'nonce="{nonce[1]}"' in script for script in scripts)
    assert reader.get("/").headers["content-security-policy"] != page.headers["content-security-policy"]
    for path in ("/config", "/login", "/nothing"):
        assert "default-src 'none'" in httpx.get(url + path).headers["content-security-policy"]


def test_half_sent_headers_block_no_other_client(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_WAITING", 20)
    monkeypatch.setattr(connections, "HEADER_SECONDS", 3600)
    with ExitStack() as stack:
        halves = []
        for _ in range(300):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), PATIENCE))
            with suppress(ConnectionError):
                half.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Half:")
            halves.append(half)
        with client(url) as session:
            for _ in range(3):
                assert session.get("/login").status_code == 200
        for half in halves[:280]:
            with suppress(ConnectionError):
                assert half.recv(1) == b""  # closed; else this would wait


@pytest.mark.parametrize("before", [b"", b"GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_half_a_request_is_not_awaited(url: str, monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 2.0)
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), PATIENCE) as connection:
        connection.sendall(before)
        if before:
            assert connection.recv(1000)
        with pytest.raises((ConnectionError, EOFError)):
            while True:
                connection.sendall(b"GET / HTTP/1.1\r\nX: " if before else b"G")
                before = b""
                connection.settimeout(0.05)
                try:
                    if connection.recv(10_000) == b"":
                        raise EOFError
                except TimeoutError:
                    pass


def test_a_slow_answer_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database never responds, which takes longer than the time limit for headers."""
    monkeypatch.setattr(queries, "TIMEOUT", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x"
        with closing(launch_panel(database, port=0, block=False)) as panel:
            with client(panel.url) as session:
                call = FUNCTION | {"component_id": component(session)}
            monkeypatch.setattr(connections, "HEADER_SECONDS", 1.0)
            with client(panel.url) as session:  # a new connection: the limit closes one that waits for its next request
                answer = session.post(CALLS[0], json=call)
    assert answer.status_code == 200 and "did not respond within 2 s" in answer.text
