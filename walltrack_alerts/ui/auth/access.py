"""Who may do what in the panel. Each login method is an Access, which is consulted at every request and every action."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from walltrack_alerts.errors import UsageError
from walltrack_alerts.passwords import NAME_LENGTH, Role
from walltrack_alerts.ui.auth import addresses
from walltrack_alerts.ui.auth.addresses import LOOPBACK, Network
from walltrack_alerts.ui.gradio_internals import user_of_login

Asked = Callable[[HTTPConnection], "Person | None"]


class AccessError(UsageError):
    """The panel would be open to the network, or a login is misconfigured; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Person:
    """The user of a request. An empty name means that there is no login, and the page asks for a name."""

    name: str
    role: Role = Role.OPERATOR

    @property
    def may_act(self) -> bool:
        """Whether this person may change alerts and orders."""
        return self.role is Role.OPERATOR


class Access:
    """Tells who a request is from. Make one from a function, or use one of the classes below."""

    logout_path = ""
    """Where to log out, below the root of the panel; '' where the panel has no login of its own."""

    described = "with the login of the app around it"
    """Half a sentence about who may use it, after 'the panel'."""

    def __init__(self, who: Asked) -> None:
        self._who = who

    def person_of(self, connection: HTTPConnection) -> Person | None:
        """The person, or None: not logged in (any more)."""
        return self._who(connection)

    def refusal(self, connection: HTTPConnection) -> str:  # noqa: ARG002 - others look at it
        """The text for a request without a login."""
        return "You are not logged in."

    def host_refusal(self, connection: HTTPConnection) -> str:  # noqa: ARG002
        """Why this request is refused regardless of its login; '' if it is not."""
        return ""


class GradioAccess(Access):
    """The login of the Gradio app around an embedded panel (`launch(auth=...)`); `readers` may look but not act."""

    def __init__(self, *, readers: Collection[str] = ()) -> None:
        super().__init__(self._of_cookie)
        self._readers = frozenset(readers)

    def _of_cookie(self, connection: HTTPConnection) -> Person | None:
        name = user_of_login(connection)
        return Person(name, Role.READER if name in self._readers else Role.OPERATOR) if name else None


class OpenAccess(Access):
    """No login: every visitor is an operator. For this machine only.

    A malicious page can make its own host name point to this machine; what it then asks names that host, and is refused.
    """

    described = "for all users of this machine"

    def __init__(self, *hosts: str) -> None:
        super().__init__(lambda _: Person(""))
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    def host_refusal(self, connection: HTTPConnection) -> str:
        """Refuse host names other than those of this machine."""
        host = urlsplit(f"//{connection.headers.get('host', '')}").hostname or ""
        if host in self._hosts or host.endswith(".localhost") or _is_loopback_address(host):
            return ""
        return (
            "This panel has no login and is available only on this machine, as localhost or 127.0.0.1.\n"
            "To make it available under another name, start it with --auth-file, or with --trusted-header behind a login proxy."
        )


class ProxyAccess(Access):
    """A proxy with a login sends the user in a header. `trusted` are the networks of the proxy; only it can send the header."""

    described = "for the users of a proxy"

    def __init__(self, header: str, *, role_header: str | None = None, trusted: Sequence[str] = LOOPBACK) -> None:
        super().__init__(self._of_header)
        self._header, self._role_header = header, role_header
        self._trusted = trusted_networks(trusted or LOOPBACK)
        for name in filter(None, (header, role_header)):
            if not name.replace("-", "").isalnum() or not name.isascii():
                raise AccessError(f"{name!r} is not the name of a header. Write one such as X-Forwarded-User.")

    def refusal(self, connection: HTTPConnection) -> str:
        """Either the request did not come through the proxy, or the proxy named no user."""
        if not self._is_trusted(connection):
            return "This panel is available only through its login proxy."
        return f"The proxy in front of this panel did not send your name: exactly one header {self._header} is required."

    def _of_header(self, connection: HTTPConnection) -> Person | None:
        name = self._value(connection, self._header) if self._is_trusted(connection) else ""
        if not name or len(name) > NAME_LENGTH or not name.isprintable():
            return None
        may_act = self._role_header is None or self._value(connection, self._role_header).lower() == Role.OPERATOR
        return Person(name, Role.OPERATOR if may_act else Role.READER)

    def _is_trusted(self, connection: HTTPConnection) -> bool:
        return addresses.is_in(addresses.peer(connection), self._trusted)

    @staticmethod
    def _value(connection: HTTPConnection, header: str) -> str:
        """The only value; of two, a client may have sent one."""
        values = connection.headers.getlist(header)
        if len(values) != 1:
            return ""
        with contextlib.suppress(UnicodeError):
            return values[0].encode("latin-1").decode("utf-8").strip()
        return values[0].strip()


def access_of(access: Access | Asked | None) -> Access:
    """The access itself, one made from a function, or one without a login."""
    if access is None:
        return Access(lambda _: Person(""))
    return access if isinstance(access, Access) else Access(access)


def check_exposure(host: str, access: Access) -> None:
    """Refuse to listen on a public address without a login (AccessError)."""
    if isinstance(access, OpenAccess) and not is_loopback(host):
        raise AccessError(
            f"The panel would listen on {host} without a login: anyone who reaches it could act on alerts and orders.\n"
            "Either add a login:      --auth-file FILE  (see walltrack-alerts panel-user add FILE NAME --role operator)\n"
            "or use a proxy's login:  --trusted-header X-Forwarded-User --trusted-proxy ADDRESS\n"
            "or stay on this machine: --host 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address or a host name."""
    if _is_loopback_address(host):
        return True
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_is_loopback_address(str(each[4][0])) for each in found)


def is_same_origin(connection: HTTPConnection, origins: Collection[str] = ()) -> bool:
    """Whether a request comes from a page of this panel, by its Origin header, which pages cannot forge."""
    if connection.headers.get("sec-fetch-site") == "same-origin":  # which no page can invent either, and no proxy can spoil
        return True
    origin = connection.headers.get("origin", "").lower()
    hosts = {connection.headers.get(name, "").lower() for name in ("host", "x-forwarded-host")} - {""}
    return origin in origins or origin.partition("://")[2] in hosts


def trusted_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The addresses and networks of trusted proxies (AccessError)."""
    try:
        return addresses.networks(texts)
    except ValueError as error:
        raise AccessError(f"--trusted-proxy: {error}. Write an address or a network such as 10.0.0.0/8.") from error


def _is_loopback_address(host: str) -> bool:
    address = addresses.parse(host)
    return address is not None and address.is_loopback
