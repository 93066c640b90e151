"""Servers that a test may kill."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.crash import Server


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))  # short enough for a Unix socket
    folder.chmod(0o755)
    yield Server(folder / "pg")
    shutil.rmtree(folder)
