"""Folders for servers: in memory, and short enough for a Unix socket."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_MEMORY = Path("/dev/shm")
_ROOM = 2_000_000_000
"""Bytes; a container may have a far smaller /dev/shm."""


def temporary_folder(mode: int = 0o755) -> Path:
    """A folder that the server's user may enter (pytest's own is private).

    A database has 900 files, and on a disk the file system takes ten times as long for them as PostgreSQL. A killed server
    loses nothing in memory: only a machine that stops would.
    """
    in_memory = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir=_MEMORY if in_memory else "/tmp")).resolve()
    folder.chmod(mode)
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
