"""The page's rules that need no browser, tested by Node's test runner."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.own_server

ROOT = Path(__file__).parent.parent.parent


def test_the_modules_pass_their_own_tests() -> None:
    if shutil.which("node") is None:
        pytest.skip("these tests need Node 18 or newer on the PATH; the gate installs it")
    files = sorted(map(str, (ROOT / "tests" / "js").glob("*.test.js")))
    for zone in ("UTC", "America/New_York", "Asia/Kolkata"):
        run = subprocess.run(
            ["node", "--test", *files], cwd=ROOT, env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"TZ={zone}\n{run.stdout}{run.stderr}"
