"""Names without an address, also where a network invents one or responds late."""

from __future__ import annotations

import socket


def no_address(host: str, *_arguments: object, **_options: object) -> list[object]:
    """In place of socket.getaddrinfo."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
