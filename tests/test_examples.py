"""The documented clients and the documented payload, run for real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.bot import Bot
from walltrack_alerts.models import Notification

ROOT = Path(__file__).parent.parent
RAISE = "select walltrack.raise_alert('test', 'high', 'a title', 'a message', '{}', true, %s)"
VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}


def environment(url: str) -> dict[str, str]:
    parts = conninfo_to_dict(url)
    return {**os.environ, **{name: str(parts[key]) for key, name in VARIABLES.items() if parts.get(key)}}


def node_folder() -> str | None:
    """Where npm's pg is installed: WALLTRACK_TEST_NODE_FOLDER."""
    return os.environ.get("WALLTRACK_TEST_NODE_FOLDER") if shutil.which("node") else None


CLIENTS = [
    pytest.param([sys.executable, str(ROOT / "examples/listen_psycopg.py")], None, id="psycopg"),
    pytest.param(
        ["node", str(ROOT / "examples/listen_node.mjs")], node_folder(), id="node",
        marks=pytest.mark.skipif(node_folder() is None, reason="WALLTRACK_TEST_NODE_FOLDER names no folder with npm's pg"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("command", "folder"), CLIENTS)
def test_a_client_is_live_and_resumes(
    database_url: str, db: psycopg.Connection, tmp_path: Path, command: list[str], folder: str | None
) -> None:
    seen = []
    for run in range(3):
        db.execute(RAISE, (f"before {run}",))
        with subprocess.Popen(
            [*command, str(tmp_path / "place")], stdout=subprocess.PIPE, text=True, cwd=folder, env=environment(database_url)
        ) as process:
            assert process.stdout is not None
            seen.append(json.loads(process.stdout.readline())["event_id"])
            db.execute(RAISE, (f"live {run}",))
            seen.append(json.loads(process.stdout.readline())["event_id"])
            place = tmp_path / "place"
            while not place.exists() or not place.read_text().endswith(f"/{seen[-1]}"):
                assert process.poll() is None
            process.kill()
    assert seen == [row[0] for row in db.execute("select event_id from walltrack.alert_events order by event_id")]


@pytest.mark.skipif(shutil.which("psql") is None, reason="no psql on this machine")
def test_psql_reads_each_event_once(database_url: str, db: psycopg.Connection, tmp_path: Path) -> None:
    lines = []
    for run in range(3):
        db.execute(RAISE, (f"it's {run}",))
        lines += subprocess.run(
            [ROOT / "examples/read_psql.sh", tmp_path / "place"],
            check=True, capture_output=True, text=True, env=environment(database_url),
        ).stdout.splitlines()  # fmt: skip
    assert [line.split("\t")[0] for line in lines] == [
        str(row[0]) for row in db.execute("select event_id from walltrack.alert_events order by event_id")
    ]


def test_the_schema_is_the_one_in_the_repository() -> None:
    assert json.loads((ROOT / "docs/payload.schema.json").read_text()) == Notification.model_json_schema()


def test_real_payloads_keep_the_schema(database_url: str, bot: Bot) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen walltrack_alerts")
        order = bot.create("exit")
        bot.exhaust(order)
        bot.fill(order)
        bot.execute(RAISE, (None,))
        heard = list(listener.notifies(timeout=10, stop_after=3))
    assert [Notification.model_validate_json(n.payload).kind for n in heard] == ["raised", "resolved", "raised"]
