"""Who may do what in the panel. Each way of logging in is one Access, which is asked at every request and every action."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from walltrack_alerts.errors import UsageError
from walltrack_alerts.passwords import NAME_LENGTH, AuthFile, Role, warning_about
from walltrack_alerts.settings import Settings
from walltrack_alerts.ui import addresses
from walltrack_alerts.ui.addresses import LOOPBACK, Network

__all__ = [
    "READ_ONLY",
    "Access",
    "AccessError",
    "OpenAccess",
    "PasswordAccess",
    "Person",
    "ProxyAccess",
    "Role",
    "access_from",
    "access_of",
]

READ_ONLY = "You may look but not act: your role is reader. Somebody with the role operator can."

log = logging.getLogger(__name__)

Asked = Callable[[HTTPConnection], "Person | None"]


class AccessError(UsageError):
    """The panel would be open to everybody, or a login is set up wrongly; its text says what to do."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. An empty name: nobody has to log in, and the page asks for the name to act under."""

    name: str
    role: Role = Role.OPERATOR

    @property
    def may_act(self) -> bool:
        """Whether this person may change alerts and orders."""
        return self.role is Role.OPERATOR


class Access:
    """Tells who a request is from. Make one from a function, or use one of the ways below."""

    logout_path = ""
    """Where to log out, below the root of the panel; '' where the panel has no login of its own."""

    described = "which leaves the login to what stands in front of it"
    """Half a sentence about who may use it, after 'the panel'."""

    def __init__(self, who: Asked) -> None:
        self._who = who

    def who(self, connection: HTTPConnection) -> Person | None:
        """The person, or None: not logged in (any more)."""
        return self._who(connection)

    def refusal(self, connection: HTTPConnection) -> str:  # noqa: ARG002 - others look at it
        """What is told to somebody who is nobody."""
        return "You are not logged in."

    def closed(self, connection: HTTPConnection) -> str:  # noqa: ARG002
        """Why this request is answered to nobody at all; '' when it is in order."""
        return ""


class GradioAccess(Access):
    """The login of the Gradio app around an embedded panel (`launch(auth=...)`); `readers` may look but not act."""

    def __init__(self, *, readers: Collection[str] = ()) -> None:
        super().__init__(self._of_cookie)
        self._readers = frozenset(readers)

    def _of_cookie(self, connection: HTTPConnection) -> Person | None:
        app = connection.scope["app"]
        for cookie in (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}"):
            name = app.tokens.get(connection.cookies.get(cookie))
            if name:
                return Person(name, Role.READER if name in self._readers else Role.OPERATOR)
        return None


class OpenAccess(Access):
    """No login: everybody who reaches the panel is an operator. For this machine only.

    A page of a stranger can make its own host name point to this machine; what it then asks names that host, and is refused.
    """

    described = "for everybody on this machine"

    def __init__(self, *hosts: str) -> None:
        super().__init__(lambda _: Person(""))
        self._hosts = {"localhost", *(host.lower() for host in hosts)}

    def closed(self, connection: HTTPConnection) -> str:
        """Only names of this machine are answered."""
        host = urlsplit(f"//{connection.headers.get('host', '')}").hostname or ""
        if host in self._hosts or host.endswith(".localhost") or _is_loopback_address(host):
            return ""
        return (
            "This panel has no login and answers only on this machine, as localhost or 127.0.0.1.\n"
            "To reach it by another name start it with --auth-file, or with --trusted-header behind a proxy that logs in."
        )


class PasswordAccess(Access):
    """Users of a file with hashed passwords, a login page and sessions that survive a restart.

    Wrong passwords are counted by address: that of the peer, or what X-Forwarded-For says where the peer is one of the
    `trusted` proxies (addresses or networks).
    """

    logout_path = "/logout"
    described = "for the users of a file"

    def __init__(self, file: Path | str | AuthFile, *, trusted: Sequence[str] = ()) -> None:
        self.trusted = _networks(trusted)
        self.file = file if isinstance(file, AuthFile) else AuthFile.open(Path(file))
        doubt = warning_about(self.file.path)
        if doubt:
            log.warning("%s", doubt)
        self.ended: dict[str, None] = {}
        """Sessions that were logged out, the newest last; a restart forgets them."""
        super().__init__(self._of_cookie)

    def session_of(self, connection: HTTPConnection) -> str:
        """The session a request carries, valid or not."""
        return connection.cookies.get(self.file.cookie_name(), "")

    def end(self, session: str) -> None:
        """Log out; what is nobody's session is not worth remembering."""
        if self.file.user_of(session) is None:
            return
        self.ended[session] = None
        while len(self.ended) > 10_000:
            del self.ended[next(iter(self.ended))]

    def _of_cookie(self, connection: HTTPConnection) -> Person | None:
        session = self.session_of(connection)
        user = self.file.user_of(session) if session and session not in self.ended else None
        return Person(user.name, user.role) if user else None


class ProxyAccess(Access):
    """A proxy logs people in and names them in a header, which only the proxy can send: `trusted` are its networks."""

    described = "for whom a proxy names"

    def __init__(self, header: str, *, role_header: str | None = None, trusted: Sequence[str] = LOOPBACK) -> None:
        super().__init__(self._of_header)
        self._header, self._role_header = header, role_header
        self._trusted = _networks(trusted or LOOPBACK)
        for name in filter(None, (header, role_header)):
            if not name.replace("-", "").isalnum() or not name.isascii():
                raise AccessError(f"{name!r} is no name of a header. Write one such as X-Forwarded-User.")

    def refusal(self, connection: HTTPConnection) -> str:
        """Tells the two ways in which a request can be nobody's."""
        if not self._is_trusted(connection):
            return "This panel is reached through its login proxy only, not directly."
        return f"The proxy in front of this panel did not say who you are: exactly one header {self._header} is needed."

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
        """The only value; two of them mean that somebody added one to the proxy's."""
        values = connection.headers.getlist(header)
        if len(values) != 1:
            return ""
        with contextlib.suppress(UnicodeError):
            return values[0].encode("latin-1").decode("utf-8").strip()
        return values[0].strip()


def access_of(access: Access | Asked | None) -> Access:
    """The access itself, one that asks a function, or everybody's."""
    if access is None:
        return Access(lambda _: Person(""))
    return access if isinstance(access, Access) else Access(access)


def access_from(settings: Settings) -> Access:
    """The way of logging in that the settings name, fit for the address they name (AccessError, AuthFileError)."""
    if settings.panel_auth_file and settings.panel_trusted_header:
        raise AccessError("Choose one login: --auth-file or --trusted-header.")
    if settings.panel_role_header and not settings.panel_trusted_header:
        raise AccessError("--role-header goes with --trusted-header, which is not set.")
    if settings.panel_trusted_proxy and not (settings.panel_auth_file or settings.panel_trusted_header):
        raise AccessError("--trusted-proxy goes with --auth-file or --trusted-header; neither is set.")
    access: Access
    if settings.panel_auth_file:
        access = PasswordAccess(settings.panel_auth_file, trusted=settings.panel_trusted_proxy)
    elif settings.panel_trusted_header:
        access = ProxyAccess(
            settings.panel_trusted_header, role_header=settings.panel_role_header, trusted=settings.panel_trusted_proxy
        )
    else:
        access = OpenAccess(settings.panel_host)
    check_exposure(settings.panel_host, access)
    return access


def check_exposure(host: str, access: Access) -> None:
    """Refuse to listen where others reach a panel without a login (AccessError)."""
    if isinstance(access, OpenAccess) and not is_loopback(host):
        raise AccessError(
            f"The panel would listen on {host} without a login: whoever reaches it could act on alerts and orders.\n"
            "Either let people log in:  --auth-file FILE  (made by walltrack-alerts panel-user add FILE NAME --role operator)\n"
            "or let a proxy do it:      --trusted-header X-Forwarded-User --trusted-proxy ADDRESS\n"
            "or stay on this machine:   --host 127.0.0.1"
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
    """Whether the page that asks came from here: by its Origin, which no page can invent and a page of ours always sends."""
    if connection.headers.get("sec-fetch-site") == "same-origin":  # which no page can invent either, and no proxy can spoil
        return True
    origin = connection.headers.get("origin", "").lower()
    hosts = {connection.headers.get(name, "").lower() for name in ("host", "x-forwarded-host")} - {""}
    return origin in origins or origin.partition("://")[2] in hosts


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    try:
        return addresses.networks(texts)
    except ValueError as error:
        raise AccessError(f"--trusted-proxy: {error}. Write an address or a network such as 10.0.0.0/8.") from error


def _is_loopback_address(host: str) -> bool:
    address = addresses.parse(host)
    return address is not None and address.is_loopback
