"""The Chromium of the tests, benchmarks and screenshots: the one on the PATH, else playwright's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright

_FLAGS = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")
_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def launch_chromium(playwright: Playwright) -> Browser | None:
    """A browser without a window; None if no Chromium is installed."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None) or playwright.chromium.executable_path
    if not Path(program).exists():
        return None
    flags = [*_FLAGS, "--no-sandbox"] if os.geteuid() == 0 else _FLAGS
    return playwright.chromium.launch(executable_path=program, args=flags)
