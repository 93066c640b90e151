"""Access to the panel and the rights within it, tested from outside over HTTP and WebSockets."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gradio as gr
import httpx
import psycopg
import pytest
from fastapi import FastAPI
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.bot import Bot
from tests.support.hubs import RAISE, is_live, until
from tests.support.hubs import serving as serving_hub
from tests.support.panels import PATIENCE, Launch, client, logged_in, serving
from walltrack_alerts import cli, passwords
from walltrack_alerts.passwords import AuthFile, AuthFileError
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import (
    Access,
    AccessError,
    OpenAccess,
    PanelSettings,
    PasswordAccess,
    ProxyAccess,
    Role,
    access_from,
    launch_panel,
    mount,
)
from walltrack_alerts.ui.actions import Actions
from walltrack_alerts.ui.auth.access import Person, is_loopback
from walltrack_alerts.ui.live import Hub
from walltrack_alerts.ui.queries import Queries, Source

pytestmark = pytest.mark.own_server

COMMAND = [str(Path(sys.executable).with_name("walltrack-alerts"))]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Serve a panel without a database; returns its URL."""
    panels = []

    def launch(access: Access | None = None, **options: object) -> str:
        panels.append(launch_panel("host=/nowhere dbname=x", port=0, block=False, access=access, **options))  # type: ignore[arg-type]
        return panels[-1].url

    yield launch
    for panel in panels:
        panel.close()


EVERY_ROUTE = [
    ("GET", "/"),
    ("GET", "/config"),
    ("GET", "/theme.css"),
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/openapi.json"),
    ("GET", "/gradio_api/app_id"),
    ("GET", "/gradio_api/startup-events"),
    ("GET", "/gradio_api/user"),
    ("GET", "/gradio_api/file=/etc/hostname"),
    ("GET", "/gradio_api/queue/data?session_hash=x"),
    ("GET", "/gradio_api/heartbeat/x"),
    ("GET", "/gradio_api/runs"),
    ("GET", "/static/img/logo.svg"),
    ("GET", "/assets/x.js"),
    ("GET", "//config"),
    ("GET", "/login/../config"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/run/predict"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/upload"),
    ("POST", "/gradio_api/cancel"),
    ("OPTIONS", "/config"),
]


@pytest.mark.parametrize("way", ["password", "proxy"])
async def test_nothing_is_answered_without_a_login(launch: Launch, users: Path, way: str) -> None:
    url = launch(PasswordAccess(users) if way == "password" else ProxyAccess("X-Forwarded-User"))
    with client(url) as nobody:
        for method, path in EVERY_ROUTE:
            answer = nobody.send(nobody.build_request(method, httpx.URL(url + path), json={}))
            assert answer.status_code == 401, (method, path, answer.status_code)
        answer = nobody.get("/config", headers={"Accept": "application/json"})
        assert answer.status_code == 401 and "error" in answer.json()
    for path in ("/walltrack-live/x", "/", "/gradio_api/queue/join", "/login"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url.replace("http", "ws") + path, origin=url):  # type: ignore[arg-type]
                pass
        assert refused.value.response.status_code == 401


def test_login_redirects_back_to_the_requested_page(launch: Launch, users: Path) -> None:
    url = launch(PasswordAccess(users))
    with client(url, Accept="text/html") as browser:
        answer = browser.get("/?alert=7&status=open")
        assert (answer.status_code, answer.headers["location"]) == (303, "login?alert=7&status=open")
        assert browser.get("/gradio_api/info").headers["location"] == "../login"
        page = browser.get("/login?alert=7&status=open")
        assert page.status_code == 200 and "<title>Log in - Alerts</title>" in page.text and 'role="alert"' not in page.text
        wrong = browser.post("/login", data={"username": '"><script>x</script>', "password": "guess"})
        assert wrong.status_code == 401 and "Wrong name or password" in wrong.text and "<script>" not in wrong.text
        done = browser.post("/login?alert=7&status=open", data={"username": " ada ", "password": "correct horse"})
        assert (done.status_code, done.headers["location"]) == (303, "./?alert=7&status=open")
        assert {"HttpOnly", "SameSite=lax"} <= set(done.headers["set-cookie"].split("; "))
        assert browser.get("/").status_code == 200 and "components" in browser.get("/config").json()
        assert browser.get("/login").headers["location"] == "./"

        answer = browser.get("/logout")
        assert (answer.status_code, answer.headers["location"]) == (303, "login")
        assert browser.get("/config").status_code == 303


def test_the_cookie_of_a_logged_out_session_is_refused(guarded: Launch, users: Path) -> None:
    url = guarded(PasswordAccess(users))
    with logged_in(url) as session, client(url) as thief, logged_in(url) as elsewhere:
        thief.cookies = httpx.Cookies(session.cookies)
        assert thief.get("/config").status_code == 200
        session.get("/logout", headers={"Sec-Fetch-Site": "cross-site"})
        assert thief.get("/config").status_code == 200
        session.get("/logout")
        assert thief.get("/config").status_code == 401
        assert elsewhere.get("/config").status_code == 200


def test_only_genuine_sessions_are_recorded_as_ended(guarded: Launch, users: Path) -> None:
    access = PasswordAccess(users)
    url = guarded(access)
    with logged_in(url) as session, client(url) as stranger:
        mine = session.cookies[access.file.cookie_name()]
        session.get("/logout")
        for number in range(3):
            stranger.cookies.set(access.file.cookie_name(), f"invented {number}")
            assert stranger.get("/logout").status_code == 303
        assert list(access.ended) == [mine]


def test_cookies_are_secure_behind_https(guarded: Launch, users: Path) -> None:
    url = guarded(PasswordAccess(users))
    with client(url, **{"X-Forwarded-Proto": "https"}) as session:
        answer = session.post("/login", data={"username": "ada", "password": "correct horse"})
        assert "Secure" in answer.headers["set-cookie"]


def test_logins_survive_a_restart_and_end_with_the_user(guarded: Launch, users: Path) -> None:
    with logged_in(guarded(PasswordAccess(users))) as session:
        cookies = httpx.Cookies(session.cookies)
    with client(guarded(PasswordAccess(users))) as session:
        session.cookies = cookies
        assert session.get("/config").status_code == 200
        passwords.remove_user(users, "bob")
        assert session.get("/config").status_code == 200
        passwords.remove_user(users, "ada")
        assert session.get("/config").status_code == 401
        passwords.add_user(users, "ada", Role.OPERATOR, "another password")
        assert session.get("/config").status_code == 401  # the old session stays ended
        users.unlink()
        assert session.post("/login", data={"username": "ada", "password": "another password"}).status_code == 401


@pytest.mark.parametrize(
    "harm", [lambda s: "", lambda s: s[:-1] + ("0" if s[-1] != "0" else "1"), lambda s: s + ".x", lambda s: "x"]
)
def test_forged_sessions_are_refused(users: Path, harm: Callable[[str], str]) -> None:
    file = AuthFile.open(users)
    ada = file.user("ada")
    assert ada is not None and file.user_of(file.session(ada)) == ada
    assert file.user_of(harm(file.session(ada))) is None


def test_a_session_is_bound_to_its_user_and_expires(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AuthFile.open(users)
    ada = file.user("ada")
    assert ada is not None
    parts = file.session(ada).split(".")
    assert file.user_of(".".join([b"bob".hex(), *parts[1:]])) is None
    assert file.user_of(".".join([parts[0], str(int(parts[1]) + 1), *parts[2:]])) is None
    monkeypatch.setattr(passwords, "SESSION_SECONDS", -1)
    assert file.user_of(file.session(ada)) is None
    (users.parent / "users.key").unlink()  # with another key: the password file alone makes no session
    assert AuthFile.open(users).user_of(".".join(parts)) is None


@pytest.mark.parametrize(
    "form",
    [
        {"password": "correct horse"},
        {"username": "ada"},
        {"username": "x" * 500, "password": "y"},
        {"username": "ada", "password": "z" * 5000},
    ],
)
def test_odd_logins_are_refused(guarded: Launch, users: Path, form: dict[str, str]) -> None:
    with client(guarded(PasswordAccess(users))) as session:
        assert session.post("/login", data=form).status_code == 401
        assert session.put("/login").status_code == 200  # the page, nothing else


def test_a_proxy_names_its_users(guarded: Launch) -> None:
    url = guarded(ProxyAccess("X-Forwarded-User", role_header="X-Forwarded-Role"))
    with client(url) as proxy:
        assert proxy.get("/config", headers={"X-Forwarded-User": "ada"}).status_code == 200
        answer = proxy.get("/config")
        assert answer.status_code == 401 and "X-Forwarded-User" in answer.text
        for wrong in (
            [("X-Forwarded-User", "ada"), ("X-Forwarded-User", "eve")],
            [("X-Forwarded-User", "x" * 200)],
        ):
            assert proxy.get("/config", headers=wrong).status_code == 401
        # The panel ignores what a client claims about itself.
        assert proxy.get("/config", headers={"X-Forwarded-User": "ada", "X-Forwarded-For": "203.0.113.9"}).status_code == 200
    url = guarded(ProxyAccess("X-Forwarded-User", trusted=["203.0.113.0/24"]))
    with client(url, **{"X-Forwarded-User": "ada", "X-Forwarded-For": "203.0.113.9"}) as stranger:
        answer = stranger.get("/config")
        assert answer.status_code == 401 and "through its login proxy only" in answer.text


@pytest.mark.parametrize(
    ("role", "may_act"), [("operator", True), ("Operator", True), ("reader", False), ("admin", False), (None, False), ("", False)]
)
def test_a_proxy_names_the_roles_of_its_users(role: str | None, may_act: bool) -> None:
    headers = {"x-forwarded-user": "ada", **({} if role is None else {"x-forwarded-role": role})}
    person = ProxyAccess("X-Forwarded-User", role_header="X-Forwarded-Role").who(request(headers))
    assert person is not None and person.may_act is may_act
    person = ProxyAccess("X-Forwarded-User").who(request(headers))
    assert person is not None and person.may_act


@pytest.mark.parametrize(
    ("peer", "known"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("", False), ("x", False)],
)
def test_only_the_proxy_is_believed(peer: str, known: bool) -> None:
    assert (ProxyAccess("X-Forwarded-User").who(request({"x-forwarded-user": "ada"}, peer)) is not None) is known


def request(headers: dict[str, str], peer: str = "127.0.0.1") -> object:
    from starlette.requests import HTTPConnection

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "headers": raw, "client": (peer, 1) if peer else None})


def test_without_a_login_only_this_machine_is_answered(guarded: Launch) -> None:
    url = guarded(OpenAccess())
    port = url.rpartition(":")[2]
    with client(url) as session:
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", "panel.localhost", f"[::1]:{port}"):
            assert session.get("/config", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "10.0.0.1"):
            answer = session.get("/config", headers={"Host": host})
            assert answer.status_code == 403 and "--auth-file" in answer.text, host


@pytest.mark.parametrize("way", ["open", "password"])
def test_pages_of_other_origins_cannot_act(guarded: Launch, users: Path, way: str) -> None:
    url = guarded(PasswordAccess(users) if way == "password" else OpenAccess())
    with logged_in(url) if way == "password" else client(url) as session:
        for origin, allowed in ((url, True), ("https://evil.example", False), ("null", False), ("http://localhost:1", False)):
            answer = session.post(
                "/gradio_api/cancel", headers={"Origin": origin}, json={"session_hash": "x", "fn_index": 0, "event_id": "x"}
            )
            assert (answer.status_code == 403) is not allowed, origin
        answer = session.get("/")
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    url = guarded(OpenAccess(), origins=["https://alerts.example"])
    with client(url) as session:
        answer = session.post("/gradio_api/reset", headers={"Origin": "https://alerts.example"}, json={"event_id": "x"})
        assert answer.status_code != 403


def test_a_proxy_may_strip_a_prefix(launch: Launch, users: Path) -> None:
    url = launch(PasswordAccess(users))
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.org", "Host": "example.org"}
    with client(url, Accept="text/html", **forwarded) as browser:
        assert browser.get("/?alert=7").headers["location"] == "login?alert=7"
    with logged_in(url) as session:
        assert "example.org" not in session.get("/", headers=forwarded).text  # only the browser knows
        assert session.get("/logout").headers["location"] == "login"


def test_a_proxy_may_keep_a_prefix(launch: Launch, users: Path) -> None:
    url = launch(PasswordAccess(users), root_path="/alerts")
    with client(url, Accept="text/html") as browser:
        assert browser.get("/alerts?alert=7").headers["location"] == "alerts/?alert=7"
        assert browser.get("/alerts/?alert=7").headers["location"] == "login?alert=7"
        assert browser.post("/alerts/login", data={"username": "ada", "password": "correct horse"}).status_code == 303
        assert browser.get("/alerts/config").status_code == 200
        assert browser.get("/config").status_code == 303  # the cookies are those of the prefix


@pytest.mark.parametrize("root_path", ["", "/desk"])
def test_the_panel_works_below_a_path_and_a_prefix(users: Path, root_path: str) -> None:
    app = FastAPI()
    app.add_api_route("/alerts/of-the-app", lambda: "mine")
    mount(app, "/alerts", "host=/nowhere dbname=x", access=PasswordAccess(users), root_path=root_path)
    with serving(app, lifespan="on") as url:
        for prefix in {"/alerts", f"{root_path}/alerts"}:
            with client(url) as session:
                assert session.get(prefix).headers["location"] == "alerts/"
                assert session.post(f"{prefix}/login", data={"username": "ada", "password": "correct horse"}).status_code == 303
                assert session.get(f"{prefix}/config").status_code == 200
                assert "panel.invalid" not in session.get(f"{prefix}/").text
            assert httpx.get(f"{url}/alerts/of-the-app").json() == "mine"


PUBLIC = ["0.0.0.0", "::", "192.0.2.1", "", "example.invalid"]


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_address_needs_a_login(host: str) -> None:
    with pytest.raises(AccessError, match=r"--auth-file[\s\S]*--trusted-header"):
        launch_panel("host=/nowhere dbname=x", host=host, port=0, block=False)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), *((h, False) for h in PUBLIC)],
)
def test_loopback_addresses_are_recognized(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_the_settings_must_name_one_login(users: Path) -> None:
    def of(**options: object) -> Access:
        return access_from(PanelSettings.load(**options))

    assert isinstance(of(), OpenAccess)
    assert isinstance(of(panel_auth_file=users, panel_host="0.0.0.0"), PasswordAccess)
    behind = of(panel_auth_file=users, panel_trusted_proxy=["10.0.0.0/8"], panel_host="0.0.0.0")
    assert isinstance(behind, PasswordAccess) and [str(each) for each in behind.trusted] == ["10.0.0.0/8"]
    assert isinstance(of(panel_trusted_header="X-User", panel_trusted_proxy=["10.0.0.0/8"], panel_host="0.0.0.0"), ProxyAccess)
    for wrong in (
        {"panel_auth_file": users, "panel_trusted_header": "X-User"},
        {"panel_role_header": "X-Role"},
        {"panel_trusted_proxy": ["10.0.0.0/8"]},
        {"panel_trusted_header": "X-User", "panel_trusted_proxy": ["10.0.0.0/99"]},
        {"panel_trusted_header": "X User"},
        {"panel_auth_file": users, "panel_trusted_proxy": ["anybody"]},
        {"panel_auth_file": users, "panel_role_header": "X-Role"},
        {"panel_host": "0.0.0.0"},
    ):
        with pytest.raises(AccessError):
            of(**wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WALLTRACK_PANEL_PORT", "65536"),
        ("WALLTRACK_PANEL_ROOT_PATH", "alerts"),
        ("WALLTRACK_EXPLORER_TOKEN_URL", "javascript:{token}"),
        ("WALLTRACK_EXPLORER_TOKEN_URL", "https://x.example/"),
        ("WALLTRACK_EXPLORER_TX_URL", "https://x.example/{token}"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    from walltrack_alerts.settings import SettingsError

    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        PanelSettings.load()


# ---- the file of users ----


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("eve", "line 4: the role is ''"),
        ("eve:admin:$argon2id$x", "line 4: the role is 'admin'"),
        ("eve:reader:plain", "line 4: has no argon2 hash"),
        ("eve:reader:", "line 4: has no argon2 hash"),
        (":reader:x", "line 4: is not a name"),
        ("e\tve:reader:x", "line 4: has a character"),
        ("ada:reader:HASH", "line 4: names ada again"),
    ],
)
def test_a_wrong_line_is_named(users: Path, line: str, problem: str) -> None:
    lines = users.read_text().splitlines()
    users.write_text("\n".join(["# people", *lines, line.replace("HASH", lines[0].split(":", 2)[2])]) + "\n")
    with pytest.raises(AuthFileError, match=problem.replace("$", r"\$")):
        PasswordAccess(users)


def test_a_line_that_becomes_invalid_affects_only_its_user(users: Path) -> None:
    file = AuthFile.open(users)
    users.write_text(users.read_text().replace("ada:operator", "ada:oprator"))
    assert file.user("ada") is None
    bob = file.user("bob")
    assert bob is not None and bob.role is Role.READER


def test_writable_files_are_refused_and_readable_ones_reported(users: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert oct(users.stat().st_mode)[-3:] == "600" == oct((users.parent / "users.key").stat().st_mode)[-3:]
    PasswordAccess(users)
    assert not caplog.text
    users.chmod(0o644)
    PasswordAccess(users)
    assert "chmod 600" in caplog.text
    users.chmod(0o620)
    with pytest.raises(AuthFileError, match="chmod 600"):
        PasswordAccess(users)


def command(*arguments: object, typed: str = "", expect: int = 0) -> str:
    done = CliRunner().invoke(cli.app, [str(each) for each in arguments], input=typed)
    assert done.exit_code == expect, done.output
    return done.output


def test_users_are_managed_by_command(tmp_path: Path) -> None:
    file = tmp_path / "users"
    assert "panel-user add" in command("panel-user", "list", file, expect=1)
    assert "Added ada" in command("panel-user", "add", file, "ada", "--role", "operator", typed="correct horse\n")
    assert "Updated ada" in command("panel-user", "add", file, "ada", "--role", "reader", "--yes", typed="another horse\n")
    assert "--yes" in command("panel-user", "add", file, "ada", "--role", "operator", typed="third horse\n", expect=1)
    command("panel-user", "add", file, "zoë", "--role", "operator", typed="pässwörter\n")
    assert command("panel-user", "list", file).splitlines() == ["reader    ada", "operator  zoë"]
    opened = AuthFile.open(file)
    assert opened.check("ada", "correct horse") is None
    assert opened.check("ada", "another horse") is not None and opened.check("zoë", "pässwörter") is not None
    assert "8 to 1000" in command("panel-user", "add", file, "bob", "--role", "reader", typed="short\n", expect=1)
    assert "has a character" in command("panel-user", "add", file, "b:b", "--role", "reader", typed="long enough\n", expect=1)
    command("panel-user", "add", file, "bob", "--role", "admin", typed="long enough\n", expect=2)
    command("panel-user", "remove", file, "ada")
    assert "names no user" in command("panel-user", "remove", file, "ada", expect=1)
    assert "horse" not in file.read_text()


def test_a_password_is_asked_for_twice_at_a_terminal(tmp_path: Path) -> None:
    for second, code in (("other horse", 1), ("correct horse", 0)):
        leader, follower = pty.openpty()
        arguments = [*COMMAND, "panel-user", "add", str(tmp_path / "users"), "ada", "--role", "operator"]
        with subprocess.Popen(arguments, stdin=follower, stdout=follower, stderr=follower, start_new_session=True) as process:
            os.close(follower)
            seen = read_until(leader, b"Password: ")
            os.write(leader, b"correct horse\n")
            seen += read_until(leader, b"Again: ")
            os.write(leader, second.encode() + b"\n")
            with suppress(OSError):
                seen += read_until(leader, b"\x00")
            assert process.wait(PATIENCE) == code, seen
        os.close(leader)
        assert b"horse" not in seen
    assert AuthFile.open(tmp_path / "users").check("ada", "correct horse") is not None


@pytest.mark.parametrize(("answer", "kept"), [("n", True), ("y", False)])
def test_replacing_a_password_needs_confirmation(users: Path, answer: str, kept: bool) -> None:
    leader, follower = pty.openpty()
    arguments = [*COMMAND, "panel-user", "add", str(users), "ada", "--role", "reader"]
    with subprocess.Popen(arguments, stdin=follower, stdout=follower, stderr=follower, start_new_session=True) as process:
        os.close(follower)
        read_until(leader, b"[y/N]: ")
        os.write(leader, f"{answer}\n".encode())
        for prompt in () if kept else (b"Password: ", b"Again: "):
            read_until(leader, prompt)
            os.write(leader, b"another horse\n")
        with suppress(OSError):
            read_until(leader, b"\x00")
        assert process.wait(PATIENCE) == int(kept)
    os.close(leader)
    assert (AuthFile.open(users).check("ada", "correct horse") is not None) is kept
    assert (AuthFile.open(users).check("ada", "another horse") is not None) is not kept


def read_until(terminal: int, end: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + PATIENCE
    while end not in seen and time.monotonic() < deadline:
        chunk = os.read(terminal, 1000)  # OSError when the other side has gone
        if not chunk:
            break
        seen += chunk
    return seen


def test_the_command_refuses_unsafe_settings_and_names_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--trusted-header" in command("panel", "--host", "0.0.0.0", expect=2)
    assert "--trusted-header" in command("panel", "--role-header", "X-Role", expect=2)
    (tmp_path / "users").write_text("ada:operator:secret\n")
    assert "line 1" in command("panel", "--auth-file", tmp_path / "users", expect=1)
    monkeypatch.setenv("WALLTRACK_PANEL_HOST", "0.0.0.0")
    assert "--trusted-header" in command("panel", expect=2)


# ---- the database role of the panel ----


@pytest.fixture
def operator_url(database_url: str, db: psycopg.Connection) -> Iterator[str]:
    """The test's database, as a role that was granted only 'operator'."""
    name = f"wt_panel_{uuid.uuid4().hex[:8]}"
    db.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
    db.execute("select walltrack.grant_access(%s::regrole, 'operator')", (name,))
    yield make_conninfo(database_url, user=name)
    db.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (name,))
    db.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


async def test_the_panel_needs_only_an_operators_rights(operator_url: str, bot: Bot) -> None:
    orders = [bot.create("exit", token_symbol=f"T{n}") for n in range(4)]
    for order in orders:
        bot.exhaust(order)
    acknowledged, snoozed, retried, cancelled = (bot.alert(order).id for order in orders)
    async with AlertService.from_url(operator_url) as service:
        asked = {"id": str(retried), "ids": [str(retried)], "filter": {"status": "all"}, "limit": 3, "days": 7, "timezone": "UTC"}
        for function in Queries(Source(service)).functions:
            answer = json.loads(await function(asked))
            assert "problem" not in answer, (function.__name__, answer)
        await service.acknowledge_alert(acknowledged, "ada")
        assert (await service.resolve_alert(acknowledged, "sold by hand", "ada")).resolved_by == "ada"
        assert (await service.snooze_alert(snoozed, datetime.now(UTC) + timedelta(hours=1), "ada")).is_snoozed
        assert not (await service.snooze_alert(snoozed, None, "ada")).is_snoozed
        await service.retry_order(retried, "ada")
        await service.cancel_order(cancelled, None, "ada")
        assert (await service.get_timeline(snoozed))[0].kind == "raised"
    assert bot.execute("select status from walltrack.orders where id = any(%s) order by status", (orders,)).fetchall() == [
        ("cancelled",), ("failed",), ("failed",), ("pending",),
    ]  # fmt: skip
    with psycopg.connect(operator_url, autocommit=True) as panel:
        assert panel.execute("select rolsuper or rolcreaterole from pg_roles where rolname = current_user").fetchone() == (False,)
        for statement in (
            "update walltrack.orders set status = 'filled'",
            "select * from walltrack.orders",
            "update walltrack.alerts set status = 'resolved'",
            "insert into walltrack.alert_events (alert_id, kind, actor) values (gen_random_uuid(), 'raised', 'x')",
            "insert into walltrack.order_actions (alert_id, order_id, action) values (gen_random_uuid(), 'x', 'retry')",
            "delete from walltrack.alerts",
            "update walltrack.watched_tables set order_actions = true",
            "select walltrack.unwatch_orders('walltrack.orders')",
            "create table walltrack.mine (id int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                panel.execute(statement)


async def test_the_live_hub_needs_only_an_operators_rights(operator_url: str, db: psycopg.Connection) -> None:
    with serving_hub(Hub(operator_url)) as site:
        async with site.page() as page:
            await is_live(page)
            db.execute(RAISE, ("a",))
            await until(page, lambda message: bool(message["changed"]))


async def test_too_many_ids_are_all_refused_explicitly() -> None:
    asked = [str(uuid.uuid4()) for _ in range(501)]
    event = gr.EventData(None, {"nonce": "1", "ids": asked})
    acting = Actions(Source("host=/nowhere"), lambda _: Person("ada"), lambda _: {}, lambda _: None, order_actions=True)
    outcomes = json.loads(await acting.acknowledge(event, gr.Request()))["outcomes"]
    assert [each["id"] for each in outcomes] == asked
    assert {each["text"] for each in outcomes} == {"At most 500 at a time, these are 501."}


def test_a_reader_is_refused_by_the_server(database_url: str, users: Path, bot: Bot) -> None:
    """The requests are those of the page, but without a page that hides its buttons."""
    order = bot.create()
    bot.exhaust(order)
    alert_id = str(bot.alert(order).id)
    panel = launch_panel(database_url, port=0, block=False, access=PasswordAccess(users))

    def act(session: httpx.Client, event: str) -> str:
        dependencies = session.get("/config").json()["dependencies"]
        number = next(each["id"] for each in dependencies if event in {target[1] for target in each["targets"]})
        asked = {"nonce": "1", "ids": [alert_id], "note": "by hand", "actor": "eve", "until": None}
        body = {"fn_index": number, "data": [], "event_data": asked, "session_hash": "x"}
        answer = session.post("/gradio_api/run/predict", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"][0])

    try:
        with logged_in(panel.url, "bob", "battery staple") as reader:
            assert '"role": "reader"' in act(reader, "identify")
            for event in ("acknowledge", "snooze", "resolve", "retry", "cancel"):
                assert '"outcome": "refused"' in act(reader, event)
            assert bot.alert(order).acknowledged_at is None and bot.alert(order).is_open
            passwords.add_user(users, "bob", Role.OPERATOR, "battery staple")
        with logged_in(panel.url, "bob", "battery staple") as operator:
            assert '"outcome": "done"' in act(operator, "acknowledge")
            assert bot.alert(order).acknowledged_by == "bob"  # never the name that the page sends
    finally:
        panel.close()
