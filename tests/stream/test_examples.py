"""The example clients and the documented payload, with real processes and notifications."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from psycopg.conninfo import conninfo_to_dict

from tests.support.bot import Bot
from walltrack_alerts.models import Notification

ROOT = Path(__file__).parent.parent.parent
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
        marks=pytest.mark.skipif(node_folder() is None, reason="no folder with npm's pg; the gate installs it"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("command", "folder"), CLIENTS)
def test_example_clients_follow_live_and_resume(
    database_url: str, db: psycopg.Connection, tmp_path: Path, command: list[str], folder: str | None
) -> None:
    """Three runs, each stopped in the middle: first more than one page of missed events, then live ones."""
    place = tmp_path / "place"
    seen: list[int] = []
    for run in range(3):
        db.execute("select count(walltrack.raise_alert('test', 'high', 'a', '', '{}', true, null)) from generate_series(1, 150)")
        with subprocess.Popen(
            [*command, str(place)], stdout=subprocess.PIPE, text=True, cwd=folder, env=environment(database_url)
        ) as process:
            deadline = threading.Timer(60, process.kill)
            deadline.start()
            try:
                assert process.stdout is not None
                seen += [json.loads(process.stdout.readline())["event_id"] for _ in range(150)]
                db.execute(RAISE, (f"live {run}",))
                seen.append(json.loads(process.stdout.readline())["event_id"])
                while not place.exists() or not place.read_text().endswith(f"/{seen[-1]}"):
                    assert process.poll() is None
            finally:
                process.kill()
                deadline.cancel()
    assert seen == [row[0] for row in db.execute("select event_id from walltrack.alert_events order by event_id")]


@pytest.mark.skipif(shutil.which("psql") is None, reason="no psql on this machine; the gate installs it")
def test_the_psql_example_reads_each_event_once(database_url: str, db: psycopg.Connection, tmp_path: Path) -> None:
    lines = []
    for run in range(3):
        db.execute(RAISE, (f"it's {run}",))
        db.execute(RAISE, (None,))
        lines += subprocess.run(
            [ROOT / "examples/read_psql.sh", tmp_path / "place"],
            check=True, timeout=60, capture_output=True, text=True, env=environment(database_url),
        ).stdout.splitlines()  # fmt: skip
    assert [line.split("\t")[0] for line in lines] == [
        str(row[0]) for row in db.execute("select event_id from walltrack.alert_events order by event_id")
    ]


def test_the_payload_schema_is_current() -> None:
    assert json.loads((ROOT / "docs/payload.schema.json").read_text()) == Notification.model_json_schema()


def test_real_payloads_match_the_schema(database_url: str, bot: Bot) -> None:
    """Every kind of event, hostile texts, and no field that the schema does not name."""
    schema = json.loads((ROOT / "docs/payload.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen walltrack_alerts")
        order = bot.create("exit", token_symbol='"\\\x01\u2028\U0001f4a5')
        bot.exhaust(order, "boom \x1b[31m" * 1000)
        bot.execute("update walltrack.orders set status = 'failed', attempt_count = attempt_count + 1 where id = %s", (order,))
        bot.execute("select walltrack.acknowledge_alert(%s, %s)", (bot.alert(order).id, "\x02" * 100))
        bot.fill(order)
        for text in ("x" * 5000, "\x03" * 5000, "\U0001f4a5" * 5000, "'; drop table alerts --"):
            bot.execute("select walltrack.raise_alert(%s, 'info', %s, %s, '{}', false, %s)", (text[:100], text, text, text[:500]))
        heard = [n.payload for n in listener.notifies(timeout=10, stop_after=8)]
    assert len(heard) == 8
    for payload in heard:
        assert len(payload.encode()) < 8000
        validator.validate(json.loads(payload))
        Notification.model_validate_json(payload)
    kinds = [json.loads(payload)["kind"] for payload in heard]
    assert kinds == ["raised", "repeated", "acknowledged", "resolved", *["raised"] * 4]
    for broken in ({"v": 2}, {"kind": "reborn"}, {"alert_id": "x"}, {"event_id": "1"}, {"more": 1}):
        assert not validator.is_valid({**json.loads(heard[0]), **broken})
