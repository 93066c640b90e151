"""/metrics and /healthz: true figures, few labels, names as Prometheus wants them; what the examples query is exported."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deliveries.rows import add_delivery, add_finished, add_relay, add_target, ago, newest_event
from tests.support.bot import Bot
from walltrack_alerts import Alert
from walltrack_alerts.errors import DatabaseUnavailableError
from walltrack_alerts.relay import metrics
from walltrack_alerts.relay.duties import metrics_reader
from walltrack_alerts.relay.metrics import DATABASE_METRICS, RelayMetrics, Sample, served
from walltrack_alerts.relay.settings import RelaySettings

EXAMPLES = Path(__file__).parents[2] / "examples"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="these tests need promtool; the gate installs it")

Figures = dict[tuple[str, str], float]


def database_samples(db: psycopg.Connection) -> list[Sample]:
    return [Sample(*row) for row in db.execute("select name, labels, value from walltrack.relay_metrics()")]


def figures(db: psycopg.Connection) -> Figures:
    """{(name without walltrack_, 'label values'): value}."""
    return {
        (
            each.name.removeprefix("walltrack_"),
            " ".join(each.labels[label] for label in DATABASE_METRICS[each.name].labels),
        ): each.value
        for each in database_samples(db)
    }


def rung(bot: Bot, order_type: str = "exit", **columns: Any) -> Alert:
    return bot.alert(bot.create(order_type, status="failed", attempt_count=3, **columns))


@pytest.fixture
def busy(bot: Bot) -> Bot:
    """A database in which every metric has a sample."""
    db = bot.connection
    alert, acknowledged, resolved = rung(bot), rung(bot, "entry"), rung(bot)
    bot.call("acknowledge_alert", acknowledged.id, "ada")
    bot.fill(resolved.data["order_id"])
    target = add_target(db, "hook")
    add_delivery(db, target, alert)
    add_finished(db, target, resolved.id, newest_event(db, resolved))
    add_relay(db)
    return bot


def aged(bot: Bot, alert: Alert, **time: float) -> None:
    bot.execute(
        "update walltrack.alerts set created_at = created_at - %s, own_writes = own_writes + 1 where id = %s",
        (timedelta(**time), alert.id),
    )


@contextmanager
def serving(read: Any, problem: str | None = None) -> Iterator[tuple[RelayMetrics, str]]:
    metrics = RelayMetrics("1.2.3", read)
    with served(metrics, "127.0.0.1", 0, lambda: problem) as port:
        yield metrics, f"http://127.0.0.1:{port}"


def get(url: str) -> str:
    return ask(url)[1]


def ask(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        answer = urllib.request.urlopen(url, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.read().decode()


# What the database says


def test_every_described_metric_is_measured_and_described(busy: Bot) -> None:
    samples = database_samples(busy.connection)
    assert {each.name for each in samples} == set(DATABASE_METRICS)
    for each in samples:
        assert set(each.labels) == set(DATABASE_METRICS[each.name].labels), each.name


def test_an_empty_database_has_figures(db: psycopg.Connection) -> None:
    found = figures(db)
    assert found["open_alerts", "critical active"] == 0
    assert found["oldest_unacknowledged_alert_seconds", "high"] == 0
    assert found["relays", ""] == 0
    assert 0 <= found["notification_queue_usage_ratio", ""] <= 1


def test_open_alerts_are_counted_by_severity_and_state(bot: Bot) -> None:
    rung(bot)
    oldest = rung(bot)
    aged(bot, oldest, minutes=10)
    acknowledged, snoozed = rung(bot), rung(bot, "entry")
    aged(bot, acknowledged, hours=10)
    bot.call("acknowledge_alert", acknowledged.id, "ada")
    bot.call("snooze_alert", snoozed.id, datetime.now(UTC) + timedelta(hours=1), "ada")
    found = figures(bot.connection)
    assert [found["open_alerts", f"critical {state}"] for state in ("active", "acknowledged", "snoozed")] == [2, 1, 0]
    assert [found["open_alerts", f"high {state}"] for state in ("active", "acknowledged", "snoozed")] == [0, 0, 1]
    assert 600 <= found["oldest_unacknowledged_alert_seconds", "critical"] < 900
    assert found["oldest_unacknowledged_alert_seconds", "high"] == 0


def test_times_to_acknowledge_and_to_resolve(bot: Bot) -> None:
    for minutes in (1, 2, 30):
        alert = rung(bot)
        aged(bot, alert, minutes=minutes)
        bot.call("acknowledge_alert", alert.id, "ada")
        aged(bot, alert, minutes=minutes)
        bot.call("resolve_alert", alert.id, "sold", "ada")
    found = figures(bot.connection)
    assert 240 <= found["time_to_acknowledge_seconds", "critical 50"] < 300  # the median alert was aged by 2 minutes twice
    assert 240 <= found["time_to_resolve_seconds", "critical 50"] < 300
    assert found["time_to_resolve_seconds", "critical 95"] > 3000
    assert ("time_to_resolve_seconds", "high 50") not in found


def test_duplicates_do_not_count_in_response_times(bot: Bot) -> None:
    alert = rung(bot)
    bot.execute(
        "insert into walltrack.alerts (alert_type, severity, title, dedupe_key) "
        "select alert_type, severity, title, dedupe_key from walltrack.alerts"
    )
    assert [each.status for each in bot.alerts(alert.data["order_id"])].count("resolved") == 1
    assert {name for name, _ in figures(bot.connection)}.isdisjoint({"time_to_acknowledge_seconds", "time_to_resolve_seconds"})


def test_deliveries_are_counted_by_target_and_state(bot: Bot) -> None:
    db = bot.connection
    alerts = [rung(bot) for _ in range(3)]
    hook, chat = add_target(db, "hook"), add_target(db, "chat", disabled_at=ago(db), disabled_reason="holidays")
    add_delivery(db, hook, alerts[0], attempts=2, created_at=ago(db, minutes=5), due_at=ago(db, minutes=-5))
    add_delivery(db, hook, alerts[1], created_at=ago(db, hours=9), due_at=ago(db, hours=-1))  # quiet hours
    add_delivery(db, hook, alerts[2], state="dead", failed_at=ago(db), created_at=ago(db, days=2))
    add_delivery(db, chat, alerts[0], state="waiting")
    found = figures(db)
    states = ("waiting", "pending", "sending", "dead")
    assert [found["deliveries", f"hook {state}"] for state in states] == [0, 2, 0, 1]
    assert [found["deliveries", f"chat {state}"] for state in states] == [1, 0, 0, 0]
    assert 300 <= found["oldest_undelivered_seconds", "hook"] < 600
    assert (found["target_enabled", "hook"], found["target_enabled", "chat"]) == (1, 0)


def test_lag_is_the_time_from_event_to_delivery(bot: Bot) -> None:
    db = bot.connection
    target = add_target(db, "hook")
    for seconds in (1, 2, 60):
        alert = rung(bot)
        add_finished(db, target, alert.id, newest_event(db, alert), finished_at=ago(db, seconds=-seconds))
    alert = rung(bot)
    add_finished(db, target, alert.id, newest_event(db, alert), state="silenced", reason="night", finished_at=ago(db, hours=-1))
    found = figures(db)
    assert 2 <= found["delivery_lag_seconds", "hook 50"] < 30
    assert found["delivery_lag_seconds", "hook 99"] > 50


def test_stream_lag_is_what_a_target_has_not_read(bot: Bot) -> None:
    db = bot.connection
    add_target(db, "hook")
    add_target(db, "off", disabled_at=ago(db), disabled_reason="holidays")
    assert figures(db)["stream_lag_events", "hook"] == 0
    for _ in range(3):
        rung(bot)
    add_target(db, "all", cursor=None, read_at=None)
    found = figures(db)
    assert (found["stream_lag_events", "hook"], found["stream_lag_events", "all"]) == (3, 3)
    assert 0 < found["stream_lag_seconds", "hook"] < 60
    assert ("stream_lag_events", "off") not in found


def test_faults_relays_and_silences_are_counted(bot: Bot) -> None:
    bot.execute("insert into walltrack.alert_faults (sqlstate, message) values ('XX000', 'x'), ('WT007', 'x'), ('WT007', 'y')")
    add_relay(bot.connection, "now")
    add_relay(bot.connection, "before", seen_at=ago(bot.connection, minutes=3))
    bot.execute(
        "insert into walltrack.silences (token, reason, created_by, ends_at, ended_at, ended_by) values "
        "('x', 'x', 'ada', now() + interval '1 h', null, null), ('x', 'x', 'ada', now() + interval '1 h', now(), 'ada')"
    )
    found = figures(bot.connection)
    assert (found["faults", "missed_alert"], found["faults", "skipped_notification"]) == (1, 2)
    assert (found["relays", ""], found["active_silences", ""]) == (1, 1)


def test_untrusted_texts_do_not_become_labels(busy: Bot) -> None:
    for number in range(20):
        rung(busy, token_symbol=f"RUG{number}", last_error=f"stranger {number}")
    text = json.dumps([each.labels for each in database_samples(busy.connection)])  # type: ignore[misc]
    assert "RUG" not in text and "stranger" not in text
    assert len(database_samples(busy.connection)) < 60


def test_a_relay_may_read_metrics(busy: Bot) -> None:
    role = f"relay_{newest_event(busy.connection, busy.alerts()[0])}_{id(busy)}"
    busy.execute(f"create role {role}; select walltrack.grant_access('{role}', 'relay')")
    try:
        busy.execute(f"set role {role}")
        assert database_samples(busy.connection)
    finally:
        busy.execute("reset role")
        busy.execute(f"drop owned by {role}; drop role {role}")


# What Prometheus gets


async def test_metrics_come_from_the_database_at_each_scrape(busy: Bot, database_url: str) -> None:
    async with metrics_reader(database_url) as read:
        with serving(read) as (metrics, url):
            metrics.count_attempt("hook", "delivered")
            metrics.count_attempt("hook", "failed")
            metrics.count_attempt("hook", "failed")
            text = await asyncio.to_thread(get, f"{url}/metrics")
    found = {(s.name, *sorted(s.labels.values())): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert found[("walltrack_database_up",)] == 1
    assert found[("walltrack_open_alerts", "active", "critical")] == 1
    assert found[("walltrack_delivery_attempts_total", "failed", "hook")] == 2
    assert found[("walltrack_relay_info", "1.2.3")] == 1
    assert "process_resident_memory_bytes" in text


async def test_an_unreachable_database_is_exported_as_a_metric(database_url: str) -> None:
    async with metrics_reader(database_url + " port=1") as read:
        with serving(read) as (_, url):
            text = await asyncio.to_thread(get, f"{url}/metrics")
    assert "walltrack_database_up 0.0" in text and "walltrack_open_alerts{" not in text


def test_scrapes_at_the_same_time_share_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    monkeypatch.setattr(metrics, "FRESH_SECONDS", 60)

    def read() -> list[Sample]:
        calls.append(1)
        raise DatabaseUnavailableError("away")

    with serving(read) as (_, url):
        assert calls == []
        for _ in range(5):
            get(f"{url}/metrics")
    assert calls == [1]


def test_metrics_that_this_version_does_not_know_are_left_out() -> None:
    with serving(lambda: [Sample("walltrack_future", {"x": "y"}, 1), Sample("walltrack_relays", {"new": "z"}, 2)]) as (_, url):
        text = get(f"{url}/metrics")
    assert "walltrack_future" not in text and "walltrack_relays 2.0" in text


def test_healthz_names_the_problem() -> None:
    with serving(list) as (_, url):
        assert get(f"{url}/healthz") == "ok\n"
    with serving(list, "the database has not responded for 60 s") as (_, url):
        assert ask(f"{url}/healthz") == (503, "the database has not responded for 60 s\n")
        assert ask(f"{url}/secret")[0] == 404


def test_only_the_given_address_is_served() -> None:
    with serving(list) as (_, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20):
            pass
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=20):
            pass
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=20):
        pass


# The files in examples/


def exported() -> dict[str, set[str]]:
    """{name of a sample: its labels} of everything that a relay exports."""
    metrics = RelayMetrics("1.2.3", lambda: [Sample(n, dict.fromkeys(d.labels, "x"), 1) for n, d in DATABASE_METRICS.items()])
    metrics.count_attempt("x", "x")
    return {sample.name: set(sample.labels) for family in metrics.registry.collect() for sample in family.samples}


FUNCTIONS = {
    "abs", "and", "avg", "by", "clamp_min", "for", "histogram_quantile", "ignoring", "increase", "label_values", "max",
    "min", "on", "or", "rate", "round", "sum", "time", "unless", "vector", "without", "bool", "absent", "up",
}  # fmt: skip


def check_query(query: str) -> None:
    """Every metric of the query is exported, and has the labels that the query names."""
    known = exported()
    bare = re.sub(r'"[^"]*"', '""', query)
    labels = {
        label for group in re.findall(r"(?:by|on|without|ignoring)\s*\(([^)]*)\)", bare) for label in re.findall(r"\w+", group)
    }
    names = set(re.findall(r"(?<![\w$\[])[a-z_]\w*(?=[\s{\[)(]|$)", re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", bare)))
    metrics = {name for name in names - FUNCTIONS - labels if name.startswith(("walltrack_", "process_"))}
    assert metrics <= set(known), query
    assert names - metrics <= FUNCTIONS | labels, query
    used = {label for group in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)\s*=~?", group)}
    assert used | labels <= set().union(*(known[name] for name in metrics), {"job", "instance"}), query


def test_the_dashboard_queries_what_is_exported() -> None:
    dashboard = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(queries) >= 12
    for query in queries:
        check_query(query)
    shown = " ".join(queries)
    assert {name for name in DATABASE_METRICS if name not in shown} == set()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["title"] and panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert {"h", "w", "x", "y"} == set(panel["gridPos"])


def test_the_alert_rules_query_what_is_exported() -> None:
    rules = yaml.safe_load((EXAMPLES / "prometheus-alerts.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len(alerts) >= 6
    for rule in alerts:
        check_query(rule["expr"])
        assert rule["labels"]["severity"] and rule["annotations"]["summary"] and rule["annotations"]["description"]


@needs_promtool
async def test_promtool_finds_nothing_wrong(busy: Bot, database_url: str) -> None:
    async with metrics_reader(database_url) as read:
        with serving(read) as (metrics, url):
            metrics.count_attempt("hook", "delivered")
            text = await asyncio.to_thread(get, f"{url}/metrics")
    assert PROMTOOL is not None
    check = [PROMTOOL, "check", "metrics"]
    done = await asyncio.to_thread(subprocess.run, check, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_promtool
def test_promtool_accepts_the_alert_rules(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    shutil.copy(EXAMPLES / "prometheus-alerts.yml", tmp_path / "rules.yml")
    (tmp_path / "test.yml").write_text(RULE_TESTS)
    for command in (["check", "rules", "--lint=all", "--lint-fatal", "rules.yml"], ["test", "rules", "test.yml"]):
        done = subprocess.run([PROMTOOL, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


RULE_TESTS = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'walltrack_relays{job="walltrack"}', values: '0x10'}
      - {series: 'walltrack_target_enabled{job="walltrack",target="hook"}', values: '1x10'}
      - {series: 'walltrack_deliveries{job="walltrack",target="hook",state="dead"}', values: '0x4 2x6'}
      - {series: 'walltrack_database_up{job="walltrack",instance="a"}', values: '1x5 0x5'}
    alert_rule_test:
      - eval_time: 9m
        alertname: WallTrackDeadLetters
        exp_alerts:
          - exp_labels: {severity: warning, target: hook}
            exp_annotations:
              summary: "2 deliveries to hook have failed for good"
              description: "See `walltrack-alerts deliveries list --dead`; correct the target, then replay or drop them."
      - eval_time: 4m
        alertname: WallTrackDeadLetters
        exp_alerts: []
"""


def test_the_page_on_operation_names_every_metric_and_variable() -> None:
    page = (EXAMPLES.parent / "docs" / "operations.md").read_text()
    named = set(re.findall(r"`(walltrack_[a-z_]+)`", page))
    assert {name for name in exported() if name.startswith("walltrack_") and not name.endswith("_created")} <= named
    variables = set(re.findall(r"`WALLTRACK_([A-Z_]+)`", page))
    assert {name.upper() for name in RelaySettings.model_fields} - {"DATA_DIR"} <= variables
