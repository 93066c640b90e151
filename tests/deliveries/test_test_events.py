"""`targets test`: a real request from this process, its answer, and no trace in the database."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.support.commands import run
from tests.support.receivers import NEW, OLD, RECEIVERS, running

pytestmark = pytest.mark.own_server

PYTHON = RECEIVERS[0].values[0]


def add(url: str, hook: str, *options: str) -> None:
    run(url, "targets", "add", "ops", "--webhook", hook, "--secret", "${WT_SECRET}", *options)


def traces(db: psycopg.Connection) -> list[int]:
    """The rows of each table that deliveries write."""
    return [
        db.execute(f"select from walltrack.{table}").rowcount  # type: ignore[arg-type]
        for table in ("alerts", "alert_events", "deliveries", "finished_deliveries", "sent_messages")
    ]


def test_a_test_event_is_signed_and_its_answer_shown(
    database_url: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WT_SECRET", NEW)
    monkeypatch.setenv("WALLTRACK_PANEL_URL", "https://alerts.example.com")
    with running(PYTHON, NEW) as receiver:
        add(database_url, receiver.url, "--allow-private", "--min-severity", "critical", "--kinds", "resolved")
        shown = run(database_url, "targets", "test", "ops").stdout
        event = receiver.handled()
        answer = json.loads(run(database_url, "targets", "test", "OPS", "--json").stdout)
        other = receiver.handled()
    assert "received the test event with status 204" in shown and " s." in shown
    assert event["type"] == "alert.test" and event["data"]["url"].startswith("https://alerts.example.com/")
    assert (answer["outcome"], answer["status"]) == ("delivered", 204) and answer["seconds"] < 60
    assert event["id"] != other["id"]
    assert traces(db) == [0] * 5


def test_a_refused_test_event_ends_with_1(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WT_SECRET", NEW)
    with running(PYTHON, OLD) as receiver:
        add(database_url, receiver.url, "--allow-private")
        done = run(database_url, "targets", "test", "ops", expect=1)
    assert "has not received the test event: it failed with status 401" in done.stdout
    assert NEW.removeprefix("whsec_") not in done.stdout + done.stderr


def test_an_unreachable_target_is_explained(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WT_SECRET", NEW)
    add(database_url, "http://127.0.0.1:1/")
    assert "--allow-private" in run(database_url, "targets", "test", "ops", expect=1).stdout
    run(database_url, "targets", "remove", "ops", "--yes")
    add(database_url, "http://127.0.0.1:1/", "--allow-private")
    assert "connect" in run(database_url, "targets", "test", "ops", expect=1).stdout


def test_missing_variables_are_all_named(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WT_SECRET", "")
    monkeypatch.delenv("WT_HOST", raising=False)
    add(database_url, "https://${WT_HOST}/hook")
    done = run(database_url, "targets", "test", "ops", expect=1)
    assert (
        "environment variables WT_HOST, WT_SECRET are not set" in done.stderr and "set here" in done.stderr and done.stdout == ""
    )


def test_a_terminal_target_writes_its_test_event(database_url: str) -> None:
    run(database_url, "targets", "add", "screen", "--terminal")
    shown = run(database_url, "targets", "test", "screen").stdout
    assert "Test of target screen" in shown and "screen has received the test event after" in shown
