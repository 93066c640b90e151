"""Runs the command line, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from walltrack_alerts.cli import app

COMMAND = [str(Path(sys.executable).with_name("walltrack-alerts"))]


def run(url: str, *arguments: str, expect: int = 0, encoding: str = "utf-8") -> Result:
    """Run a command in this process, because starting one takes longer than most commands; `listen` needs a process."""
    done = CliRunner(charset=encoding).invoke(app, arguments, env={"WALLTRACK_DATABASE_URL": url, "NO_COLOR": "1"})
    assert done.exit_code == expect, done.stdout + done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def usage_error(done: Result) -> str:
    """The text of a usage error without its frame and line breaks."""
    return " ".join(done.stderr.replace("│", " ").split())


def run_process(url: str, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the installed command in its own process."""
    done = subprocess.run(
        [*COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=60,
        env={**os.environ, "WALLTRACK_DATABASE_URL": url, "COLUMNS": "160", "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done
