"""The limits on guessing passwords; guessing locks no other user out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.requests import HTTPConnection

from tests.support.panels import Launch, client
from walltrack_alerts.ui import PasswordAccess
from walltrack_alerts.ui.auth import addresses, throttle
from walltrack_alerts.ui.auth.throttle import WRONG_PASSWORDS, Throttle

pytestmark = pytest.mark.own_server

PROXY = "127.0.0.1"


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttle, "time", clock)
    return clock


@contextmanager
def coming_from(url: str, *hops: str) -> Iterator[httpx.Client]:
    with client(url, **({"X-Forwarded-For": ", ".join(hops)} if hops else {})) as session:
        yield session


def log_in(session: httpx.Client, name: str = "ada", password: str = "correct horse") -> int:
    return session.post("/login", data={"username": name, "password": password}).status_code


def guess(url: str, *hops: str, name: str = "ada", times: int = WRONG_PASSWORDS) -> list[int]:
    with coming_from(url, *hops) as session:
        return [log_in(session, name, f"guess {number}") for number in range(times)]


def test_guessing_from_one_address_is_throttled(guarded: Launch, users: Path, clock: Clock) -> None:
    url = guarded(PasswordAccess(users))
    assert guess(url, times=12) == [401] * 10 + [429] * 2
    with coming_from(url) as session:
        answer = session.post("/login", data={"username": "bob", "password": "battery staple"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "300") and "Try again in 5 minutes" in answer.text
        clock.now += 301
        assert log_in(session) == 303


def test_concurrent_guesses_share_the_limit(guarded: Launch, users: Path) -> None:
    url = guarded(PasswordAccess(users))
    with ThreadPoolExecutor(8) as pool:
        statuses = pool.map(lambda _: guess(url, times=2), range(8))
        assert sorted(status for each in statuses for status in each) == [401] * 10 + [429] * 6


def test_one_client_of_a_proxy_locks_out_no_other(guarded: Launch, users: Path, clock: Clock) -> None:
    url = guarded(PasswordAccess(users, trusted=[PROXY]))
    assert guess(url, "203.0.113.1", name="eve", times=11)[-1] == 429
    with coming_from(url, "203.0.113.2") as session:
        assert log_in(session) == 303


def test_invented_addresses_do_not_evade_the_limit(guarded: Launch, users: Path, clock: Clock) -> None:
    direct, proxied = guarded(PasswordAccess(users)), guarded(PasswordAccess(users, trusted=[PROXY]))
    for url, hops in ((direct, lambda n: [f"203.0.113.{n}"]), (proxied, lambda n: [f"198.51.100.{n}", "203.0.113.1"])):
        statuses = [guess(url, *hops(number), name=f"eve {number}", times=1) for number in range(11)]
        assert statuses == [[401]] * 10 + [[429]]


def test_an_unnamed_proxy_is_logged_once(guarded: Launch, users: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = guarded(PasswordAccess(users))
    guess(url, "203.0.113.1", times=3)
    assert caplog.text.count("--trusted-proxy 127.0.0.1") == 1


def test_many_addresses_guess_one_name_ever_more_slowly(guarded: Launch, users: Path, clock: Clock) -> None:
    url = guarded(PasswordAccess(users, trusted=[PROXY]))
    waits = []
    for number in range(20):
        with coming_from(url, f"203.0.113.{number}") as session:
            while (answer := session.post("/login", data={"username": "ada", "password": "guess"})).status_code == 429:
                waits.append(int(answer.headers["retry-after"]))
                clock.now += waits[-1]
            assert answer.status_code == 401
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert guess(url, "203.0.113.99", name="bob", times=1) == [401]
    clock.now += 60
    with coming_from(url, "203.0.113.200") as elsewhere:
        assert log_in(elsewhere) == 303  # the name is never locked for good


@pytest.mark.parametrize("known", ["device", "address"])
def test_guessing_does_not_lock_out_a_known_user(guarded: Launch, users: Path, clock: Clock, known: str) -> None:
    url = guarded(PasswordAccess(users, trusted=[PROXY]))
    with coming_from(url, "203.0.113.200") as session:
        assert log_in(session) == 303
        for number in range(12):
            guess(url, f"203.0.113.{number}", times=2)
        assert guess(url, "203.0.113.201", times=1) == [429]
        if known == "device":
            session.headers["X-Forwarded-For"] = "203.0.113.0"  # even from an address that guesses
        else:
            session.cookies.clear()
        assert log_in(session) == 303


def test_a_known_device_cannot_guess_without_end(guarded: Launch, users: Path, clock: Clock) -> None:
    url = guarded(PasswordAccess(users, trusted=[PROXY]))
    with coming_from(url, "203.0.113.200") as session:
        assert log_in(session) == 303
        statuses = []
        for number in range(11):
            session.headers["X-Forwarded-For"] = f"203.0.113.{number}"
            statuses.append(log_in(session, "ada", "guess"))
        assert statuses == [401] * 10 + [429]


def test_a_known_device_belongs_to_one_user(users: Path) -> None:
    file = PasswordAccess(users).file
    device = file.device("ada")
    number = file.device_of(device, "ada")
    assert number and file.device_of(file.device("ada", number), "ada") == number
    for cookie, name in ((device, "bob"), (device[:-1], "ada"), (f"x{device}", "ada"), ("", "ada"), ("a.b.c", "ada"), ("..", "")):
        assert file.device_of(cookie, name) == ""


def test_expired_guesses_take_no_memory(clock: Clock) -> None:
    throttle = Throttle()
    for number in range(1000):
        throttle.wait(f"name {number}", f"address {number}", "")
        clock.now += 10
    assert len(throttle._guesses) <= 2 * 360 + 2


@pytest.mark.parametrize(
    ("peer", "hops", "found"),
    [
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.1"], "203.0.113.1"),
        ("127.0.0.1", ["198.51.100.1", "203.0.113.1, 10.1.2.3"], "203.0.113.1"),
        ("127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("127.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::/64"),
        ("127.0.0.1", ["2001:db8::ffff:1"], "2001:db8::/64"),
        ("::ffff:127.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        (None, ["198.51.100.1"], ""),
    ],
)
def test_the_last_untrusted_hop_is_the_client(peer: str | None, hops: list[str], found: str) -> None:
    headers = [(b"x-forwarded-for", hop.encode()) for hop in hops] + [(b"forwarded", b"for=192.0.2.1")]
    connection = HTTPConnection({"type": "http", "headers": headers, "client": peer and (peer, 1)})
    assert addresses.origin(connection, addresses.networks(["127.0.0.1", "10.0.0.0/8"])) == found
