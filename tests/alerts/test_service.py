"""AlertService and the models, over a real connection."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import ValidationError

from tests.support.bot import Bot
from walltrack_alerts import Alert, AlertService, AlertSeverity, AlertStatus, EventKind, NoticeCode
from walltrack_alerts.errors import (
    AlertNotFoundError,
    AlertTransitionError,
    DatabaseBusyError,
    DatabaseUnavailableError,
    InvalidAlertError,
    NotMigratedError,
    OrderActionRefusedError,
    PermissionDeniedError,
)


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[AlertService]:
    async with AlertService.from_url(database_url) as service:
        yield service


async def test_the_service_covers_the_life_of_an_alert(service: AlertService) -> None:
    alert = await service.create_alert(
        "feed_silent", AlertSeverity.HIGH, "Feed is silent", "for 5 minutes", data={"feed": UUID(int=1)}, dedupe_key="feed"
    )
    assert alert.is_active and alert.is_open and alert.notice is None
    assert alert.data == {"feed": str(UUID(int=1))}
    again = await service.create_alert("feed_silent", "critical", "Feed is silent", dedupe_key="feed")
    assert (again.id, again.occurrences, again.severity) == (alert.id, 2, AlertSeverity.CRITICAL)

    acknowledged = await service.acknowledge_alert(alert.id, "ada")
    assert acknowledged.status is AlertStatus.ACKNOWLEDGED and not acknowledged.is_active and acknowledged.is_open
    repeat = await service.acknowledge_alert(str(alert.id), "bob")
    assert repeat.acknowledged_by == "ada"
    assert repeat.notice is not None and "already acknowledged by ada" in repeat.notice
    assert (acknowledged.notice_code, repeat.notice_code) == (None, NoticeCode.ALREADY_ACKNOWLEDGED)

    resolved = await service.resolve_alert(alert.id, "back again", "bob")
    assert (resolved.status, resolved.resolved_by, resolved.is_open) == (AlertStatus.RESOLVED, "bob", False)
    assert await service.get_alert(alert.id) == resolved
    kinds = [event.kind for event in await service.get_events(alert.id)]
    assert kinds == [EventKind.RAISED, EventKind.REPEATED, EventKind.ESCALATED, EventKind.ACKNOWLEDGED, EventKind.RESOLVED]
    assert await service.get_resolved_alerts() == [resolved]


async def test_an_alert_is_resolved_by_its_dedupe_key(service: AlertService) -> None:
    alert = await service.create_alert("t", "info", "t", dedupe_key="k")
    resolved = await service.resolve_by_dedupe_key("k", "gone", "ada")
    assert resolved is not None and resolved.id == alert.id
    assert await service.resolve_by_dedupe_key("k", "gone", "ada") is None


async def test_each_notice_has_a_code(service: AlertService) -> None:
    alert = await service.create_alert("t", "info", "t")
    hour, day = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 24))
    said = [
        (await service.snooze_alert(alert.id, None, "ada")).notice_code,
        (await service.snooze_alert(alert.id, hour, "ada")).notice_code,
        (await service.snooze_alert(alert.id, hour, "bob")).notice_code,
        (await service.snooze_alert(alert.id, day, "bob")).notice_code,
        (await service.resolve_alert(alert.id, "gone", "ada")).notice_code,
        (await service.resolve_alert(alert.id, "gone", "bob")).notice_code,
    ]
    unchanged, replaced = NoticeCode.SNOOZE_UNCHANGED, NoticeCode.SNOOZE_REPLACED
    assert said == [unchanged, None, unchanged, replaced, None, NoticeCode.ALREADY_RESOLVED]


async def test_a_trigger_of_the_host_adds_no_notice(service: AlertService, bot: Bot) -> None:
    bot.execute(
        "create function public.chatty() returns trigger language plpgsql as "
        "$$ begin raise notice 'already acknowledged by the host'; return null; end $$;"
        "create trigger chatty after update on walltrack.alerts for each row execute function public.chatty()"
    )
    alert = await service.create_alert("t", "info", "t")
    acknowledged = await service.acknowledge_alert(alert.id, "ada")
    assert (acknowledged.notice, acknowledged.notice_code) == (None, None)


async def test_a_refused_order_action_carries_its_code(service: AlertService, bot: Bot) -> None:
    order = bot.create()
    bot.exhaust(order)
    alert = bot.alert(order)
    bot.lock(order)
    with pytest.raises(OrderActionRefusedError, match="worker-1 is working on the order") as caught:
        await service.retry_order(alert.id, "ada")
    assert caught.value.code == "locked" and (await service.get_order(alert.id) or {})["refusals"]["retry"]["code"] == "locked"
    bot.unlock(order)
    bot.fill(order)
    with pytest.raises(OrderActionRefusedError) as caught:
        await service.cancel_order(alert.id, None, "ada")
    assert caught.value.code == "filled" and pickle.loads(pickle.dumps(caught.value)).code == "filled"


async def test_lists_and_counts_agree(service: AlertService, bot: Bot) -> None:
    for order_type in ("entry", "exit", "entry", "exit", "entry"):
        bot.exhaust(bot.create(order_type))
    alerts = await service.get_active_alerts()
    assert [alert.severity for alert in alerts] == ["critical"] * 2 + ["high"] * 3
    assert alerts[0].created_at < alerts[1].created_at
    assert await service.get_active_alerts("high") == alerts[2:]
    assert await service.get_active_alerts(AlertSeverity.HIGH, limit=1) == alerts[2:3]
    assert await service.get_active_alerts("info") == []
    await service.acknowledge_alert(alerts[0].id, "ada")
    counts = await service.get_active_count()
    assert (counts.total, counts.active, counts.critical) == (5, 4, 2)
    assert list(counts.by_severity) == ["critical", "high", "warning", "info"]
    assert counts.by_severity[AlertSeverity.INFO].total == 0
    assert {alert.id for alert in await service.get_active_alerts()} == {alert.id for alert in alerts}


async def test_errors_are_classes_of_the_package(service: AlertService) -> None:
    alert = await service.create_alert("t", "info", "t")
    await service.resolve_alert(alert.id, "done", "ada")
    with pytest.raises(AlertTransitionError, match="ada resolved it"):
        await service.acknowledge_alert(alert.id, "bob")
    for missing in (uuid4(), str(uuid4())):
        with pytest.raises(AlertNotFoundError):
            await service.get_alert(missing)
        with pytest.raises(AlertNotFoundError):
            await service.acknowledge_alert(missing, "ada")
    assert await service.get_events(uuid4()) == []
    with pytest.raises(InvalidAlertError):
        await service.get_alert("not an id")
    with pytest.raises(InvalidAlertError, match="critical"):
        await service.create_alert("t", "catastrophic", "t")
    with pytest.raises(InvalidAlertError):
        await service.create_alert("t", "info", "a text with \x00 in it")
    with pytest.raises(InvalidAlertError):
        await service.create_alert("t", "info", "t", data={"x": "\x00"})
    with pytest.raises(InvalidAlertError):
        await service.resolve_alert(alert.id, "", "ada")


async def test_a_role_without_rights_gets_an_error(service: AlertService, database_url: str, bot: Bot) -> None:
    role = f"nobody_{uuid4().hex[:8]}"
    bot.execute(f"create role {role}; alter default privileges grant select on tables to public")
    try:
        bot.execute(f"set role {role}")
        async with AlertService.from_url(f"{database_url} options='-c role={role}'") as stranger:
            with pytest.raises(PermissionDeniedError, match="permission denied"):
                await stranger.get_active_alerts()
    finally:
        bot.execute(f"reset role; drop role {role}")


async def test_the_service_survives_a_server_restart(service: AlertService, bot: Bot) -> None:
    await service.create_alert("t", "info", "t")
    bot.execute(
        "select pg_terminate_backend(pid, 60000) from pg_stat_activity "
        "where datname = current_database() and application_name = 'walltrack_alerts'"
    )
    assert len(await service.get_active_alerts()) == 1
    async with AlertService.from_url("host=127.0.0.1 port=1 dbname=x") as nowhere:
        with pytest.raises(DatabaseUnavailableError, match="WALLTRACK_DATABASE_URL"):
            await nowhere.get_active_count()


async def test_many_calls_at_once_succeed(service: AlertService) -> None:
    await asyncio.gather(*(service.create_alert("t", "info", "t", dedupe_key="k") for _ in range(20)))
    (alert,) = await service.get_active_alerts()
    assert alert.occurrences == 20


async def test_the_beginning_of_an_id_finds_its_alert(service: AlertService) -> None:
    alerts = [await service.create_alert("t", "info", "t") for _ in range(17)]
    assert await service.find_alert(str(alerts[0].id).upper()) == alerts[0]
    assert await service.find_alert(str(alerts[1].id)[:13]) == alerts[1]
    with pytest.raises(AlertNotFoundError, match="alerts list"):
        await service.find_alert("ffffffff-ffff")


async def test_an_ambiguous_beginning_of_an_id_is_refused(service: AlertService, bot: Bot) -> None:
    ids = [UUID(f"12345678-0000-4000-8000-00000000000{n}") for n in range(2)]
    for each in ids:
        bot.execute("insert into walltrack.alerts (id, alert_type, severity, title) values (%s, 't', 'info', 't')", (each,))
    with pytest.raises(InvalidAlertError, match="several"):
        await service.find_alert("12345678-00")
    assert (await service.find_alert(ids[1].hex)).id == ids[1]


@pytest.mark.parametrize("prefix", ["", " ", "1", "123", "zzzz", "%", "12345678-1234-1234-1234-1234567890123"])
async def test_an_invalid_beginning_of_an_id_finds_nothing(service: AlertService, prefix: str) -> None:
    """An empty variable in a script must not act on the only alert."""
    await service.create_alert("t", "info", "t")
    with pytest.raises(InvalidAlertError, match="first 4 characters"):
        await service.find_alert(prefix)


async def test_text_that_is_not_utf8_is_refused(service: AlertService) -> None:
    alert = await service.create_alert("t", "info", "t")
    with pytest.raises(InvalidAlertError, match="UTF-8"):
        await service.resolve_alert(alert.id, "caf\udce9", "ada")


async def test_a_timeout_is_not_reported_as_an_outage(database_url: str, bot: Bot) -> None:
    alert = bot.call("raise_alert", "t", "info", "t")
    assert alert is not None
    async with AlertService.from_url(f"{database_url} options='-c lock_timeout=50ms'") as hasty:
        with bot.connection.transaction():
            bot.execute("select 1 from walltrack.alerts for update")
            with pytest.raises(DatabaseBusyError, match="Try again"):
                await hasty.acknowledge_alert(alert.id, "ada")
    async with AlertService.from_url(f"{database_url} options='-c statement_timeout=50ms'") as hasty:
        with pytest.raises(DatabaseBusyError, match="statement timeout"):
            await hasty.rows("select pg_sleep(60)")


async def test_an_unmigrated_older_table_is_reported(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            "create schema walltrack;"
            "create table walltrack.alerts (id uuid, alert_type text, severity text, status text, title text);"
            "insert into walltrack.alerts values ('12345678-0000-4000-8000-000000000001', 't', 'high', 'active', 'a secret')"
        )
    async with AlertService.from_url(empty_database_url) as service:
        for ask in (service.get_alert, service.find_alert):
            with pytest.raises(NotMigratedError, match="walltrack-alerts migrate"):
                await ask("12345678-0000-4000-8000-000000000001")
        with pytest.raises(NotMigratedError) as caught:  # PostgreSQL's own hint is to add type casts
            await service.get_page()
        assert str(caught.value).splitlines()[1:] == ["The owner of schema walltrack has to run `walltrack-alerts migrate`."]


def test_times_are_aware_and_utc() -> None:
    tokyo = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    facts = {
        "id": uuid4(), "alert_type": "t", "severity": "info", "status": "active", "title": "t", "message": "", "data": {},
        "requires_action": False, "updated_at": tokyo, "last_seen_at": tokyo,
    }  # fmt: skip
    alert = Alert(created_at=tokyo, **facts)
    assert alert.created_at.tzinfo is UTC and alert.created_at.hour == 0
    assert alert.age > timedelta(0)
    assert Alert(created_at=datetime.now(UTC) + timedelta(hours=1), **facts).age == timedelta(0)
    with pytest.raises(ValidationError, match="timezone"):
        Alert(created_at=datetime(2026, 1, 1), **facts)  # noqa: DTZ001
