"""The address of a client: the peer, or the address that trusted proxies report."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from starlette.requests import HTTPConnection

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = ("127.0.0.0/8", "::1/128")


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks as they are written in options (ValueError)."""
    return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in texts)


def parse(text: str) -> Address | None:
    """An address, with a port or without; None when it is none."""
    text = text.strip()
    host = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0] if text.count(":") == 1 else text
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def peer(connection: HTTPConnection) -> Address | None:
    """The other end of the connection; None behind a Unix socket."""
    return parse(connection.client.host) if connection.client else None


def is_in(address: Address | None, trusted: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks."""
    return address is not None and any(address in network for network in trusted)


def origin(connection: HTTPConnection, trusted: Sequence[Network]) -> str:
    """The client that an address counts as: the right-most hop that is not a trusted proxy, of IPv6 its /64.

    Each proxy appends the address it was reached from, so what stands left of an untrusted hop is invented at will. Only
    X-Forwarded-For is read: proxies pass a Forwarded header of a client on as it came.
    """
    address = peer(connection)
    hops = [hop for value in connection.headers.getlist("x-forwarded-for") for hop in value.split(",")]
    while hops and is_in(address, trusted):
        found = parse(hops.pop())
        if found is None:
            break
        address = found
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return "" if address is None else str(address)
