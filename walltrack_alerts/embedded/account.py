"""The account that runs the embedded server: our own, and an unprivileged one if we are root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from walltrack_alerts.embedded.processes import locked

SERVER_USER = "embedded_postgres"
"""PostgreSQL refuses to run as root."""

_LOCK = Path("/var/run/walltrack-alerts.lock")


def server_account() -> Mapping[str, Any]:
    """Keyword arguments for subprocess: none for ourselves; for root an unprivileged user, created when missing (OSError)."""
    if os.geteuid() != 0:
        return {}
    entry = _passwd_entry()
    if entry is None:
        with locked(_LOCK):  # two useradd at once both succeed, and the second gives the user another uid
            entry = _passwd_entry()
            if entry is None:
                create = ["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", SERVER_USER]
                subprocess.run(create, check=False, capture_output=True)
                entry = _passwd_entry()
    if entry is None:
        raise OSError(f"user {SERVER_USER} does not exist and useradd did not create it")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _passwd_entry() -> Any | None:
    import pwd

    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        return None
