"""The server of one data folder: the processes that use it, its cluster, its start and its stop."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from walltrack_alerts.embedded.account import SERVER_USER, server_account
from walltrack_alerts.embedded.processes import live_process, locked
from walltrack_alerts.embedded.programs import Programs, installed_bin
from walltrack_alerts.embedded.signals import signals_deferred
from walltrack_alerts.errors import EmbeddedStartError

_PORT = 5432  # only part of the socket's name
_START_SECONDS = 120  # recovery after a crash included
_STOP_SECONDS = 30
_ORPHANS_SECONDS = 10  # how long the children of a killed server may take to notice
_SOCKET_PATH_BYTES = 103  # the shortest limit of the supported systems

_ADVICE = (
    "Repair the cause and try again, name another folder with WALLTRACK_DATA_DIR, "
    "or set WALLTRACK_DATABASE_URL to use another PostgreSQL."
)

_logger = logging.getLogger(__name__)
_handles: dict[Path, set[object]] = {}  # of this process; changed only under the lock of the folder


@dataclass(frozen=True)
class Cluster:
    """One data folder and the programs that serve it."""

    data_dir: Path
    programs: Programs

    @classmethod
    def at(cls, data_dir: Path) -> Cluster:
        """The cluster of a folder, which need not exist (EmbeddedUnavailableError, EmbeddedStartError)."""
        installed = installed_bin()
        try:
            folder = data_dir.expanduser().resolve()
            return cls(folder, Programs(folder, installed, server_account()))
        except OSError as error:
            raise EmbeddedStartError(f"The embedded PostgreSQL cannot use {data_dir}: {error}.\n{_ADVICE}") from error

    def acquire(self, handle: object) -> str:
        """Register the handle and start the server unless it runs; its URI."""
        try:
            self._make_parents()
            with locked(self._beside("lock")), signals_deferred():
                _handles.setdefault(self.data_dir, set()).add(handle)
                self._write_pids(self._live_pids() | {os.getpid()})
                if not (self.data_dir / "PG_VERSION").exists():
                    self._init()
                return self._ensure_running()
        except OSError as error:
            raise EmbeddedStartError(f"The embedded PostgreSQL cannot use {self.data_dir}: {error}.\n{_ADVICE}") from error

    def release(self, handle: object) -> None:
        """Drop the handle, if it was acquired; the last one stops the server."""
        if handle not in _handles.get(self.data_dir, ()):
            return
        with signals_deferred():
            try:
                with locked(self._beside("lock")):
                    _handles[self.data_dir].discard(handle)
                    pids = self._live_pids()
                    if not _handles[self.data_dir]:
                        pids.discard(os.getpid())
                    if not pids:
                        self._stop()
                    self._write_pids(pids)
            except OSError as error:  # must not hide the exception that ended the block
                _logger.warning("The embedded PostgreSQL in %s may still run: %s", self.data_dir, error)

    # Handles

    def _live_pids(self) -> set[int]:
        try:
            pids = json.loads(self._beside("handles").read_text())
        except (FileNotFoundError, ValueError):
            return set()
        return {pid for pid in pids if live_process(pid) is not None}

    def _write_pids(self, pids: set[int]) -> None:
        draft = self._beside("handles.new")
        draft.write_text(json.dumps(sorted(pids)))
        draft.replace(self._beside("handles"))  # a kill in between must not leave half a list

    # The data folder

    def _beside(self, suffix: str) -> Path:
        """A file of ours beside the folder. Inside, the server's user could plant a link that root then follows."""
        return self.data_dir.with_name(f".{self.data_dir.name}.{suffix}")

    def _make_parents(self) -> None:
        missing = [folder for folder in self.data_dir.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            if self._account:
                folder.chmod(0o755)  # whatever the umask is, the server's user must be able to pass

    def _init(self) -> None:
        """Run initdb in a folder beside, then rename it: a kill in between leaves no half-made cluster."""
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise EmbeddedStartError(
                f"{self.data_dir} has files in it but no PostgreSQL data.\n"
                "Empty it, or name another folder with WALLTRACK_DATA_DIR."
            )
        # A new one each time: the initdb of a process that was killed may still be writing into its own.
        draft = Path(tempfile.mkdtemp(prefix=self._beside("new-").name, dir=self.data_dir.parent))
        if self._account:
            os.chown(draft, self._account["user"], self._account["group"])
        # The locale of the environment may not exist on this system, and initdb would refuse it.
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        code, output = self.programs.run("initdb", "-D", str(draft), *options)
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
        """Run pg_ctl start: its exit code, and the new lines of the server's log or else its output."""
        socket_dir = self._socket_dir()
        pid_file = self.data_dir / "postmaster.pid"
        if pid_file.exists() and self._postmaster() is None:
            # A killed server left them. The next one would believe them if another process had its pid by now.
            for left_over in (pid_file, *socket_dir.glob(f".s.PGSQL.{_PORT}*")):
                left_over.unlink(missing_ok=True)
        offset = self._log.stat().st_size if self._log.exists() else 0
        directories = '"' + str(socket_dir).replace('"', '""') + '"'
        # No network, only the socket. The folder is named here because pg_ctl quotes its own -D badly.
        options = f"-D {shlex.quote(str(self.data_dir))} -h '' -p {_PORT} -k {shlex.quote(directories)}"
        code, output = self.programs.run(
            "pg_ctl", "-l", self._log.name, "-w", "-t", str(_START_SECONDS), "-o", options, "start",
            cwd=self.data_dir,
        )  # fmt: skip
        log = self._log.read_bytes()[offset:].decode(errors="replace") if self._log.exists() else ""
        return code, log or output

    def _stop(self) -> None:
        for mode in ("fast", "immediate"):
            if self._postmaster() is None:
                return
            _, output = self.programs.run(
                "pg_ctl", "-w", "-t", str(_STOP_SECONDS), "-m", mode, "stop",
                start_new_session=True,  # a Ctrl-C at the terminal is for us, not for it
            )  # fmt: skip
        if self._postmaster() is not None:
            _logger.warning("The embedded PostgreSQL in %s does not stop: %s", self.data_dir, output.strip())

    def _postmaster(self) -> Any | None:
        """The process of the running server; a live pid alone proves nothing, because pids are used again."""
        import psutil  # type: ignore[import-untyped]

        try:
            pid = int((self.data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        process = live_process(pid)
        try:
            if process is None or process.name() != "postgres":
                return None
            # If we started it, it names the folder. Root in a container may not read the cwd of others.
            ours = str(self.data_dir) in process.cmdline() or Path(process.cwd()) == self.data_dir
        except psutil.Error:  # the process has ended, or belongs to another user
            return None
        return process if ours else None

    def _uri(self) -> str | None:
        """The URI from postmaster.pid, whose lines are pid, folder, start, port, socket folder, address, memory, status."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if len(lines) < 8 or lines[7].strip() != "ready":
            return None
        # An empty address, because PGHOSTADDR would win over the folder of the socket.
        return f"postgresql://postgres@/postgres?host={quote(lines[4], safe='')}&hostaddr=&port={lines[3]}"

    @property
    def _log(self) -> Path:
        return self.data_dir / "log"

    def _socket_dir(self) -> Path:
        """The data folder, which only its owner may enter; an equally private one in /tmp if its path cannot be used."""
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

    @property
    def _account(self) -> Mapping[str, Any]:
        return self.programs.account

    def _advice(self) -> str:
        if not self._account:
            return _ADVICE
        return f"It runs as user {SERVER_USER}, who must be able to enter the folders above it.\n{_ADVICE}"


def _last_lines(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-10:])
