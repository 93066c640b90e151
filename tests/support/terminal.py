"""The command in a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress

from tests.support.commands import COMMAND


def run_in_terminal(url: str, columns: int, *arguments: str, expect: int = 0, **variables: str) -> list[str]:
    """The lines that a person sees on standard output, without colours."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment = {**kept, "WALLTRACK_DATABASE_URL": url, "TERM": "xterm", **variables}
    with subprocess.Popen([*COMMAND, *arguments], stdout=follower, stderr=subprocess.PIPE, env=environment) as process:
        os.close(follower)
        seen = b""
        with suppress(OSError):  # the other side has gone
            while chunk := os.read(leader, 10_000):
                seen += chunk
        assert process.stderr is not None
        problem = process.stderr.read().decode(errors="replace")
    os.close(leader)
    assert process.returncode == expect and "Traceback" not in problem, problem
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode("utf-8", "replace")).replace("\r\n", "\n").splitlines()
