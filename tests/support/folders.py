"""Folders short enough for a Unix socket."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]


def temporary_folder() -> Path:
    """A folder short enough for a socket, which the server's user may enter (pytest's own is private)."""
    folder = Path(tempfile.mkdtemp(prefix="wta-", dir="/tmp")).resolve()
    folder.chmod(0o755)
    return folder


def remove(folder: Path) -> None:
    for process in servers(folder):
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def servers(folder: Path) -> list[psutil.Process]:
    """The postmasters of this folder or of folders inside."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "status"]):
        arguments: Sequence[str] = process.info["cmdline"] or ()
        alive = process.info["name"] == "postgres" and process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and "-D" in arguments and Path(arguments[arguments.index("-D") + 1]).is_relative_to(folder):
            found.append(process)
    return found
