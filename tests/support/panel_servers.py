"""Panels and apps in processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from pathlib import Path

import httpx

from tests.support.commands import COMMAND

PATIENCE = 60
"""Seconds; a busy machine is slow, not wrong."""
PORTS = 500
"""Ports of each worker."""
_numbers = cycle(range(PORTS))


def wait_for_answer(process: subprocess.Popen[str], url: str) -> None:
    """Wait until the server answers. A successful connect proves nothing: a free port can connect to itself."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(httpx.TransportError):
            httpx.get(url, timeout=5)
            return
        assert process.poll() is None, f"{process.args} has ended"
        assert time.monotonic() < deadline, f"{process.args} does not answer"
        time.sleep(0.1)


def unmeasured(**variables: str) -> dict[str, str]:
    """The environment without coverage, which doubles the time of importing Gradio; panels in this process are measured."""
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"} | variables


@contextmanager
def separate_panel(database_url: str, port: int, users: Path) -> Iterator[str]:
    """The command `panel` in its own process, which Ctrl+C ends cleanly."""
    process = subprocess.Popen(
        [*COMMAND, "panel", "--port", str(port), "--auth-file", str(users)], stderr=subprocess.PIPE, text=True,
        env=unmeasured(WALLTRACK_DATABASE_URL=database_url),
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_answer(process, url)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
    said = ("Using ", "wrong name or password ")  # the database in use, and the tests' wrong guesses
    assert process.returncode == 130, complaints
    assert [line for line in complaints.splitlines() if not line.startswith(said)] == []


def free_port() -> int:
    """A port below those of clients, which the system may give away again, and of no other worker."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for number in islice(_numbers, PORTS):
        port = 20_000 + PORTS * (worker % 20) + number
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port")
