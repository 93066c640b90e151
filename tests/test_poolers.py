"""What stands between a listener and the primary: PgBouncer in transaction mode, a standby."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.test_stream import RAISE, Consumer, ids, read
from walltrack_alerts.errors import ListenError
from walltrack_alerts.listener import Timing, listen
from walltrack_alerts.service import AlertService

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """The test's database through PgBouncer in transaction mode."""
    if PGBOUNCER is None:
        pytest.skip("no pgbouncer on this machine; .ci/run has one")
    parts = conninfo_to_dict(database_url)
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))  # short enough for a Unix socket
    folder.chmod(0o777)
    target = " ".join(f"{key}={parts[key]}" for key in ("host", "port", "user", "password", "dbname") if parts.get(key))
    (folder / "users").write_text(f'"{parts.get("user", "postgres")}" ""\n')
    (folder / "ini").write_text(
        f"[databases]\npooled = {target}\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {folder}\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nignore_startup_parameters = extra_float_digits\n"
    )
    command = [PGBOUNCER, "-q", str(folder / "ini")]
    if os.geteuid() == 0:  # it refuses to run as root, and has to reach the server's socket
        owner = Path(str(parts["host"])).stat().st_uid
        command = ["setpriv", f"--reuid={owner}", "--clear-groups", *command]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = make_conninfo("", host=str(folder), port="6432", dbname="pooled", user=parts.get("user", "postgres"))
        for _ in range(100):
            with suppress(psycopg.Error):
                psycopg.connect(url).close()
                break
            time.sleep(0.05)
        yield url
        process.terminate()
    shutil.rmtree(folder)


async def test_a_transaction_pooler_is_found_out(pooled_url: str, db: psycopg.Connection) -> None:
    with pytest.raises(ListenError, match="WALLTRACK_LISTEN_URL"):
        await anext(listen(pooled_url, timing=Timing(heartbeat=1)))
    async with AlertService.from_url(pooled_url) as service:  # everything but LISTEN works there, again and again
        for number in range(12):
            await service.create_alert("test", "high", f"title {number}")
        assert len(await service.get_active_alerts()) == 12
    with psycopg.connect(pooled_url, autocommit=True) as pooled:
        assert [row[0] for row in read(pooled, None)] == ids(db)


async def test_a_session_that_is_heard_beside_a_pooler(pooled_url: str, database_url: str) -> None:
    """Written through the pooler, heard on the direct connection."""
    consumer = Consumer(database_url)
    with psycopg.connect(pooled_url, autocommit=True) as pooled:
        pooled.execute(RAISE, ("high", "a"))
        await consumer.until(lambda: len(consumer.events) == 1)
