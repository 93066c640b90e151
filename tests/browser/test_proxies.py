"""The files of docs/proxy, unchanged except for ports, certificates and passwords, and less capable proxies."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import select_alert, wait_for_counts, wait_until_live
from tests.support.panel_servers import PATIENCE, free_port
from walltrack_alerts.ui import PasswordAccess, ProxyAccess, launch_panel
from walltrack_alerts.ui.auth.access import Access

pytestmark = pytest.mark.own_server

FILES = Path(__file__).parent.parent.parent / "docs" / "proxy"
ANY_CERTIFICATE = {"ignore_https_errors": True}

Panel = Callable[..., int]
Proxy = Callable[..., str]


@pytest.fixture
def panel(database_url: str) -> Iterator[Panel]:
    """Serve a panel for a proxy; returns its port."""
    panels = []

    def serve(access: Access, **options: object) -> int:
        panels.append(launch_panel(database_url, port=0, block=False, access=access, refresh_seconds=0.5, **options))  # type: ignore[arg-type]
        return int(panels[-1].url.rpartition(":")[2])

    yield serve
    for each in panels:
        each.close()


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"this test needs {name} on the PATH; the gate installs it")
    return found


def output(*command: str, **options: object) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout.strip()  # type: ignore[call-overload]


@contextmanager
def nginx(folder: Path, text: str, port: int, to: int) -> Iterator[str]:
    """Run nginx with this file and a test certificate; yields its address."""
    command = program("nginx")
    openssl = program("openssl")
    key, certificate, htpasswd = folder / "key.pem", folder / "certificate.pem", folder / "htpasswd"
    output(
        openssl,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    )
    hashed = {name: output(openssl, "passwd", "-apr1", f"{name} secret") for name in ("ada", "bob")}
    htpasswd.write_text("".join(f"{name}:{each}\n" for name, each in hashed.items()))
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("127.0.0.1:7860", f"127.0.0.1:{to}"),
    ):
        assert old in text
        text = text.replace(old, new)
    text = re.sub(r"/etc/nginx/\S+\.pem", str(certificate), text)
    text = re.sub(r"/etc/nginx/\S+\.key", str(key), text)
    text = re.sub(r"/etc/nginx/alerts\.htpasswd;", f"{htpasswd};", text)
    own = "".join(f"    {each}_temp_path {folder}/{each};\n" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    text = text.replace("http {\n", f"http {{\n    access_log {folder}/access.log;\n{own}", 1)
    file = folder / "nginx.conf"
    file.write_text(text)
    with running(
        [
            command,
            "-p",
            str(folder),
            "-e",
            str(folder / "error.log"),
            "-c",
            str(file),
            "-g",
            f"daemon off; user root; pid {folder}/pid;",
        ],
        port,
    ):
        yield f"https://localhost:{port}"


@contextmanager
def caddy(folder: Path, text: str, port: int, to: int) -> Iterator[str]:
    """Run Caddy with this file and its own certificate; yields its address."""
    command = program("caddy")
    site = re.search(r"^(\S*example\.org) \{\n", text, re.MULTILINE)
    assert site is not None and "127.0.0.1:7860" in text
    text = text.replace(site[0], f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls internal\n")
    text = text.replace("127.0.0.1:7860", f"127.0.0.1:{to}")
    for name in re.findall(r"(\w+) \$2a\$14\$\.\.\.", text):
        text = text.replace(f"{name} $2a$14$...", f"{name} {output(command, 'hash-password', '--plaintext', f'{name} secret')}")
    text = text.replace("{\n", "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n", 1)
    file = folder / "Caddyfile"
    file.write_text(text)
    environment = os.environ | {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
    with running([command, "run", "--config", str(file), "--adapter", "caddyfile"], port, environment):
        yield f"https://localhost:{port}"


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[None]:
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as plain:
                    context.wrap_socket(plain, server_hostname="localhost").close()
                    break
                assert process.poll() is None, process.stdout and process.stdout.read()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


PROXIES = {"nginx": (nginx, "nginx.conf"), "caddy": (caddy, "Caddyfile")}


@pytest.fixture(params=list(PROXIES))
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    """Run the file of a folder of docs/proxy in front of a port; returns the address."""
    run, name = PROXIES[request.param]
    with ExitStack() as stack:

        def start(folder: str, to: int) -> str:
            return stack.enter_context(run(tmp_path, (FILES / folder / name).read_text(), free_port(), to))

        yield start


def every_request(page: Page) -> list[str]:
    """The paths that the page requests, WebSockets included."""
    paths: list[str] = []
    page.on(
        "request",
        lambda request: paths.append(urlsplit(request.url).path) if not request.url.startswith(("data:", "blob:")) else None,
    )
    page.on("websocket", lambda socket: paths.append(urlsplit(socket.url).path))
    return paths


def test_the_panels_login_works_below_a_prefix(proxy: Proxy, panel: Panel, users: Path, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    url = proxy("auth-file", panel(PasswordAccess(users, trusted=["127.0.0.1"])))
    paths: list[list[str]] = []
    page = open_page(f"{url}/alerts", live=False, before=lambda page: paths.append(every_request(page)), **ANY_CERTIFICATE)
    page.get_by_label("name").fill("ada")
    page.get_by_label("password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    wait_until_live(page)
    wait_for_counts(page, unresolved=1)
    select_alert(page, bot.alert(order).id)
    page.locator("#alerts-panel-acknowledge").click()
    wait_for_counts(page, acknowledged=1)
    assert bot.alert(order).acknowledged_by == "ada"
    cookies = page.context.cookies()
    assert {each["path"] for each in cookies} == {"/alerts"} and all(each["secure"] and each["httpOnly"] for each in cookies)
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_title("Log in - Alerts")
    assert {path for path in paths[0] if not path.startswith("/alerts/")} <= {"/alerts"}


def test_wrong_passwords_count_against_the_proxys_client(proxy: Proxy, panel: Panel, users: Path) -> None:
    url = proxy("auth-file", panel(PasswordAccess(users, trusted=["127.0.0.1"])))

    def log_in(address: str, name: str, password: str, **headers: str) -> int:
        transport = httpx.HTTPTransport(verify=False, local_address=address)
        with httpx.Client(transport=transport, timeout=PATIENCE, headers=headers) as client:
            form = {"username": name, "password": password}
            return client.post(f"{url}/alerts/login", data=form).status_code

    statuses = [log_in("127.0.0.2", f"nobody {n}", "guess", **{"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(11)]
    assert statuses == [401] * 10 + [429]
    assert log_in("127.0.0.3", "ada", "correct horse") == 303


def test_a_proxy_login_distinguishes_two_roles(proxy: Proxy, panel: Panel, open_page: OpenPage, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    access = ProxyAccess("X-Forwarded-User", role_header="X-Forwarded-Role", trusted=["127.0.0.1"])
    url = proxy("roles", panel(access))
    with httpx.Client(verify=False, timeout=PATIENCE) as stranger:
        forged = {"X-Forwarded-User": "ada", "X-Forwarded-Role": "operator"}
        assert stranger.get(url, headers=forged).status_code == 401
        answer = stranger.post(
            f"{url}/gradio_api/run/predict", auth=("bob", "bob secret"), headers=forged,
            json={"fn_index": 0, "session_hash": "x", "event_data": {"nonce": "1"}},
        )  # fmt: skip
        assert '\\"user\\": \\"bob\\"' in answer.text and '\\"role\\": \\"reader\\"' in answer.text
    reader, operator = (
        open_page(url, http_credentials={"username": name, "password": f"{name} secret"}, **ANY_CERTIFICATE)
        for name in ("bob", "ada")
    )
    for page in (reader, operator):
        wait_until_live(page)
        select_alert(page, bot.alert(order).id)
    expect(reader.locator("#alerts-panel-resolve")).to_be_hidden()
    operator.locator("#alerts-panel-acknowledge").click()
    wait_for_counts(operator, acknowledged=1)
    assert bot.alert(order).acknowledged_by == "ada"


LESS = {
    "the panel's own host": ("proxy_set_header Host $http_host;", ""),
    "a host without its port": ("proxy_set_header Host $http_host;", "proxy_set_header Host $host;"),
    "the prefix left in the path": ("/;      # the trailing slash removes the prefix", ";"),
}


@pytest.mark.parametrize("less", LESS)
def test_the_panel_works_behind_proxies_that_alter_requests(
    less: str, tmp_path: Path, panel: Panel, users: Path, open_page: OpenPage, bot: Bot
) -> None:
    order = bot.create()
    bot.exhaust(order)
    text = (FILES / "auth-file" / "nginx.conf").read_text()
    assert LESS[less][0] in text
    port = free_port()
    to = panel(PasswordAccess(users), root_path="/alerts", origins=[f"https://localhost:{port}"])
    with nginx(tmp_path, text.replace(*LESS[less]), port, to) as url:
        page = open_page(f"{url}/alerts/?alert={bot.alert(order).id}", live=False, **ANY_CERTIFICATE)
        page.get_by_label("name").fill("ada")
        page.get_by_label("password").fill("correct horse")
        page.get_by_role("button", name="Log in").click()
        wait_until_live(page)
        page.locator("#alerts-panel-acknowledge").click()
        wait_for_counts(page, acknowledged=1)
        assert bot.alert(order).acknowledged_by == "ada"
