"""The numbers of the charts, as the database computes them and as the tests compute them."""

from __future__ import annotations

import random
import statistics as reference
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.bot import Bot
from walltrack_alerts import AlertService, AlertSeverity, statistics
from walltrack_alerts.errors import InvalidAlertError, PermissionDeniedError

CHARTS = [
    statistics.raised,
    statistics.open_over_time,
    statistics.response,
    statistics.failures_by_token,
    statistics.failures_by_error,
]
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",  # + 5:30
    "Asia/Kathmandu",  # + 5:45
    "Australia/Lord_Howe",  # its summer time is half an hour
    "America/Havana",  # shows 0:00 to 1:00 twice in autumn, and never in spring
    "Africa/Cairo",  # a day in spring begins at 1:00
    "Pacific/Kiritimati",  # + 14
    "Etc/GMT+12",
]
MOMENTS = [
    datetime(2026, 1, 15, 12, 34, 56, tzinfo=UTC),
    *(datetime(2026, month, day, hour, 10, tzinfo=UTC)
      for month, day in ((3, 8), (3, 29), (3, 30), (4, 5), (4, 24), (10, 4), (10, 25), (10, 26), (10, 30), (11, 1), (11, 2))
      for hour in (0, 5, 14, 23)),
]  # fmt: skip


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[AlertService]:
    async with AlertService.from_url(database_url) as service:
        yield service


def times(db: psycopg.Connection, days: int, zone: str, now: datetime) -> list[datetime]:
    row = db.execute("select walltrack.chart_times(%s, %s, %s)", (days, zone, now)).fetchone()
    assert row is not None
    return [at.astimezone(UTC) for at in row[0]]


@pytest.mark.parametrize("zone", ZONES)
def test_days_follow_the_viewers_calendar(db: psycopg.Connection, zone: str) -> None:
    local = ZoneInfo(zone)
    for now in MOMENTS:
        bounds = times(db, 7, zone, now)
        today = now.astimezone(local).date()
        assert [at.astimezone(local).date() for at in bounds] == [today + timedelta(days=n) for n in range(-6, 2)]
        for at in bounds:  # and not a minute later than the day began
            assert (at - timedelta(seconds=1)).astimezone(local).date() < at.astimezone(local).date()
        assert bounds[-2] <= now < bounds[-1]


@pytest.mark.parametrize("zone", ZONES)
def test_hours_follow_the_viewers_clock(db: psycopg.Connection, zone: str) -> None:
    for now in MOMENTS:
        bounds = times(db, 1, zone, now)
        assert {at.astimezone(ZoneInfo(zone)).minute for at in bounds} == {0}
        lengths = Counter(end - start for start, end in pairwise(bounds))
        assert set(lengths) <= {timedelta(hours=1), timedelta(hours=1.5)}
        assert lengths[timedelta(hours=1.5)] <= (zone == "Australia/Lord_Howe")
        assert bounds[-2] <= now < bounds[-1]
        assert timedelta(hours=22) <= now - bounds[0] < timedelta(hours=24)


def test_a_day_of_25_hours_has_every_hour(db: psycopg.Connection) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    bounds = times(db, 2, "Europe/Berlin", datetime(2026, 10, 26, 11, 30, tzinfo=UTC))
    assert len(bounds) == 49
    shown = [at.astimezone(berlin).hour for at in bounds if at.astimezone(berlin).date().day == 25]
    assert shown == [0, 1, 2, 2, *range(3, 24)]
    longest = max(end - start for start, end in pairwise(times(db, 7, "Europe/Berlin", datetime(2026, 10, 26, tzinfo=UTC))))
    assert longest == timedelta(hours=25)


@pytest.mark.parametrize("chart", CHARTS)
async def test_days_and_zone_are_checked(service: AlertService, chart) -> None:
    for days in (0, -1, 91, None):
        with pytest.raises(InvalidAlertError, match="1 to 90 days"):
            await chart(service, days, "UTC")
    for zone in ("Mars/Phobos", "", "+05:30", "Foo5", "../../etc/passwd", "x" * 100_000, "UTC; drop table x", None):
        with pytest.raises(InvalidAlertError, match="unknown time zone"):
            await chart(service, 7, zone)
    with pytest.raises(InvalidAlertError):
        await chart(service, 7, "a\x00b")
    for zone in ("Etc/GMT+5", "EST5EDT", "GMT", "America/Argentina/Buenos_Aires", "America/Port-au-Prince"):
        await chart(service, 90, zone)


async def test_without_alerts_every_bucket_is_present_and_empty(service: AlertService) -> None:
    for days, buckets in ((1, 24), (3, 72), (7, 7), (30, 30), (90, 90)):
        raised = await statistics.raised(service, days, "Asia/Kathmandu")
        assert len(raised) == buckets
        assert {(each.critical, each.high, each.warning, each.info) for each in raised} == {(0, 0, 0, 0)}
        assert all(a.ends_at == b.starts_at for a, b in pairwise(raised))
        bounds = {each.starts_at for each in raised}
        assert bounds <= {each.at for each in await statistics.open_over_time(service, days, "Asia/Kathmandu")}
        response = await statistics.response(service, days, "Asia/Kathmandu")
        assert {(each.acknowledged, each.acknowledge_p95, each.resolve_median) for each in response} == {(0, None, None)}
    assert await statistics.failures_by_token(service, 7, "UTC") == []
    assert await statistics.failures_by_error(service, 7, "UTC") == []


class History:
    """Alerts with a given past, inserted as rows."""

    def __init__(self, db: psycopg.Connection) -> None:
        self.db = db
        self.now = datetime.now(UTC)
        self.rows: list[tuple[str, datetime, datetime | None, datetime | None]] = []

    def add(
        self, severity: str, age: float, to_acknowledge: float | None = None, to_resolve: float | None = None, **data
    ) -> None:
        """An alert raised `age` hours ago; then hours until it was acknowledged and resolved."""
        created = self.now - timedelta(hours=age)
        acknowledged, resolved = (
            None if hours is None else created + timedelta(hours=hours) for hours in (to_acknowledge, to_resolve)
        )
        self.rows.append((severity, created, acknowledged, resolved))
        resolution = data.pop("resolution", "Order filled")
        self.db.execute(
            "insert into walltrack.alerts (alert_type, severity, status, title, data, created_at, acknowledged_at, "
            "acknowledged_by, resolved_at, resolved_by, resolution) values (%s, %s, %s, 'title', %s, %s, %s, %s, %s, %s, %s)",
            (
                data.pop("alert_type", "order_failed_permanently"),
                severity,
                "resolved" if resolved else "acknowledged" if acknowledged else "active",
                psycopg.types.json.Jsonb(data),
                created,
                acknowledged,
                acknowledged and "ada",
                resolved,
                resolved and "system",
                resolved and resolution,
            ),
        )


@pytest.fixture
def history(db: psycopg.Connection) -> History:
    return History(db)


@pytest.mark.parametrize("days", [1, 7])
async def test_any_history_agrees_with_the_model(service: AlertService, history: History, days: int) -> None:
    chance = random.Random(days)
    for _ in range(300):
        age = chance.expovariate(1 / 60)
        to_acknowledge = chance.choice([None, age * chance.random() / 2])
        to_resolve = chance.choice([None, age * (0.5 + chance.random() / 2)])
        history.add(chance.choice(list(AlertSeverity)), age, to_acknowledge, to_resolve)
    severities = [severity.value for severity in AlertSeverity]

    raised = await statistics.raised(service, days, "America/New_York")
    for each in raised:
        expected = Counter(severity for severity, created, *_ in history.rows if each.starts_at <= created < each.ends_at)
        assert {name: getattr(each, name) for name in severities} == {name: expected[name] for name in severities}
    assert sum(each.critical for each in raised) > 0

    seen = await statistics.open_over_time(service, days, "America/New_York")
    assert {each.starts_at for each in raised} <= {each.at for each in seen}
    assert all(a.at < b.at for a, b in pairwise(seen)) and len(seen) > 24 * days - 24
    assert seen[-1].at >= history.now
    for each in seen:
        expected = Counter(row[0] for row in history.rows if row[1] < each.at and (row[3] is None or row[3] >= each.at))
        assert {name: getattr(each, name) for name in severities} == {name: expected[name] for name in severities}
    assert seen[0].critical > 0

    for each in await statistics.response(service, days, "America/New_York"):
        for number, number_of, median, p95 in (
            (2, each.acknowledged, each.acknowledge_median, each.acknowledge_p95),
            (3, each.resolved, each.resolve_median, each.resolve_p95),
        ):
            took = [(row[number] - row[1]).total_seconds() for row in history.rows
                    if row[number] and each.starts_at <= row[number] < each.ends_at]  # fmt: skip
            assert number_of == len(took)
            assert median == (pytest.approx(reference.median(took)) if took else None)
            if len(took) > 1:
                assert p95 == pytest.approx(reference.quantiles(took, n=20, method="inclusive")[-1])


async def test_a_resolve_by_the_order_counts_only_as_resolved(service: AlertService, bot: Bot) -> None:
    filled, seen = bot.create(), bot.create()
    bot.exhaust(filled)
    bot.fill(filled)
    bot.exhaust(seen)
    bot.call("acknowledge_alert", bot.alert(seen).id, "ada")
    last = (await statistics.response(service, 1, "UTC"))[-2:]  # an hour may end just now
    assert (sum(each.acknowledged for each in last), sum(each.resolved for each in last)) == (1, 1)


async def test_duplicates_do_not_count_as_responses(service: AlertService, history: History) -> None:
    history.add("critical", 1, 0.2, 0.5)
    history.add("critical", 1, 0.01, 0.01, resolution=f"Duplicate of {uuid4()}")
    history.add("critical", 1, 0.2, 0.5, resolution="Duplicate order, see Duplicate of 5")
    response = await statistics.response(service, 1, "UTC")
    assert (sum(each.acknowledged for each in response), sum(each.resolved for each in response)) == (2, 2)


async def test_failures_list_the_ten_worst_first(service: AlertService, history: History) -> None:
    for number in range(12):
        for _ in range(number + 1):
            letter = chr(65 + number)
            history.add("critical", 1, None, 0.5, token=f"token{number}", token_symbol=f"T{number}", error=f"Error {letter}")
    for _ in range(50):
        history.add("critical", 1, alert_type="feed_silent", token="none", error="Silent")
        history.add("critical", 24 * 8, token="old", error="Old")
    history.add("high", 1, token_symbol="only a symbol", error=" ")
    tokens = await statistics.failures_by_token(service, 7, "UTC")
    assert [(each.token, each.token_symbol, each.failures) for each in tokens] == [
        (f"token{number}", f"T{number}", number + 1) for number in range(11, 1, -1)
    ]
    errors = await statistics.failures_by_error(service, 7, "UTC")
    assert [(each.family, each.example, each.failures) for each in errors] == [
        (f"Error {chr(65 + number)}", f"Error {chr(65 + number)}", number + 1) for number in range(11, 1, -1)
    ]


async def test_failures_without_token_or_error_have_no_bar(service: AlertService, history: History) -> None:
    history.add("high", 1, token_symbol="only a symbol", error=" \n")
    history.add("high", 1)
    (token,) = await statistics.failures_by_token(service, 7, "UTC")
    assert (token.token, token.token_symbol) == (None, "only a symbol")
    assert await statistics.failures_by_error(service, 7, "UTC") == []


async def test_hostile_tokens_and_errors_are_short_labels(service: AlertService, history: History) -> None:
    history.add("critical", 1, token="x" * 100_000, token_symbol="<script>" * 10_000, error="\u202e<b>\t\n" + "y " * 50_000)
    history.add("critical", 1, token=["a", {"b": 1}], token_symbol=7, error={"code": 3})
    for token in await statistics.failures_by_token(service, 7, "UTC"):
        assert len(token.token or "") <= 100 and len(token.token_symbol or "") <= 100
    for error in await statistics.failures_by_error(service, 7, "UTC"):
        assert len(error.family) <= 120 and len(error.example) <= 200


FAMILIES = {
    "Slippage #% > #%": ["slippage 18.4% > 1.0%", "Slippage 3 % > 10%", "slippage  1,018.4%\n> 5%"],
    "Account # not found": [
        "Account DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263 not found",
        "Account So11111111111111111111111111111111111111112 not found",
        "Account DezX…B263 not found",
        "Account 7xKX...gAsU not found",
        "Account 42 not found",
        "Account 4f1c2a9b-1f1f-4e2e-a333-444455556666 not found",
        "Account abcdefab-1f1f-4e2e-a333-444455556666 not found",
    ],
    "Custom program error: #": ["custom program error: 0x1771", "Custom program error: 0xDEADbeef", "custom program error: 6001"],
    "Balance # too low": ["balance -5.3e-7 too low", "balance 0.000012 too low", "balance +3 too low"],
    "No route at #": ["no route at 2026-11-25T01:02:03.4Z", "no route at 2026-11-25 01:02:03+02:00", "no route at 12:30"],
    "Tried [#]": ["tried [1, 2, 3]", "tried [4]", "tried [0x1 | 0x2]"],
    "Attempt # failed after #s": ["attempt 3/3 failed after 60.00s", "attempt 4/3 failed after 5s"],
    "TransactionExpiredBlockheightExceededError": ["TransactionExpiredBlockheightExceededError"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_that_differ_only_in_numbers_form_one_family(db: psycopg.Connection, family: str) -> None:
    for error in FAMILIES[family]:
        assert db.execute("select walltrack.error_family(%s)", (error,)).fetchone() == (family,)


def test_a_blank_error_has_no_family(db: psycopg.Connection) -> None:
    for error in ("", " \t\n", "\u0007", None):
        assert db.execute("select walltrack.error_family(%s)", (error,)).fetchone() == (None,)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["0x1f", "12", "3.5", "%", " ", "…", "..", "-", "+", "e", "abc", "Z9z", "#", ":", ",", "1e-7", "\n", "ß"])
        | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5)
    ).map("".join)
)
@example("1xA")
def test_every_digit_is_folded_alike(db: psycopg.Connection, error: str) -> None:
    """chart_errors() folds errors that differ in digits only once."""
    row = db.execute(
        "select walltrack.error_family(%(e)s), walltrack.error_family(translate(%(e)s, '123456789', '000000000'))", {"e": error}
    ).fetchone()
    assert row is not None and row[0] == row[1]
    assert not any(digit in (row[0] or "") for digit in "0123456789")


async def test_history_is_not_read(service: AlertService, db: psycopg.Connection, history: History) -> None:
    """A long history must cost nothing: the charts read by index only what they show."""
    db.execute(
        "insert into walltrack.alerts (alert_type, severity, status, title, created_at, acknowledged_at, acknowledged_by, "
        "resolved_at, resolved_by, resolution, own_writes) "
        "select 'order_failed_permanently', 'high', 'resolved', 't', t, t, 'ada', t, 'ada', 'x', 1 "
        "from (select now() - interval '100 days' - n * interval '1 min' as t from generate_series(1, 50000) as n) as old"
    )
    for number in range(20):
        history.add("critical", number, 0.1, None if number % 2 else 0.2, token="t", error="e")
    db.execute("analyze walltrack.alerts")
    for chart in ("raised", "open", "response", "tokens", "errors"):
        with db.transaction():
            db.execute(f"select count(*) from walltrack.chart_{chart}(7, 'Europe/Berlin')")  # type: ignore[arg-type]
            row = db.execute(
                "select seq_scan, idx_tup_fetch from pg_stat_xact_user_tables where relid = 'walltrack.alerts'::regclass"
            ).fetchone()
        assert row is not None and row[0] == 0 and row[1] < 1000, (chart, row)


async def test_only_readers_may_read_the_charts(service: AlertService, database_url: str, bot: Bot) -> None:
    role = f"viewer_{uuid4().hex[:8]}"
    bot.execute(f"create role {role}")
    try:
        async with AlertService.from_url(f"{database_url} options='-c role={role}'") as viewer:
            for chart in CHARTS:
                with pytest.raises(PermissionDeniedError):
                    await chart(viewer, 7, "UTC")
        bot.execute(f"select walltrack.grant_access('{role}', 'reader')")
        bot.exhaust(bot.create())
        async with AlertService.from_url(f"{database_url} options='-c role={role}'") as viewer:
            for chart in CHARTS:
                assert await chart(viewer, 7, "UTC")
    finally:
        bot.execute(f"drop owned by {role}; drop role {role}")
