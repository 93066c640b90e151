"""The page's rules that need no browser, tested by Node's test runner."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.own_server

ROOT = Path(__file__).parent.parent.parent
STATIC = ROOT / "walltrack_alerts" / "ui" / "static"


def test_the_modules_pass_their_own_tests() -> None:
    if shutil.which("node") is None:
        pytest.skip("these tests need Node 18 or newer on the PATH; the gate installs it")
    files = sorted(map(str, (ROOT / "tests" / "js").glob("*.test.js")))
    for zone in ("UTC", "America/New_York", "Asia/Kolkata"):
        run = subprocess.run(
            ["node", "--test", *files], cwd=ROOT, env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"TZ={zone}\n{run.stdout}{run.stderr}"


def test_no_type_of_the_modules_is_any() -> None:
    """biome finds the word in types.d.ts, but not in the comments that give the modules their types."""
    comments = [
        f"{path.name}: {comment}"
        for path in STATIC.glob("*.js")
        for comment in re.findall(r"/\*\*.*?\*/", path.read_text(encoding="utf-8"), re.DOTALL)
    ]
    assert len(comments) > 200
    assert [each for each in comments if re.search(r"@\w+\s*\{[^@]*\bany\b[^@]*\}", each)] == []
