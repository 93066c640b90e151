"""Addresses: targets on the public internet only, unless they allow private ones; checked when connecting."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from tests.relay.names import no_address
from tests.relay.sink import running_sink
from walltrack_alerts.relay.addresses import LookupFailedError, Resolver, is_public
from walltrack_alerts.relay.http import HttpClient, SendError

PRIVATE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1",    "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1", "224.0.0.1", "255.255.255.255",
    "240.0.0.1", "192.0.2.1",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe",
    "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a00:1::1",
    "2001:0:4136:e378::1",    "2001:db8::1", "fec0::1", "100::1", "3fff::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]


def resolves_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let each lookup have the next of some answers; returns the names that were looked up."""
    looked_up: list[str] = []
    remaining = list(answers)

    def getaddrinfo(host, *_args, **_options):
        looked_up.append(host)
        found = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr("walltrack_alerts.relay.addresses.socket.getaddrinfo", getaddrinfo)
    return looked_up


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_inside_networks_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "0", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"],
)
async def test_every_spelling_of_loopback_is_refused(host: str) -> None:
    async with running_sink() as sink, HttpClient() as http:
        with pytest.raises(SendError, match="does not allow private addresses") as caught:
            await http.post(f"http://{host}:{sink.port}/", b"{}")
        assert caught.value.is_permanent
        assert not sink.connections


async def test_a_target_may_allow_private_addresses() -> None:
    async with running_sink() as sink, HttpClient() as http:
        assert (await http.post(sink.url(), b"{}", allow_private=True)).status == 200
        with pytest.raises(SendError, match="does not allow"):  # the open connection is not for targets that do not
            await http.post(sink.url(), b"{}")
        assert len(sink.requests) == 1


async def test_one_private_address_of_several_refuses_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves_to(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    async with HttpClient() as http:
        with pytest.raises(SendError, match=r"hooks\.example has the address 10\.0\.0\.1, which is not public"):
            await http.post("https://hooks.example/", b"{}")


async def test_a_name_that_changes_its_address_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = resolves_to(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    monkeypatch.setattr("walltrack_alerts.relay.addresses.is_public", lambda address: str(address) == "127.0.0.2")
    async with running_sink() as sink, HttpClient() as http:
        with pytest.raises(SendError, match="no connection"):  # it went to the address that was checked
            await http.post(f"http://rebind.example:{sink.port}/", b"{}")
        with pytest.raises(SendError, match="does not allow private addresses"):  # each connection is checked
            await http.post(f"http://rebind.example:{sink.port}/", b"{}")
        assert looked_up == ["rebind.example"] * 2
        assert not sink.connections


async def test_a_name_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walltrack_alerts.relay.addresses.socket.getaddrinfo", no_address)
    async with HttpClient() as http:
        with pytest.raises(SendError, match=r"no-such-host\.invalid has no address") as caught:
            await http.post("https://no-such-host.invalid/secret-path", b"{}")
        assert not caught.value.is_permanent
        assert "secret-path" not in str(caught.value)


async def test_lookups_of_one_name_share_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio
    import threading

    released = threading.Event()
    looked_up: list[str] = []

    def getaddrinfo(host, *_args, **_options):
        looked_up.append(host)
        if host == "hangs.example":
            released.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 0))]

    monkeypatch.setattr("walltrack_alerts.relay.addresses.socket.getaddrinfo", getaddrinfo)
    resolver = Resolver()
    waiting = [asyncio.create_task(resolver.addresses("hangs.example", 0.05)) for _ in range(100)]
    assert await resolver.addresses("works.example", 5) == [ip_address("8.8.8.8")]
    assert all(isinstance(each, LookupFailedError) for each in await asyncio.gather(*waiting, return_exceptions=True))
    released.set()
    resolver.close()
    assert looked_up.count("hangs.example") == 1
