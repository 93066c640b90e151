"""Access to the panel and the rights within it, tested from outside over HTTP and WebSockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.panels import Launch, client, logged_in, serving
from walltrack_alerts import passwords
from walltrack_alerts.passwords import AuthFile
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
from walltrack_alerts.ui.auth.access import is_loopback

pytestmark = pytest.mark.own_server


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
        assert answer.status_code == 401 and "only through its login proxy" in answer.text


@pytest.mark.parametrize(
    ("role", "may_act"), [("operator", True), ("Operator", True), ("reader", False), ("admin", False), (None, False), ("", False)]
)
def test_a_proxy_names_the_roles_of_its_users(role: str | None, may_act: bool) -> None:
    headers = {"x-forwarded-user": "ada", **({} if role is None else {"x-forwarded-role": role})}
    person = ProxyAccess("X-Forwarded-User", role_header="X-Forwarded-Role").person_of(request(headers))
    assert person is not None and person.may_act is may_act
    person = ProxyAccess("X-Forwarded-User").person_of(request(headers))
    assert person is not None and person.may_act


@pytest.mark.parametrize(
    ("peer", "known"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("", False), ("x", False)],
)
def test_only_the_proxy_is_believed(peer: str, known: bool) -> None:
    assert (ProxyAccess("X-Forwarded-User").person_of(request({"x-forwarded-user": "ada"}, peer)) is not None) is known


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
        ("WALLTRACK_PANEL_ORIGINS", "alerts.example.org"),
        ("WALLTRACK_PANEL_ORIGINS", "https://alerts.example.org, https://example.org/alerts"),
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


def test_origins_are_as_browsers_write_them() -> None:
    given = ["https://Alerts.example.org:443/", "http://[::1]:80", "https://alerts.example.org:8443"]
    expected = ["https://alerts.example.org", "http://[::1]", "https://alerts.example.org:8443"]
    assert PanelSettings.load(panel_origins=given).panel_origins == expected
