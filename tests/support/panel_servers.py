"""Panels that start and stop while a page is open."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

PATIENCE = 60
"""Seconds; a busy machine is slow, not wrong."""


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


@contextmanager
def separate_panel(database_url: str, port: int) -> Iterator[str]:
    """The panel in its own process, which Ctrl+C ends cleanly."""
    code = (
        "import sys; from walltrack_alerts.ui import launch_panel; "
        "launch_panel(sys.argv[1], port=int(sys.argv[2]), operator='ada', refresh_seconds=0.3)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, database_url, str(port)], stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_answer(process, url)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
