"""Option values: which ones are accepted, and how others are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import typer

from tests.support.bot import Bot
from tests.support.commands import run, usage_error
from walltrack_alerts.cli.values import future_time, interval, snooze_interval
from walltrack_alerts.text import format_duration, format_sol, printable, short_token

pytestmark = pytest.mark.own_server


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("15 min", timedelta(minutes=15)), ("15m", timedelta(minutes=15)), ("1 h", timedelta(hours=1)),
        ("1h30m", timedelta(hours=1, minutes=30)), ("1:30", timedelta(hours=1, minutes=30)), ("1.5 hours", timedelta(minutes=90)),
        ("1 day 2 hours", timedelta(hours=26)), ("1 Day, 02:00", timedelta(hours=26)), (" 2 weeks ", timedelta(days=14)),
        ("0.5 s", timedelta(milliseconds=500)), ("90 days", timedelta(days=90)),
    ],
)  # fmt: skip
def test_postgresql_reads_intervals_with_the_same_length(db: psycopg.Connection, written: str, meant: timedelta) -> None:
    assert db.execute("select %s::text::interval", (interval(written),)).fetchone() == (meant,)


def test_months_and_years_follow_the_calendar(db: psycopg.Connection) -> None:
    query = "select timestamptz '2024-02-29 UTC' - %s::text::interval = timestamptz '2022-12-29 UTC'"
    assert db.execute(query, (interval("1 year 2 months"),)).fetchone() == (True,)


WRONG_INTERVALS = [
    "banana",
    "",
    " ",
    "5",
    "-1 day",
    "1 fortnight",
    "0 min",
    "1 h x",
    "nan h",
    "1e9 h",
    "9999999 days",
    "1:99",
    "\ud800",
]


@pytest.mark.parametrize("wrong", WRONG_INTERVALS)
def test_invalid_intervals_are_refused_with_examples(wrong: str) -> None:
    for parse in (interval, snooze_interval):
        with pytest.raises(typer.BadParameter, match=r"e\.g\. '15 min', '1 h'"):
            parse(wrong)


@pytest.mark.parametrize("wrong", ["banana", "", "2020-01-01", "9999-12-31", "25:00", "9999-12-31T23:59-05:00"])
def test_invalid_times_are_refused_with_examples(wrong: str) -> None:
    with pytest.raises(typer.BadParameter, match="18:00"):
        future_time(wrong)


def test_clock_times_mean_the_next_occurrence() -> None:
    for minutes in (-5, 5):
        now = datetime.now(UTC)
        asked = (now + timedelta(minutes=minutes)).astimezone()
        at = future_time(f"{asked:%H:%M}")
        assert at.tzinfo is not None and timedelta(0) < at - now <= timedelta(days=1, hours=1)
        assert (at.astimezone().hour, at.astimezone().minute) == (asked.hour, asked.minute)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("alerts", "snooze", "{id}", "--for", "banana"), "'banana' is not an interval"),
        (("alerts", "snooze", "{id}", "--until", "banana"), "'banana' is not a time"),
        (("alerts", "snooze", "{id}"), "--for '15 min' or --until 18:00"),
        (("alerts", "list", "--limit", "many"), "--limit"),
        (("alerts", "list", "--limit", "0"), "--limit"),
        (("alerts", "list", "--severity", "fatal"), "critical"),
        (("alerts", "show", "xyz"), "at least its first 4 characters"),
        (("purge", "--older-than", "banana"), "'banana' is not an interval"),
        (("demo", "--pace", "nan"), "--pace"),
        (("demo", "--duration", "nan"), "--duration"),
        (("demo", "--duration", "inf"), "--duration"),
        (("demo", "--port", "http"), "--port"),
        (("panel", "--port", "70000"), "--port"),
    ],
)
def test_wrong_options_are_named_and_exit_with_2(database_url: str, bot: Bot, arguments: tuple[str, ...], says: str) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    alert = bot.alert(order)
    done = run(database_url, *(part.format(id=alert.id) for part in arguments), expect=2)
    assert says in usage_error(done) and "syntax" not in done.stderr and done.stdout == ""
    assert bot.alert(order) == alert


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (1.5, "1.5"), ("1.50000000", "1.5"), (0, "0"), (0.00000001, "<0.0001"), (0.12345, "0.1235"), (1234.56789, "1234.57"),
        (10, "10"), (123456789012.5, "1.23e+11"), (None, ""), ("a lot of money", "a lot of "), ("NaN", "nan"), (1000, "1000"),
    ],
)  # fmt: skip
def test_amounts_are_short(amount: object, shown: str) -> None:
    assert format_sol(amount) == shown and len(shown) <= 9


def test_durations_are_rounded_down() -> None:
    assert [format_duration(seconds) for seconds in (0, 59, 60, 3599, 3600, 86399, 86400 * 400)] == [
        "0s", "59s", "1m", "59m", "1h", "23h", "400d",
    ]  # fmt: skip


def test_control_characters_are_replaced() -> None:
    assert printable("a\x1b[31m\nb") == "a\ufffd[31m\nb"
    assert printable("Ze\u0301 ❤\ufe0f") == "Z\u00e9 ❤"
    assert printable("🇺🇸 👍🏽 \u1161\u3164") == "\ufffd\ufffd 👍\ufffd \ufffd\ufffd"  # terminals differ in their widths
    assert printable("Z" + "\u0302" * 4).count("\ufffd") == 1
    assert short_token("", "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263") == "DezX…B263"
    assert short_token(None, None) == ""
