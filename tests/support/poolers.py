"""PgBouncer in front of a database."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.deadline import Deadline
from tests.support.folders import temporary_folder

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextmanager
def pooled(database_url: str, mode: str) -> Iterator[str]:
    """The test's database through PgBouncer."""
    if PGBOUNCER is None:
        pytest.skip("no pgbouncer on this machine; the gate installs it")
    parts = conninfo_to_dict(database_url)
    folder = temporary_folder(0o777)
    target = " ".join(f"{key}={parts[key]}" for key in ("host", "port", "user", "password", "dbname") if parts.get(key))
    (folder / "users").write_text(f'"{parts.get("user", "postgres")}" ""\n')
    (folder / "ini").write_text(
        f"[databases]\npooled = {target}\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {folder}\n"
        f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = 2\nignore_startup_parameters = extra_float_digits\n"
    )
    command = [PGBOUNCER, "-q", str(folder / "ini")]
    if os.geteuid() == 0:  # PgBouncer refuses to run as root, and must reach the server's socket
        owner = Path(str(parts["host"])).stat().st_uid
        command = ["setpriv", f"--reuid={owner}", "--clear-groups", *command]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = make_conninfo("", host=str(folder), port="6432", dbname="pooled", user=parts.get("user", "postgres"))
        deadline = Deadline()
        try:
            while deadline.is_ahead():
                assert process.poll() is None, "PgBouncer has ended"
                with suppress(psycopg.Error):
                    psycopg.connect(url).close()
                    break
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            shutil.rmtree(folder)


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """The test's database through PgBouncer in transaction mode."""
    with pooled(database_url, "transaction") as url:
        yield url
