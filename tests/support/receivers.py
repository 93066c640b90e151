"""The example receivers as running processes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
OLD, NEW, OTHER = (f"whsec_{base64.b64encode(name * 8).decode()}" for name in (b"old+", b"new?", b"else"))

RECEIVERS = [
    pytest.param([sys.executable, str(ROOT / "examples/receive_webhook.py")], id="python"),
    pytest.param(
        ["node", str(ROOT / "examples/receive_webhook.mjs")],
        id="node",
        marks=pytest.mark.skipif(shutil.which("node") is None, reason="no Node on this machine; the gate installs it"),
    ),
]


class Receiver:
    """A running example, and what it answers."""

    def __init__(self, process: subprocess.Popen[str], port: str) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}/"

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        """The status of the answer."""
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, body, headers), timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def handled(self) -> dict[str, Any]:
        """The next event that it has handled."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


@contextmanager
def running(command: list[str], secrets: str) -> Iterator[Receiver]:
    with subprocess.Popen(
        [*command, "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "WT_SECRET": secrets}
    ) as process:
        try:
            assert process.stderr is not None
            yield Receiver(process, process.stderr.readline().split()[-1])
        finally:
            process.kill()
