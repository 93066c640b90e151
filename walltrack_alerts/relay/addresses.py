"""Checks the addresses of targets, and connects only to addresses that were checked.

A name is resolved once per connection, all of its addresses are checked, and the connection goes to one of them. A name that has
another address a moment later (DNS rebinding) has no effect. TLS verifies the name, not the address.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore2

from walltrack_alerts.errors import AlertsError

Address = IPv4Address | IPv6Address

# Listed here, because what ipaddress calls global differs between releases of Python.
_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; Linux connects to itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "168.63.129.16/32",  # the platform service of Azure
            "169.254.0.0/16",  # link-local, with the metadata services of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_GLOBAL = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # special purposes, with Teredo
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")

_LOOKUPS = 32  # names that are looked up at the same time; a lookup that hangs keeps its thread


class PrivateAddressError(AlertsError):
    """The name of a target has an address that is not public; nothing was sent."""


class LookupFailedError(AlertsError):
    """The name of a target has no address, or the lookup took too long."""


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet. An IPv6 form of an IPv4 address counts as the latter."""
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        if embedded is None:
            return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_GLOBAL)
        address = embedded
    return not any(address in network for network in _NOT_PUBLIC)


class Resolver:
    """Looks names up in threads of its own, each name once at a time, so that a name server that hangs delays only its names."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lookup")
        self._running: dict[str, asyncio.Future[list[Address]]] = {}

    async def addresses(self, host: str, seconds: float) -> list[Address]:
        """The addresses of a name or of a literal address, without repeats (LookupFailedError)."""
        lookup = self._running.get(host)
        if lookup is None:
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host)
            self._running[host] = lookup
            lookup.add_done_callback(lambda done: self._forget(host, done))
        try:
            return await asyncio.wait_for(asyncio.shield(lookup), seconds)
        except TimeoutError:
            raise LookupFailedError(f"the lookup of {host} took longer than {seconds:g} s") from None
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a valid name"
            raise LookupFailedError(f"{host} has no address: {reason}") from None

    def close(self) -> None:
        """Let lookups that hang end with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget(self, host: str, done: asyncio.Future[list[Address]]) -> None:
        self._running.pop(host, None)
        if not done.cancelled():
            done.exception()  # retrieved, also when each waiter has given up


def _look_up(host: str) -> list[Address]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to names whose addresses are all public, or to any name if private addresses are allowed."""

    def __init__(self, resolver: Resolver, *, allow_private: bool, lookup_seconds: float) -> None:
        self._resolver = resolver
        self._allow_private = allow_private
        self._lookup_seconds = lookup_seconds
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that responds (PrivateAddressError, LookupFailedError, errors of httpcore2)."""
        host = host.removeprefix("[").removesuffix("]")
        addresses = await self._resolver.addresses(host, self._lookup_seconds)
        private = [address for address in addresses if not is_public(address)]
        if private and not self._allow_private:
            raise PrivateAddressError(f"{host} has the address {private[0]}, which is not public")
        share = None if timeout is None else timeout / len(addresses)
        for last, address in enumerate(addresses, start=1):
            try:
                return _Gathering(await self._sockets.connect_tcp(str(address), port, share, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if last == len(addresses):
                    raise
        raise LookupFailedError(f"{host} has no address")


class _Gathering(httpcore2.AsyncNetworkStream):
    """Sends the head and the body of a request at once: one packet, and half the work of two writes."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._unsent = bytearray()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - of httpcore2
        """Keep the bytes until the response is read."""
        self._unsent += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - of httpcore2
        """Send what is unsent, then receive."""
        if self._unsent:
            unsent, self._unsent = bytes(self._unsent), bytearray()
            # A server may answer and close before it has read all: then its answer counts.
            with suppress(httpcore2.WriteError):
                await self._stream.write(unsent, timeout)
        return await self._stream.read(max_bytes, timeout)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore2
    ) -> httpcore2.AsyncNetworkStream:
        """The stream over TLS."""
        return _Gathering(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - of httpcore2
        """Information about the socket, for httpcore2."""
        return self._stream.get_extra_info(info)
