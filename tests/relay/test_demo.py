"""The demo delivers to its own terminal, so that a newcomer sees deliveries without an account."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from tests.support.folders import remove, temporary_folder
from tests.support.terminal import run_in_terminal

pytestmark = pytest.mark.own_server


def test_the_demo_prints_its_deliveries() -> None:
    folder = temporary_folder()
    environ = {"WALLTRACK_DATA_DIR": str(folder / "data"), "PYTHONIOENCODING": "utf-8"}
    try:
        lines = run_in_terminal("", 80, "demo", "--no-browser", "--port", "0", "--pace", "20", "--duration", "10", **environ)
        checks = run_in_terminal("", 80, "doctor", **environ)
    finally:
        remove(folder)
    delivered = [line for line in lines if re.match(r"\d\d:\d\d:\d\d \[terminal\] ", line)]
    assert any("EXIT sell" in line for line in delivered) and max(cell_len(line) for line in lines) <= 80
    assert any("walltrack_relay with relay access only" in line for line in lines)
    assert not any("WARNING" in line or "ERROR" in line for line in lines)
    assert len(checks) > 10 and not any("FAIL" in line for line in checks)  # without a demo no relay is missing
