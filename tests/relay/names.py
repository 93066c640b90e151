"""Names without an address, also where a network invents one or responds late."""

from __future__ import annotations

import socket
from typing import Any

_getaddrinfo = socket.getaddrinfo


def no_address(host: Any, *arguments: Any, **options: Any) -> Any:
    """In place of socket.getaddrinfo: names below .invalid have no address."""
    if str(host).endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _getaddrinfo(host, *arguments, **options)
