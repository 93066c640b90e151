"""The command line against a real database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from tests.support.bot import Bot
from tests.support.commands import COMMAND, run, run_process, usage_error
from walltrack_alerts import migrations
from walltrack_alerts.cli import app

pytestmark = pytest.mark.own_server


def test_help_is_shown_for_every_command() -> None:
    for command in (
        (),
        ("alerts",),
        ("demo",),
        ("migrate",),
        ("panel",),
        ("listen",),
        ("watch",),
        ("unwatch",),
        ("doctor",),
        ("alerts", "resolve"),
        ("alerts", "snooze"),
        ("orders",),
        ("orders", "cancel"),
    ):
        shown = CliRunner().invoke(app, [*command, "--help"])
        assert shown.exit_code == 0 and "Usage:" in shown.output
    assert "WALLTRACK_DATABASE_URL" in run_process("", "--help").stdout
    assert run_process("", "--version").stdout.strip() == version("walltrack-alerts")


def test_unknown_commands_exit_with_2() -> None:
    assert "No such command" in run_process("", "allerts", expect=2).stderr


def test_migrate_makes_every_check_of_doctor_pass(empty_database_url: str) -> None:
    before = run(empty_database_url, "doctor", expect=1).stdout
    assert "walltrack-alerts migrate" in before
    assert "Migrated" in run(empty_database_url, "migrate").stdout
    checks = json.loads(run(empty_database_url, "doctor", "--json").stdout)
    assert [check["name"] for check in checks] == [
        "connection", "server version", "migrated", "guard on walltrack.orders", "following ALTER TABLE", "faults",
        "notification queue", "skipped notifications", "relay", "dead letters", "open alerts",
    ]  # fmt: skip
    assert all(check["ok"] for check in checks)


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ("alter table walltrack.orders disable trigger walltrack_alerts_update", "update disabled"),
        ("alter table walltrack.orders enable replica trigger walltrack_alerts_insert", "insert disabled"),
        ("drop trigger walltrack_alerts_delete on walltrack.orders", "delete missing"),
        ("alter table walltrack.orders drop column status", "column status (status) no longer exists"),
        ("alter event trigger walltrack_alerts_follow_ddl disable", "the event trigger is disabled"),
        ("select walltrack.unwatch_orders('walltrack.orders')", "no table is watched"),
        ("update walltrack.alerts_version set version_num = '0000'", "revision 0000"),
        ("insert into walltrack.alert_faults (table_id, sqlstate, message) values ('walltrack.orders', 'XX000', 'x')", "1 in"),
    ],
)
def test_doctor_finds_each_fault(database_url: str, bot: Bot, harm: str, named: str) -> None:
    bot.execute(harm)
    text = run(database_url, "doctor", expect=1).stdout
    assert "FAIL" in text and named in text


def test_doctor_reports_a_missing_server() -> None:
    text = run("postgresql://x@127.0.0.1:1/x", "doctor", expect=1).stdout
    assert "FAIL connection" in text and "WALLTRACK_DATABASE_URL" in text


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "postgresql://h:port/x"])
def test_wrong_urls_are_explained_without_a_traceback(url: str) -> None:
    done = run_process(url, "alerts", "list", expect=2)
    assert "Error: WALLTRACK_DATABASE_URL is not a PostgreSQL connection string" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:SECRET@h/db",
        "Postgresql://u:SECRET@h/db",
        "'postgresql://u:SECRET@h/db'",
        "postgresql://u:SECRET%zz@h/db",
        "postgresql://u:SECRET/SECRET@h:5432/db",
        "postgresql+psycopg://u:SECRET@SECRET@h/db",
        "postgresql://u:x?y@SECRET@h/db",
        "postgresql://ada@corp:SECRET@h/db",
        "postgresql://u:x@@SECRET@h/db",
        "host=h password=x SECRET",
        "host=h password='x' 'SECRET'",
    ],
)
def test_passwords_of_wrong_urls_are_not_shown(url: str) -> None:
    """Any part of it may be the password."""
    for command in (("alerts", "list"), ("listen",), ("doctor",)):
        done = run(url, *command, expect=2)
        assert "WALLTRACK_DATABASE_URL is not a PostgreSQL connection string" in done.stderr and "%40 for @" in done.stderr
        assert "SECRET" not in done.stdout + done.stderr


@pytest.mark.parametrize("host", ["%2Fhome%2Fada%40corp", "%40abstract", "/home/ada@corp"])
def test_sockets_may_be_in_any_folder(host: str) -> None:
    assert "FAIL connection" in run(f"postgresql://u:%40@/db?host={host}", "doctor", expect=1).stdout  # parsed as a socket


def test_unknown_connection_options_are_named() -> None:
    assert "there is no option frobnicate" in run("postgresql://h/db?frobnicate=1", "alerts", "list", expect=2).stderr


def test_the_database_in_use_is_named(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name that the environment gives; `listen` names its own connection."""
    parts = conninfo_to_dict(database_url)
    for variable, name in (("PGHOST", "host"), ("PGPORT", "port"), ("PGDATABASE", "dbname"), ("PGUSER", "user")):
        monkeypatch.setenv(variable, str(parts.get(name, "postgres")))
    assert f"Using {parts['dbname']} on {parts['host']}" in run("postgresql://", "alerts", "list").stderr
    monkeypatch.setenv("WALLTRACK_LISTEN_URL", "host=127.0.0.1 port=1 dbname=elsewhere")
    there = run_process(database_url, "listen", expect=1).stderr
    assert "Using elsewhere on 127.0.0.1:1" in there and "WALLTRACK_LISTEN_URL" in there
    monkeypatch.setenv("WALLTRACK_LISTEN_URL", "nonsense")
    assert "WALLTRACK_LISTEN_URL is not a PostgreSQL connection string" in run(database_url, "alerts", "list", expect=2).stderr


def test_invalid_ids_change_nothing(database_url: str, bot: Bot) -> None:
    bot.exhaust(bot.create("exit"))
    for command in (("alerts", "resolve", "", "-m", "x"), ("orders", "cancel", "", "--yes"), ("alerts", "ack", "z")):
        assert "first 4 characters" in usage_error(run(database_url, *command, expect=2))
    (alert,) = bot.alerts()
    assert alert.status == "active"


def test_unencodable_values_and_nameless_users_are_handled(database_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    bot.exhaust(bot.create("exit"))
    alert = str(bot.alerts()[0].id)
    assert "UTF-8" in run(database_url, "alerts", "resolve", alert, "-m", "caf\udce9", expect=1).stderr
    far = run(database_url, "alerts", "snooze", alert, "--until", "9999-12-31T23:59-05:00", expect=2)
    assert "Write a time" in usage_error(far)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # as in a container that runs as a number
    run(database_url, "alerts", "ack", alert)
    assert bot.alerts()[0].acknowledged_by == f"uid {os.getuid()}"


@pytest.mark.parametrize("arguments", [("--json",), ()])
def test_closed_pipes_are_no_error(database_url: str, bot: Bot, arguments: tuple[str, ...]) -> None:
    bot.execute("select walltrack.raise_alert('t', 'info', repeat('x', 200), repeat('y', 900)) from generate_series(1, 3000)")
    with subprocess.Popen(
        [*COMMAND, "alerts", "list", "--limit", "3000", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "WALLTRACK_DATABASE_URL": database_url},
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read()
    assert process.returncode == 0, stderr
    assert "Broken" not in stderr and "Traceback" not in stderr


def test_newer_schemas_are_refused(database_url: str, bot: Bot) -> None:
    bot.execute("update walltrack.alerts_version set version_num = '9999'")
    assert "upgrade this one" in run(database_url, "doctor", expect=1).stdout
    assert "upgrade this one" in run(database_url, "migrate", expect=1).stderr
    bot.execute("update walltrack.alerts_version set version_num = %s", (migrations.head_revision(),))


def test_an_alert_is_acknowledged_and_resolved(database_url: str, bot: Bot) -> None:
    nothing = run(database_url, "alerts", "list")
    assert "No open alerts" in nothing.stderr and nothing.stdout == ""
    order = bot.create("exit", token_symbol="<b>BONK</b>")
    bot.exhaust(order, "boom \x1b[31m")
    bot.exhaust(bot.create("entry"))
    listed = run(database_url, "alerts", "list")
    assert "Using " in listed.stderr
    lines = listed.stdout.splitlines()
    assert "critical" in lines[1] and "<b>BONK</b>" in lines[1] and "high" in lines[2]
    rows = [json.loads(line) for line in run(database_url, "alerts", "list", "--json").stdout.splitlines()]
    alert = str(bot.alert(order).id)
    assert rows[0]["id"] == alert and len(rows) == 2
    assert len(run(database_url, "alerts", "list", "--severity", "high", "--json").stdout.splitlines()) == 1

    shown = run(database_url, "alerts", "show", alert[:13]).stdout
    assert "still open and exposed" in shown and str(order) in shown and "\x1b[31m" not in shown
    assert json.loads(run(database_url, "alerts", "show", alert, "--json").stdout)["timeline"][0]["kind"] == "raised"

    assert "acknowledged" in run(database_url, "alerts", "ack", alert, "--by", "ada").stdout
    assert "already acknowledged by ada" in run(database_url, "alerts", "ack", alert, "--by", "bob").stdout
    run(database_url, "alerts", "resolve", alert, expect=2)
    assert "resolution" in run(database_url, "alerts", "resolve", alert, "-m", " ", expect=1).stderr
    assert "already acknowledged by ada" in run(database_url, "alerts", "acknowledge", alert, "--by", "bob").stdout
    assert "resolved" in run(database_url, "alerts", "resolve", alert, "-m", "sold by hand", "--by", "ada").stdout
    assert "already resolved by ada" in run(database_url, "alerts", "resolve", alert, "-m", "me", "--by", "bob").stdout
    assert "ada resolved it" in run(database_url, "alerts", "ack", alert, expect=1).stderr
    assert "sold by hand" in run(database_url, "alerts", "show", alert).stdout
    assert alert[:8] in run(database_url, "alerts", "list", "--status", "resolved").stdout
    assert "there is no alert" in run(database_url, "alerts", "show", "ffffffff-ffff", expect=1).stderr


def test_unmigrated_databases_name_the_command_to_run(empty_database_url: str) -> None:
    assert "walltrack-alerts migrate" in run(empty_database_url, "alerts", "list", expect=1).stderr


def test_listen_prints_one_json_line_each(database_url: str, bot: Bot) -> None:
    with subprocess.Popen(
        [*COMMAND, "listen", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "WALLTRACK_DATABASE_URL": database_url},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        while "live" not in process.stderr.readline():
            assert process.poll() is None
        order = bot.create()
        bot.exhaust(order)
        bot.fill(order)
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [line["kind"] for line in lines] == ["raised", "resolved"]
        assert {line["order_id"] for line in lines} == {str(order)}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None and "Traceback" not in process.stderr.read()


def test_listen_resumes_from_its_cursor_file(database_url: str, bot: Bot, tmp_path: Path) -> None:
    """A command that fails ends it; the next run starts with the same event."""
    orders = [bot.create() for _ in range(3)]
    for order in orders:
        bot.exhaust(order)
    seen = tmp_path / "seen"
    handler = tmp_path / "handler.py"
    handler.write_text(
        "import json, pathlib, sys\n"
        f"seen = pathlib.Path({str(seen)!r})\n"
        "event = json.load(sys.stdin)\n"
        "assert event['alert_id'] == sys.argv[1]\n"
        "lines = seen.read_text().splitlines() if seen.exists() else []\n"
        "seen.write_text('\\n'.join([*lines, event['order_id']]))\n"
        "sys.exit(len(lines) in (1, 3))\n"
    )
    arguments = ("--cursor-file", str(tmp_path / "place"), "--exec", f"{sys.executable} {handler} {{alert_id}}", "--json")
    first = run_process(database_url, "listen", "--after", "beginning", *arguments, expect=1)
    assert "exit code 1" in first.stderr and len(first.stdout.splitlines()) == 2
    second = run_process(database_url, "listen", *arguments, expect=1)
    assert len(second.stdout.splitlines()) == 2
    assert seen.read_text().splitlines() == [str(orders[0]), str(orders[1]), str(orders[1]), str(orders[2])]


@pytest.mark.parametrize("arguments", [("--after", "nonsense"), ("--exec", ""), ("--exec", "'open")])
def test_listen_explains_wrong_options(database_url: str, arguments: tuple[str, ...]) -> None:
    assert f"Error: {arguments[0]}: " in run_process(database_url, "listen", *arguments, expect=2).stderr


def test_alerts_are_snoozed_and_woken(database_url: str, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    alert = str(bot.alert(order).id)
    assert "snoozed until" in run(database_url, "alerts", "snooze", alert[:13], "--for", "1 h", "--by", "ada").stdout
    assert "snoozed" in run(database_url, "alerts", "list").stdout
    assert "No active alerts" in run(database_url, "alerts", "list", "--status", "active").stderr
    again = run(database_url, "alerts", "snooze", alert, "--until", f"{datetime.now(UTC) + timedelta(hours=2):%Y-%m-%dT%H:%MZ}")
    assert "ada had snoozed it until" in again.stdout
    assert "snoozed until" in run(database_url, "alerts", "show", alert).stdout
    assert json.loads(run(database_url, "alerts", "wake", alert, "--json").stdout)["snoozed_until"] is None
    assert "the alert is not snoozed" in run(database_url, "alerts", "wake", alert).stdout
    assert not bot.alert(order).is_snoozed
    for wrong in ((), ("--for", "1 h", "--until", "2026-01-01"), ("--until", "tomorrow")):
        run(database_url, "alerts", "snooze", alert, *wrong, expect=2)
    assert "a year at most" in usage_error(run(database_url, "alerts", "snooze", alert, "--for", "2 years", expect=2))
    assert "e.g. '15 min', '1 h'" in usage_error(run(database_url, "alerts", "snooze", alert, "--for", "a while", expect=2))


def test_alerts_are_filtered_by_text_and_status(database_url: str, bot: Bot) -> None:
    for symbol in ("BONK", "WIF", "100%"):
        bot.exhaust(bot.create("exit", token_symbol=symbol))
    bot.fill(bot.execute("select id from walltrack.orders where token_symbol = 'WIF'").fetchone()[0])  # type: ignore[index]
    for arguments, count in (
        (("--search", "%"), 1), (("--search", "wif", "--status", "all"), 1), (("--limit", "1", "--severity", "critical"), 1),
    ):  # fmt: skip
        assert len(run(database_url, "alerts", "list", "--json", *arguments).stdout.splitlines()) == count
    assert "No alerts" in run(database_url, "alerts", "list", "--search", "nothing", "--status", "all").stderr
    run(database_url, "alerts", "list", "--status", "gone", expect=2)


def test_orders_are_retried_and_cancelled(database_url: str, bot: Bot) -> None:
    order = bot.create("exit", token_symbol="BONK\x1b[31m")
    bot.exhaust(order)
    alert = str(bot.alert(order).id)
    assert "pending again" in run(database_url, "orders", "retry", alert[:13], "--by", "ada").stdout
    assert "ada put the order back at" in run(database_url, "orders", "retry", alert, "--by", "bob", expect=1).stderr
    asked = run(database_url, "orders", "cancel", alert, expect=1)  # no terminal answers
    assert "cannot be undone" in asked.stderr and "The position stays open" in asked.stderr and "\x1b[31m" not in asked.stderr
    assert bot.alert(order).is_open
    done = json.loads(run(database_url, "orders", "cancel", alert, "--yes", "--reason", "sold by hand", "--json").stdout)
    assert (done["status"], done["resolution"]) == ("resolved", "Order cancelled")
    assert bot.execute("select last_error from walltrack.orders").fetchone() == ("sold by hand",)
    assert "cancelled the order at" in run(database_url, "orders", "cancel", alert, "-y", expect=1).stderr
    shown = run(database_url, "alerts", "show", alert).stdout
    assert "order_retried" in shown and "order_cancelled" in shown and "sold by hand" in shown
