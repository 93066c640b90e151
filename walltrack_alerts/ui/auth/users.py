"""Users with passwords, from a file, and their sessions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import HTTPConnection

from walltrack_alerts.passwords import AuthFile, warning_about
from walltrack_alerts.ui.auth.access import Access, Person, trusted_networks

log = logging.getLogger(__name__)


class PasswordAccess(Access):
    """Users of a file with hashed passwords, a login page and sessions that survive a restart.

    Wrong passwords are counted by address: that of the peer, or the one in X-Forwarded-For if the peer is one of the
    `trusted` proxies (addresses or networks).
    """

    logout_path = "/logout"
    described = "with a login for the users of a file"

    def __init__(self, file: Path | str | AuthFile, *, trusted: Sequence[str] = ()) -> None:
        self.trusted = trusted_networks(trusted)
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
        """Log out; an invalid session is not remembered."""
        if self.file.user_of(session) is None:
            return
        self.ended[session] = None
        while len(self.ended) > 10_000:
            del self.ended[next(iter(self.ended))]

    def _of_cookie(self, connection: HTTPConnection) -> Person | None:
        session = self.session_of(connection)
        user = self.file.user_of(session) if session and session not in self.ended else None
        return Person(user.name, user.role) if user else None
