"""The panel's own users: a file of lines `name:role:hash` with argon2 hashes, read again when it changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import stat
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import ModuleType

from walltrack_alerts.errors import AlertsError
from walltrack_alerts.files import replace_file

NAME_LENGTH = 100
PASSWORD_LENGTH = (8, 1000)
SESSION_SECONDS = 14 * 86400
DEVICE_SECONDS = 400 * 86400
"""How long a browser stays known: the longest that browsers keep a cookie."""

log = logging.getLogger(__name__)


class AuthFileError(AlertsError):
    """The file of users cannot be used; the text names the line."""


class Role(StrEnum):
    """Operators act on alerts and orders; readers only read."""

    OPERATOR = "operator"
    READER = "reader"


@dataclass(frozen=True, slots=True)
class User:
    """One line of the file."""

    name: str
    role: Role
    password_hash: str


@dataclass(slots=True)
class AuthFile:
    """The users of a file, and their sessions, which are signed with the key in a second file, `FILE.key`."""

    path: Path
    _users: dict[str, User] = field(default_factory=dict)
    _seen: tuple[int, ...] = ()
    _key: bytes = b""

    @classmethod
    def open(cls, path: Path) -> AuthFile:
        """The checked file (AuthFileError for wrong lines or permissions)."""
        file = cls(path)
        users, wrong = _parse(_read(path))
        if wrong:
            raise AuthFileError("\n".join([f"{path}: {wrong[0]}", *wrong[1:]]))
        if not users:
            raise AuthFileError(f"{path} names no user.\nAdd one: walltrack-alerts panel-user add {path} NAME --role operator")
        file._key = _session_key(path)
        return file

    def user(self, name: str) -> User | None:
        """The user of this name in the current file; the user of a wrong line is locked out, and the line is logged."""
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                users, wrong = _parse(_read(self.path))
                for problem in wrong:
                    log.error("%s: %s", self.path, problem)
                self._users, self._seen = users, seen
        except (OSError, AuthFileError) as error:
            if self._seen:
                log.error("all users are logged out: %s", error)  # noqa: TRY400 - the text is the whole message
            self._users, self._seen = {}, ()
        return self._users.get(name)

    def check(self, name: str, password: str) -> User | None:
        """The user, if the password is right. Takes about 0.1 s of CPU, also for a name that does not exist."""
        argon2 = _argon2()
        user = self.user(name)
        try:
            argon2.PasswordHasher().verify(user.password_hash if user else _DUMMY_HASH, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return None
        return user

    def session(self, user: User) -> str:
        """A token that proves the login for SESSION_SECONDS; it survives a restart, and a new password ends it."""
        until = str(int(time.time()) + SESSION_SECONDS)
        value = f"{user.name.encode().hex()}.{until}.{secrets.token_hex(8)}"
        return f"{value}.{self._sign(user, value)}"

    def user_of(self, session: str) -> User | None:
        """The user of a session; None when it has expired, is forged, or its user was removed."""
        value, _, signature = session.rpartition(".")
        try:
            name, until, _ = value.split(".")
            user = self.user(bytes.fromhex(name).decode())
            valid = user is not None and float(until) > time.time()
        except ValueError:
            return None
        if user is None or not hmac.compare_digest(self._sign(user, value).encode(), signature.encode()):
            return None
        return user if valid else None

    def device(self, name: str, number: str = "") -> str:
        """A token that proves that this user has logged in with this browser before; the browser keeps its number."""
        value = f"{name.encode().hex()}.{number or secrets.token_hex(8)}"
        return f"{value}.{self._mac(f'device {value}')}"

    def device_of(self, device: str, name: str) -> str:
        """The number of a browser in which this user has logged in before; '' for any other browser."""
        number = device.split(".")[1] if device.count(".") == 2 else ""
        known = number and hmac.compare_digest(self.device(name, number).encode(), device.encode())
        return number if known else ""

    def cookie_name(self) -> str:
        """The cookie of this file's sessions; panels on other ports of the same host share the browser's cookies."""
        return "walltrack_" + hashlib.sha256(b"name" + self._key).hexdigest()[:12]

    def device_cookie_name(self) -> str:
        """The cookie that marks a known browser."""
        return self.cookie_name() + "_device"

    def _sign(self, user: User, value: str) -> str:
        return self._mac(f"{user.password_hash}\n{value}")

    def _mac(self, value: str) -> str:
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()


def list_users(path: Path) -> list[User]:
    """The users of a file, in its order (AuthFileError)."""
    users, wrong = _parse(_read(path))
    if wrong:
        raise AuthFileError("\n".join([f"{path}: {wrong[0]}", *wrong[1:]]))
    return list(users.values())


def has_user(path: Path, name: str) -> bool:
    """Whether the file exists and names this user (AuthFileError)."""
    return path.exists() and name in _parse(_read(path))[0]


def add_user(path: Path, name: str, role: Role, password: str) -> bool:
    """Write a user to the file, which is created if needed; returns whether the name is new (AuthFileError)."""
    problem = _wrong_name(name)
    if problem:
        raise AuthFileError(f"The name {name!r} {problem}.")
    shortest, longest = PASSWORD_LENGTH
    if not shortest <= len(password) <= longest:
        raise AuthFileError(f"A password has {shortest} to {longest} characters.")
    text = _read(path) if path.exists() else ""
    users, _ = _parse(text)
    line = f"{name}:{role}:{_argon2().PasswordHasher().hash(password)}"
    _write(path, [*(each for each in text.splitlines() if not each.startswith(f"{name}:")), line])
    _session_key(path)
    return name not in users


def remove_user(path: Path, name: str) -> None:
    """Remove a user from the file (AuthFileError)."""
    lines = _read(path).splitlines()
    kept = [line for line in lines if not line.startswith(f"{name}:")]
    if kept == lines:
        raise AuthFileError(f"{path} names no user {name!r}.")
    _write(path, kept)


def warning_about(path: Path) -> str | None:
    """A warning about permissive rights on the file, or None."""
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return f"{path} is readable by users other than its owner. If that is not intended: chmod 600 {path}"
    return None


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise AuthFileError(
            f"There is no file {path}.\nCreate it: walltrack-alerts panel-user add {path} NAME --role operator"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise AuthFileError(f"{path} cannot be read: {error}") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AuthFileError(f"{path} is writable by users other than its owner: chmod 600 {path}")
    return text


def _parse(text: str) -> tuple[dict[str, User], list[str]]:
    """The users by name, and the problems of the wrong lines."""
    users: dict[str, User] = {}
    wrong = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.strip().partition(":")
        role, _, password_hash = rest.partition(":")
        problem = _wrong_name(name) or _wrong_role(role) or _wrong_hash(password_hash)
        if problem or name in users:
            wrong.append(f"line {number}: {problem or f'names {name} again'}")
        else:
            users[name] = User(name, Role(role), password_hash)
    return users, wrong


def _wrong_name(name: str) -> str:
    if not name or len(name) > NAME_LENGTH:
        return f"is not a name of 1 to {NAME_LENGTH} characters"
    if ":" in name or name.startswith("#") or name != name.strip() or not name.isprintable():
        return "has a character that a name cannot have: a colon, a leading #, a space at the edge, or one that does not print"
    return ""


def _wrong_role(role: str) -> str:
    return "" if role in set(Role) else f"the role is {role!r}, not operator or reader"


def _wrong_hash(password_hash: str) -> str:
    argon2 = _argon2()
    try:
        argon2.extract_parameters(password_hash)
    except argon2.exceptions.InvalidHashError:
        return "has no argon2 hash; write lines with walltrack-alerts panel-user add"
    return ""


def _write(path: Path, lines: list[str]) -> None:
    """Replace the file atomically with mode 0600; the owner of an existing file stays."""
    try:
        replace_file(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise AuthFileError(f"{path} cannot be written: {error.strerror}") from error


def _session_key(path: Path) -> bytes:
    """The key beside the file; if none can be stored, sessions end with the process."""
    beside = path.with_name(path.name + ".key")
    try:
        if not beside.exists():
            _write(beside, [secrets.token_hex(32)])
            if os.geteuid() == 0:
                os.chown(beside, path.stat().st_uid, path.stat().st_gid)
        key = bytes.fromhex(_read(beside).strip())
        if len(key) >= 32:
            return key
        log.warning("%s holds no key: logins end with this process", beside)
    except (AuthFileError, OSError, ValueError) as error:
        log.warning("logins end with this process: %s", error)
    return secrets.token_bytes(32)


def _argon2() -> ModuleType:
    try:
        import argon2
    except ModuleNotFoundError as error:
        raise AlertsError(
            "Users with passwords need argon2-cffi. Install it with: pip install 'walltrack-alerts[panel]'"
        ) from error
    return argon2


# The hash of an unknown password, so that a wrong name takes as long as a wrong password.
_DUMMY_HASH = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
