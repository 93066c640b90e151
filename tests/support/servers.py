"""Servers that a test may kill."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from bench.crash import Server
from tests.support.folders import temporary_folder


@pytest.fixture
def server() -> Iterator[Server]:
    folder = temporary_folder()
    yield Server(folder / "pg")
    shutil.rmtree(folder)
