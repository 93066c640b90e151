"""No statement of deliveries scans a whole table, whatever the statistics say when a session plans it.

As in tests/schema/test_plans.py: a session plans its statements while there is hardly a row, and keeps the plans while
thousands come. What has to read every delivery, such as the view of all that are undelivered, may scan the small table of
unfinished deliveries, but never the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from tests.deliveries.relay import Claim, Desk, Relay

ROWS = 3000
HISTORY = ("alerts", "alert_events", "finished_deliveries")
TABLES = (*HISTORY, "deliveries")
Watch = Callable[[], AbstractContextManager[None]]
STALE = ("never", "vacuumed", "restored", "analyzed")


def counters(desk: Desk, tables: tuple[str, ...]) -> tuple[Counter[str], Counter[str]]:
    """(sequential scans of each table, entries read of each index) so far."""
    desk.execute("select pg_stat_force_next_flush()")
    desk.execute("select pg_stat_clear_snapshot()")
    scans, entries = (
        desk.execute(f"select {columns} where schemaname = 'walltrack' and relname = any (%s)", (list(tables),)).fetchall()
        for columns in ("relname, seq_scan from pg_stat_user_tables", "indexrelname, idx_tup_read from pg_stat_user_indexes")
    )
    return Counter(dict(scans)), Counter(dict(entries))


@contextmanager
def by_index(desk: Desk, most: int | None = None, tables: tuple[str, ...] = TABLES) -> Iterator[None]:
    """Check that the block scans none of the tables and reads at most this many index entries."""
    scans, entries = counters(desk, tables)
    yield
    after = counters(desk, tables)
    assert after[0] - scans == Counter()
    assert most is None or (after[1] - entries).total() <= most, after[1] - entries


def set_statistics(desk: Desk, statistics: str) -> None:
    """Let the planner know nothing, or what was true a while ago."""
    desk.execute("set enable_sort = off")  # a plan must not walk an index to avoid a sort
    if statistics == "vacuumed":
        desk.execute(f"vacuum {', '.join(f'walltrack.{table}' for table in TABLES)}")
    elif statistics == "analyzed":
        desk.execute(f"vacuum analyze {', '.join(f'walltrack.{table}' for table in TABLES)}")
    elif statistics == "restored":
        desk.execute(
            "delete from pg_statistic where starelid in (select oid from pg_class where relnamespace = 'walltrack'::regnamespace)"
        )
        desk.execute("update pg_class set reltuples = -1, relpages = 0 where relnamespace = 'walltrack'::regnamespace")


def fill(desk: Desk, relay: Relay) -> None:
    """A bad day: thousands of open alerts, undelivered, and thousands of deliveries that have arrived."""
    desk.execute(
        "select count(walltrack.raise_alert('feed', 'high', 'Feed is silent', 'm', '{}', false, 'old-' || n)) "
        "from generate_series(1, %s) as n",
        (ROWS,),
    )
    relay.fan_out_all()
    desk.execute(
        "insert into walltrack.finished_deliveries (delivery_id, target_id, event_id, alert_id, state, attempts, created_at) "
        "select 1000000 + e.event_id, t.target_id, e.event_id, e.alert_id, 'delivered', 1, e.at from walltrack.alert_events as e "
        "cross join walltrack.notification_targets as t where t.name = 'former'"
    )


@pytest.fixture
def hook(desk: Desk) -> int:
    """A webhook; what was delivered in the past was delivered to one that is disabled now."""
    desk.webhook("former")
    desk.execute("select walltrack.disable_target('former', 'moved', 'ada')")
    return desk.webhook()


@pytest.fixture
def relay(desk: Desk) -> Relay:
    """A relay on the connection whose statements are counted."""
    return Relay(desk.connection)


def attempts(desk: Desk, claims: list[Claim], count: int) -> None:
    ids = [each for claim in claims for each in claim.deliveries]
    desk.execute("update walltrack.deliveries set attempts = %s where delivery_id = any (%s)", (count, ids))


def dead_letters(desk: Desk, relay: Relay, target: int, watch: Watch) -> list[int]:
    """Deliveries whose last attempt has just failed."""
    claims = relay.claim(2, targets=[target])
    attempts(desk, claims, 9)
    with watch():
        return [delivery for delivery, state in relay.finish(*claims, outcome="failed") if state == "dead"]


def delivery_life(desk: Desk, relay: Relay, target: int, turn: int, watch: Watch) -> None:
    """Everything that may happen to a delivery of a webhook."""
    for kind in ("raised", "repeated", "raised"):
        desk.raise_alert(f"{turn}-{kind}")
    with watch():
        relay.fan_out(10)
    relay.claim(1, lease="0 seconds", targets=[target])
    with watch():
        claims = relay.claim(2, targets=[target])
    with watch():
        relay.finish(*claims, outcome="released")
    claims = relay.claim(2, targets=[target])
    with watch():
        relay.finish(*claims)
    dead = dead_letters(desk, relay, target, watch)
    with watch():
        desk.execute("select walltrack.replay_deliveries(%s, 'ada')", (dead,))
    dead = dead_letters(desk, relay, target, watch)
    with watch():
        desk.execute("select walltrack.drop_deliveries(%s, 'ada')", (dead,))


@pytest.mark.parametrize("statistics", STALE)
def test_deliveries_to_webhooks_read_by_index_only(desk: Desk, relay: Relay, hook: int, statistics: str) -> None:
    set_statistics(desk, statistics)
    for turn in range(8):  # plans are cached from the sixth on
        delivery_life(desk, relay, hook, turn, nullcontext)
    fill(desk, relay)
    delivery_life(desk, relay, hook, 8, lambda: by_index(desk, 300))


def test_plans_made_for_a_few_deliveries_read_by_index_only(desk: Desk, relay: Relay, hook: int) -> None:
    for turn in range(2):
        delivery_life(desk, relay, hook, turn, nullcontext)
    set_statistics(desk, "analyzed")
    desk.execute("discard plans")
    desk.execute("set plan_cache_mode = force_generic_plan")
    delivery_life(desk, relay, hook, 2, nullcontext)
    fill(desk, relay)
    delivery_life(desk, relay, hook, 3, lambda: by_index(desk, 300))


def chat_life(desk: Desk, relay: Relay, target: int, turn: int, watch: Watch) -> None:
    """A message with buttons, an answer, an edit, and a digest."""
    alert = desk.raise_alert(f"{turn}-alone", severity="critical")
    with watch():
        relay.fan_out(10)
    desk.due_now()
    with watch():
        claims = relay.claim(1, targets=[target])
    with watch():
        relay.finish(*claims, reference=f"message-{turn}")
    with watch():
        desk.execute("select * from walltrack.press_button(%s, %s, 'acknowledge', '12345')", (target, f"message-{turn}"))
    desk.resolve(alert)
    for each in ("one", "two"):
        desk.raise_alert(f"{turn}-{each}")
    with watch():
        relay.fan_out(10)
    for outcome in ("failed", "delivered", "delivered"):
        desk.due_now()
        with watch():
            claims = relay.claim(1, targets=[target])
        with watch():
            relay.finish(*claims, outcome=outcome, reference=None)


@pytest.mark.parametrize("statistics", STALE)
def test_messages_in_chats_read_by_index_only(desk: Desk, relay: Relay, hook: int, statistics: str) -> None:
    chat = desk.chat()
    set_statistics(desk, statistics)
    for turn in range(8):
        chat_life(desk, relay, chat, turn, nullcontext)
    desk.execute("select walltrack.disable_target('chat', 'busy', 'ada')")
    fill(desk, relay)
    desk.execute("select walltrack.enable_target('chat')")
    chat_life(desk, relay, chat, 8, lambda: by_index(desk, 2000))
    fill_chat = by_index(desk)
    desk.execute("select count(walltrack.resolve_alert(id, 'x', 'ada')) from walltrack.open_alerts")
    relay.fan_out_all()
    with fill_chat:
        relay.claim(1, targets=[chat])


@pytest.mark.parametrize("statistics", STALE)
def test_silences_escalation_and_purge_read_by_index_only(desk: Desk, relay: Relay, hook: int, statistics: str) -> None:
    set_statistics(desk, statistics)

    def life(turn: int, watch: Watch) -> None:
        alert = desk.raise_alert(f"{turn}", severity="critical")
        desk.escalate(alert)
        relay.fan_out(10)
        desk.acknowledge(alert)
        with watch():
            desk.execute("select walltrack.escalate_overdue(5)")
        desk.execute("select walltrack.add_silence('{\"severity\": \"critical\"}', 'known', now() + interval '1 hour', 'ada')")
        with watch():
            relay.claim(5, targets=[hook])
        desk.resolve(alert)
        relay.fan_out(10)
        relay.finish(*relay.claim(5, targets=[hook]))
        with watch():
            desk.execute("select walltrack.purge_alerts('0', 5)")
        with watch():
            desk.execute("select walltrack.purge_delivery_history(now(), 5)")

    for turn in range(8):
        life(turn, nullcontext)
    fill(desk, relay)
    life(8, lambda: by_index(desk))


@pytest.mark.parametrize("statistics", STALE)
def test_health_and_metrics_read_by_index_only(desk: Desk, relay: Relay, hook: int, statistics: str) -> None:
    set_statistics(desk, statistics)
    dead_letters(desk, relay, hook, nullcontext)
    queries = (
        ("select * from walltrack.health_of_deliveries(current_user::regrole)", TABLES),
        ("select * from walltrack.relay_metrics()", HISTORY),
        ("select * from walltrack.target_states", HISTORY),
        ("select * from walltrack.undelivered", HISTORY),
        ("select * from walltrack.undelivered order by delivery_id limit 20", HISTORY),
        ("select * from walltrack.undelivered where target = 'hook' and state = 'dead'", HISTORY),
    )
    for _ in range(8):
        for query, _ in queries:
            desk.execute(query)
    fill(desk, relay)
    for query, tables in queries:
        with by_index(desk, 12 * ROWS, tables):
            desk.execute(query)
