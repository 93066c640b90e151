"""Programs that write alerts with plain statements, like the bot's older alert service: no write of theirs fails."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.support.bot import TOKEN, Bot
from tests.support.deadline import Deadline
from walltrack_alerts import migrations
from walltrack_alerts.models import Alert

GIVEN_UP = "Max retries reached (3 attempts)"


class Base(DeclarativeBase):
    """The schema as the older service knows it."""


class OldAlert(Base):
    """The table before alerting adopted it."""

    __tablename__ = "alerts"
    __table_args__ = ({"schema": "walltrack"},)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=sa.text("gen_random_uuid()"))
    alert_type: Mapped[str]
    severity: Mapped[str]
    status: Mapped[str] = mapped_column(default="active")
    title: Mapped[str]
    message: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    requires_action: Mapped[bool] = mapped_column(default=False)
    dedupe_key: Mapped[str | None]
    created_at: Mapped[datetime | None] = mapped_column(sa.TIMESTAMP(timezone=True), server_default=sa.func.now())
    updated_at: Mapped[datetime | None] = mapped_column(
        sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), onupdate=sa.func.now()
    )
    acknowledged_at: Mapped[datetime | None] = mapped_column(sa.TIMESTAMP(timezone=True))
    acknowledged_by: Mapped[str | None]
    resolved_at: Mapped[datetime | None] = mapped_column(sa.TIMESTAMP(timezone=True))
    resolution: Mapped[str | None]
    notified_at: Mapped[datetime | None] = mapped_column(sa.TIMESTAMP(timezone=True))


class OlderService:
    """The older service over SQLAlchemy: one transaction a call, each flush checks how many rows it has written."""

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sa.pool.NullPool
        )  # fmt: skip

    def create_alert(self, key: str | None, message: str = GIVEN_UP, **columns: Any) -> uuid.UUID:
        """Overwrite the active alert of the key, or insert one; returns its id."""
        with Session(self.engine) as session, session.begin():
            alert = session.scalars(sa.select(OldAlert).where(OldAlert.dedupe_key == key, OldAlert.status == "active")).first()
            if alert is None:
                alert = OldAlert(
                    **{
                        "alert_type": "order_failed_permanently", "severity": "high", "title": "Order failed", "message": message,
                        "data": {"token_address": "elsewhere"}, "dedupe_key": key, **columns,
                    }
                )  # fmt: skip
                session.add(alert)
            else:
                alert.message = message
                alert.data = {"reason": message}
            session.flush()
            alert.notified_at = datetime.now(UTC)
            return alert.id

    def change(self, alert_id: uuid.UUID, **columns: Any) -> None:
        """A flush of these columns."""
        with Session(self.engine) as session, session.begin():
            alert = session.get_one(OldAlert, alert_id)
            for name, value in columns.items():
                setattr(alert, name, value)

    def delete(self, alert_id: uuid.UUID) -> None:
        with Session(self.engine) as session, session.begin():
            session.delete(session.get_one(OldAlert, alert_id))


@pytest.fixture(params=["owner", "a role with rights on the table"])
def writer_url(request: pytest.FixtureRequest, database_url: str, db: psycopg.Connection) -> Iterator[str]:
    """Connects the older service, as the owner of alerting or as a role that had rights before."""
    if request.param == "owner":
        yield database_url
        return
    name = f"wt_older_{uuid.uuid4().hex[:8]}"
    db.execute(f"create role {name}; grant usage on schema walltrack to {name}; grant all on walltrack.alerts to {name}")  # type: ignore[arg-type]
    db.execute("select walltrack.narrow_grants()")
    yield make_conninfo(database_url, options=f"-c role={name}")
    db.execute(f"drop owned by {name}; drop role {name}")  # type: ignore[arg-type]


@pytest.fixture
def older(writer_url: str) -> OlderService:
    return OlderService(writer_url)


@pytest.fixture
def heard(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("listen walltrack_alerts")
        yield connection


def kinds(heard: psycopg.Connection) -> list[str]:
    """The kinds of the notifications received so far."""
    heard.execute("select pg_notify('walltrack_alerts', '{\"kind\": \"end\"}')")
    found: list[str] = []
    for notice in heard.notifies(timeout=10):
        kind = json.loads(notice.payload)["kind"]
        if kind == "end":
            return found
        found.append(kind)
    raise AssertionError(found)


def newest(bot: Bot) -> tuple[Any, ...]:
    return bot.execute("select kind, actor, detail from walltrack.alert_events order by event_id desc limit 1").fetchone() or ()


def key_of(order: uuid.UUID) -> str:
    return f"order_failed_{order}"


def test_an_order_alert_keeps_its_texts(bot: Bot, older: OlderService, heard: psycopg.Connection) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    bot.give_up(order)
    before = bot.alert(order)
    assert older.create_alert(key_of(order)) == before.id
    older.change(before.id, severity="info", title="mine", requires_action=False, alert_type="x", dedupe_key="y")
    after = bot.alert(order)
    changing = {"updated_at", "notified_at"}
    assert after.model_dump(exclude=changing) == before.model_dump(exclude=changing)
    assert after.data["error"] == "slippage tolerance exceeded" and after.occurrences == 1
    assert bot.events(order) == kinds(heard) == ["raised", "repeated", "repeated"]
    assert bot.execute("select raised, resolved from walltrack.reconcile_orders()").fetchone() == (0, 0)


def test_plain_updates_acknowledge_and_resolve(bot: Bot, older: OlderService, heard: psycopg.Connection) -> None:
    orders = [bot.create("exit") for _ in range(2)]
    for order in orders:
        bot.exhaust(order)
    acknowledged, resolved = (bot.alert(order).id for order in orders)
    older.change(acknowledged, status="acknowledged", acknowledged_at=datetime.now(UTC), acknowledged_by="ada")
    assert newest(bot)[:2] == ("acknowledged", "ada")
    older.change(resolved, status="resolved", resolved_at=datetime.now(UTC), resolution="Order filled")
    kind, actor, detail = newest(bot)
    assert (kind, detail["resolution"], detail["status"]) == ("resolved", "Order filled", "resolved")
    assert bot.alert(orders[1]).resolved_by == actor == bot.execute("select session_user").fetchone()[0]  # type: ignore[index]
    older.change(acknowledged, status="resolved")
    alert = bot.alert(orders[0])
    assert (alert.acknowledged_by, alert.resolution) == ("ada", "Resolved without a note")
    assert alert.resolved_at is not None and alert.resolved_by
    assert kinds(heard) == ["raised", "raised", "acknowledged", "resolved", "resolved"]


def test_an_insert_beside_an_open_alert_repeats_it(bot: Bot, older: OlderService, heard: psycopg.Connection) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    alert = bot.call("acknowledge_alert", bot.alert(order).id, "ada")
    assert alert is not None
    duplicate = older.create_alert(key_of(order))
    older.change(duplicate, status="acknowledged", acknowledged_by="bot")
    found = {each.id: each for each in bot.alerts(order)}
    assert found[duplicate].resolution == f"Duplicate of {alert.id}" and found[duplicate].resolved_by == "system"
    assert found[alert.id].status == "acknowledged" and found[alert.id].data == alert.data
    assert bot.events(order) == kinds(heard) == ["raised", "acknowledged", "repeated"]
    assert bot.execute("select count(*) from walltrack.alerts_since('-infinity')").fetchone() == (1,)  # as the charts count
    bot.fill(order)
    assert {each.resolution for each in bot.alerts(order)} == {f"Duplicate of {alert.id}", "Order filled"}


def test_the_services_own_alerts_are_raised_and_repeated(bot: Bot, older: OlderService, heard: psycopg.Connection) -> None:
    own: dict[str, Any] = {"alert_type": "system", "title": "RPC down", "data": {"rpc": 1}}
    alert_id = older.create_alert("rpc", "down", **own)
    older.create_alert("rpc", "still down")
    older.change(alert_id, status="acknowledged")
    older.create_alert("rpc", "down again", **own, severity="critical")
    (alert,) = (each for each in bot.alerts() if each.id == alert_id)
    assert (alert.message, alert.severity, alert.status, alert.occurrences) == ("down again", "critical", "active", 3)
    assert kinds(heard) == ["raised", "repeated", "acknowledged", "repeated", "escalated"]
    assert older.create_alert(None, **own) == older.create_alert(None, **own)  # the service finds its own alert
    assert kinds(heard) == ["raised", "repeated"]


def test_decisions_survive_stale_writes(bot: Bot, older: OlderService, heard: psycopg.Connection) -> None:
    """The service writes back what it read earlier: the first writer wins, and no alert leaves resolved."""
    order = bot.create("exit")
    bot.exhaust(order)
    alert = bot.call("acknowledge_alert", bot.alert(order).id, "ada")
    assert alert is not None
    older.change(alert.id, status="active", acknowledged_at=None, acknowledged_by=None)
    older.change(alert.id, acknowledged_by="bob", resolved_at=datetime.now(UTC))
    assert bot.alert(order).model_dump(exclude={"updated_at"}) == alert.model_dump(exclude={"updated_at"})
    resolved = bot.call("resolve_alert", alert.id, "sold", "ada")
    assert resolved is not None
    for status in ("active", "acknowledged", "nonsense"):
        older.change(alert.id, status=status, resolved_at=None, resolution=None, message="again")
    older.change(alert.id, resolution="mine", title="mine")
    assert bot.alert(order).model_dump(exclude={"updated_at"}) == resolved.model_dump(exclude={"updated_at"})
    assert bot.events(order) == kinds(heard) == ["raised", "acknowledged", "resolved"]


@pytest.mark.parametrize(
    "columns",
    [
        {"severity": "CRITICAL", "status": " Active "},
        {"severity": "fatal", "status": "muted", "alert_type": "x" * 5000, "title": " "},
        {"title": "t" * 100_000, "message": "m" * 1_000_000, "data": {"x": "y" * 1_000_000}},
        {"data": [1, 2], "created_at": None, "updated_at": None},
        {"data": None, "dedupe_key": "\u20ac" * 5000},
        {"dedupe_key": "  ", "status": "acknowledged", "acknowledged_by": " "},
        {"status": "active", "resolved_at": datetime.now(UTC), "resolution": "x", "acknowledged_by": "x"},
        {"status": "resolved"},
        {"title": "\x01" * 10_000, "alert_type": "\x01" * 10_000, "dedupe_key": "\x01" * 10_000},
    ],
)
def test_no_value_fails_a_write(bot: Bot, writer_url: str, columns: dict[str, Any]) -> None:
    values = {"alert_type": "system", "severity": "high", "title": "t", "message": "m", "dedupe_key": "k", **columns}
    values["data"] = Jsonb(values.get("data", {}))
    with psycopg.connect(writer_url) as connection:
        names = ", ".join(values)
        placeholders = ", ".join(f"%({name})s" for name in values)
        (alert_id,) = connection.execute(
            f"insert into walltrack.alerts ({names}) values ({placeholders}) returning id", values  # type: ignore[arg-type]
        ).fetchone() or ()  # fmt: skip
        for name in values:
            done = connection.execute(
                f"update walltrack.alerts set {name} = %({name})s where id = %(id)s", {**values, "id": alert_id}
            )  # type: ignore[arg-type]
            assert done.rowcount == 1
    (alert,) = bot.alerts()
    assert alert.severity == ("critical" if columns.get("severity") == "CRITICAL" else "high")
    assert len(bot.events()) == 1 and bot.faults() == []


def test_a_bulk_statement_notifies_for_each_row(bot: Bot, writer_url: str, heard: psycopg.Connection) -> None:
    orders = [bot.create("exit") for _ in range(3)]
    for order in orders:
        bot.exhaust(order)
    bot.execute("select walltrack.acknowledge_alert(%s, 'ada')", (bot.alert(orders[0]).id,))
    kinds(heard)
    with psycopg.connect(writer_url) as connection:
        connection.execute(
            "insert into walltrack.alerts (alert_type, severity, title, message, dedupe_key) "
            "select 'order_failed_permanently', 'high', 't', 'm', k from unnest(%s::text[]) as k",
            ([*map(key_of, orders), "new", key_of(uuid.uuid4()), None, "new"],),
        )
        connection.execute("update walltrack.alerts set status = 'resolved', resolution = 'all' where status <> 'resolved'")
    assert kinds(heard) == [*["repeated"] * 3, *["raised"] * 3, "repeated", *["resolved"] * 6]
    times = [at for (at,) in bot.execute("select at from walltrack.alert_events order by event_id")]
    assert times == sorted(times)
    assert bot.faults() == []


@pytest.mark.parametrize(
    "clause", ["do nothing", "(id) do nothing", "(dedupe_key) where status = 'active' do update set message = 'm'"]
)
def test_on_conflict_notifies_what_was_written(bot: Bot, writer_url: str, heard: psycopg.Connection, clause: str) -> None:
    is_same_row = clause.startswith("(id)")
    with psycopg.connect(writer_url, autocommit=True) as connection:
        for number in (1, 2):
            connection.execute(
                "insert into walltrack.alerts (id, alert_type, severity, title, message, dedupe_key) "
                f"values (%s, 't', 'high', 't', '', 'k') on conflict {clause}",  # type: ignore[arg-type]
                (uuid.UUID(int=1 if is_same_row else number),),
            )
    assert kinds(heard) == (["raised"] if is_same_row else ["raised", "repeated"])
    assert bot.execute("select count(*) from walltrack.open_alerts").fetchone() == (1,)


def test_sqlalchemy_upserts_work(bot: Bot, older: OlderService, heard: psycopg.Connection) -> None:
    with Session(older.engine) as session, session.begin():
        for _ in range(2):
            row = {"alert_type": "t", "severity": "high", "title": "t", "message": "", "data": {}, "dedupe_key": "k"}
            statement = insert(OldAlert).values(row).on_conflict_do_nothing().returning(OldAlert.id)
            assert session.execute(statement).scalar_one()
    assert kinds(heard) == ["raised", "repeated"]


def test_deleting_an_open_alert_notifies(bot: Bot, older: OlderService, heard: psycopg.Connection) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    alert = bot.alert(order)
    older.delete(alert.id)
    assert newest(bot)[0] == "resolved" and newest(bot)[2]["resolution"] == "Alert deleted"
    bot.execute("select walltrack.reconcile_orders()")
    assert bot.alert(order).id != alert.id
    bot.fill(order)
    older.delete(bot.alert(order).id)
    assert kinds(heard) == ["raised", "resolved", "raised", "resolved"]


def test_an_inserted_order_alert_knows_its_order(bot: Bot, older: OlderService) -> None:
    """The operator resolved the order's own alert; the row's claims about another order are ignored."""
    order = bot.create("exit", token_symbol="BONK")
    bot.exhaust(order)
    bot.call("resolve_alert", bot.alert(order).id, "sold", "ada")
    alert_id = older.create_alert(key_of(order), data={"order_id": str(uuid.uuid4()), "token_symbol": "FAKE", "retry_count": 3})
    (alert,) = (each for each in bot.alerts(order) if each.id == alert_id)
    assert {name: alert.data[name] for name in ("order_id", "token", "token_symbol", "attempts", "side", "error")} == {
        "order_id": str(order), "token": TOKEN, "token_symbol": "BONK", "attempts": 3, "side": "sell",
        "error": "slippage tolerance exceeded",
    }  # fmt: skip
    assert newest(bot)[0] == "raised" and newest(bot)[2]["attempts"] == 3


def test_only_alerting_counts_its_own_writes(bot: Bot, database_url: str) -> None:
    """Otherwise a role could overwrite the texts of an order alert and resolve it without an event."""
    role = f"wt_older_{uuid.uuid4().hex[:8]}"
    bot.execute(f"create role {role}; grant usage on schema walltrack to {role}; grant all on walltrack.alerts to {role}")
    try:
        migrations.upgrade(database_url)
        bot.execute(f"set role {role}")
        for statement in (
            "update walltrack.alerts set own_writes = own_writes + 1",
            "insert into walltrack.alerts (alert_type, severity, title, own_writes) values ('t', 'high', 't', 1)",
            "insert into walltrack.alerts (alert_type, severity, title, last_seen_at) values ('t', 'high', 't', '2020-01-01')",
            "update walltrack.alerts set snoozed_until = now()",
            "update walltrack.alerts set resolved_by = 'system'",
            "truncate walltrack.alerts",
            "create trigger t before update on walltrack.alerts execute function suppress_redundant_updates_trigger()",
            "select walltrack.accept_insert(null)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                bot.execute(statement)
    finally:
        bot.execute("reset role")
        bot.execute(f"drop owned by {role}; drop role {role}")


def test_row_security_lets_an_older_service_write(empty_database_url: str) -> None:
    from tests.support.older_tables import OLDER, run

    role = f"wt_older_{uuid.uuid4().hex[:8]}"
    run(
        empty_database_url,
        OLDER + f"create role {role}; grant usage on schema walltrack to {role}; grant all on walltrack.alerts to {role}",
    )
    try:
        migrations.upgrade(empty_database_url)
        run(empty_database_url, "select walltrack.enable_row_security()")
        service = OlderService(make_conninfo(empty_database_url, options=f"-c role={role}"))
        service.change(service.create_alert("k", alert_type="t"), status="resolved")
        with psycopg.connect(empty_database_url) as connection:
            assert Bot(connection).events() == ["raised", "resolved"]
    finally:
        run(empty_database_url, f"drop owned by {role}; drop role {role}")


def test_programs_that_insert_at_once_take_turns(bot: Bot, writer_url: str) -> None:
    """The same holds beside an order write that is raising the alert."""
    order = bot.create("exit")
    bot.update(order, status="failed", attempt_count=2)
    bot.execute("alter function walltrack.lock_dedupe_key(text) set lock_timeout = '60s'")  # long enough for the test
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with psycopg.connect(writer_url) as connection:
                connection.execute(
                    "insert into walltrack.alerts (alert_type, severity, title, message, dedupe_key) "
                    "values ('order_failed_permanently', 'high', 't', 'm', %s)",
                    (key_of(order),),
                )
        except BaseException as error:
            failures.append(error)

    with psycopg.connect(**conninfo_to_dict(bot.connection.info.dsn)) as failing:
        Bot(failing).fail(order)
        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        deadline = Deadline()
        while bot.execute(waiting).fetchone() != (2,) and deadline.is_ahead():
            pass
        failing.commit()
        for thread in threads:
            thread.join()
    assert failures == []
    assert sum(alert.is_open for alert in bot.alerts(order)) == 1 and len(bot.alerts(order)) == 3
    assert sorted(bot.events(order)) == ["raised", "repeated", "repeated"]


def test_an_event_that_cannot_be_kept_fails_nothing(bot: Bot, older: OlderService) -> None:
    bot.execute(
        "create function walltrack.no() returns trigger language plpgsql as $$ begin raise 'no events today'; end $$; "
        "create trigger no before insert on walltrack.alert_events for each row execute function walltrack.no()"
    )
    alert_id = older.create_alert("k", alert_type="t")
    older.change(alert_id, status="resolved")
    older.delete(older.create_alert("k", alert_type="t"))
    assert [sqlstate for sqlstate, _ in bot.faults()] == ["P0001"] * 4
    assert "no events today" in bot.faults()[0][1]


def test_times_of_events_do_not_run_backwards(bot: Bot, database_url: str) -> None:
    """A host trigger gives every row the start time of its transaction."""
    bot.execute(
        "create function walltrack.touch() returns trigger language plpgsql as "
        "$$ begin new.updated_at := now(); return new; end $$; "
        "create trigger touch before update on walltrack.alerts for each row execute function walltrack.touch()"
    )
    with psycopg.connect(database_url) as connection:
        inside = Bot(connection)
        order = inside.create("entry")
        inside.exhaust(order)
        alert: Alert = inside.alert(order)
        inside.call("snooze_alert", alert.id, datetime.now(UTC) + timedelta(hours=1), "ada")
        inside.call("acknowledge_alert", alert.id, "ada")
        inside.update(order, order_type="exit")
        inside.fail(order)
        inside.execute("update walltrack.alerts set message = 'x'")
        inside.call("resolve_alert", alert.id, "done", "ada")
        times = [at for (at,) in inside.execute("select at from walltrack.alert_events order by event_id")]
        (began,) = inside.execute("select now()").fetchone() or (None,)
    assert len(times) == 7 and times == sorted(times) and times[0] > began
