"""Odd arguments: a role that may call a function gets an answer or a documented error, whatever it passes.

Each pair of values is tried for each pair of parameters, in transactions that are rolled back.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.support.bot import Bot

GRANTED: LiteralString = """
select distinct p.proname, p.proargnames[1:p.pronargs], array(select format_type(t, null) from unnest(p.proargtypes) as t)
from pg_proc as p
cross join unnest(array['reader', 'operator', 'raiser', 'relay']) as k (access)
where p.pronamespace = 'walltrack'::regnamespace and p.proname = any (walltrack.granted_functions(k.access))
order by 1
"""
OWN: LiteralString = """
select p.proname, p.proargnames[1:p.pronargs], array(select format_type(t, null) from unnest(p.proargtypes) as t)
from pg_proc as p
where p.pronamespace = 'walltrack'::regnamespace and p.proname in (
  'watch_orders', 'plan_watch', 'unwatch_orders', 'reconcile_orders', 'purge_alerts', 'grant_access', 'revoke_access'
)
order by 1
"""
ROLE = f"wt_odd_{uuid.uuid4().hex[:8]}"
ODD = "\u202e💩e\u0301\u0001\\'\"%s${x}"
MISSING = "00000000-0000-4000-8000-000000000000"
FIRST, LAST = "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59+00"
RESULT = '[{"lease": 1, "deliveries": [1], "outcome": "failed"%s}]'
RESULTS = (
    "", ', "status": "x"', ', "status": 1e30', ', "retry_after": "NaN"', ', "retry_after": -1e400', ', "retry_after": 1e250',
    ', "closed": "maybe"', ', "reference": {"a": []}, "response": ["\\u202e"]', ', "deliveries": [1, 1]', ', "deliveries": [[1]]',
    ', "deliveries": ["x"]', ', "deliveries": null', ', "deliveries": "[1]"',
    ', "lease": "x"', ', "lease": 9999999999999999999', ', "outcome": null',
    ', "outcome": "lost"',
)  # fmt: skip
HUGE = ("18446744073709551615", "9223372036854775807", "9" * 30, "-1")

VALUES: dict[str, tuple[str | None, ...]] = {
    "text": (
        None, "", " \n", ODD, "x" * 20_000, "infinity", "NaN", MISSING, "order_failed_7", "critical", "open", "all", "exit",
    ),
    "integer": (None, "0", "1", "-1", "3", "90", "2147483647", "-2147483648"),
    "bigint": (None, "0", "1", "-1", "9223372036854775807", "-9223372036854775808"),
    "xid8": (None, "0", "3", "1000000", "18446744073709551615"),
    "boolean": (None, "true", "false"),
    "timestamp with time zone": (None, "now", "infinity", "-infinity", FIRST, LAST, "epoch"),
    "interval": (None, "0", "-1 day", "1 day", "178000000 years", "-178000000 years"),
    "jsonb": (
        None, "{}", "[]", "null", "7", '"x"', "[" * 500 + "]" * 500, f'["{"x" * 20_000}"]',
        '{"order_id": "7", "error": {"a": [1]}}',
    ),
    "text[]": (None, "{}", "{NULL}", "{critical,high}", "{{critical,x},{NULL,info}}", '{"💩"}'),
    "bigint[]": (None, "{}", "{NULL}", "{0,-1,9223372036854775807}"),
    "uuid[]": (None, "{}", "{NULL}", f"{{{MISSING}}}"),
    "pg_snapshot": (None, "1:1:", "10:20:10,14", "1:9223372036854775807:", "1:18446744073709551615:"),
    "regclass": (None, "0", "4294967295", "walltrack.orders", "pg_class", "walltrack.open_alerts", "walltrack.alerts_pkey"),
    "regrole": (None, "0", "4294967295", "pg_monitor"),
}  # fmt: skip
BY_NAME: dict[str, tuple[str | None, ...]] = {
    "p_timezone": (None, "", ODD, "UTC", "Europe/Berlin", "Etc/GMT+99", "infinity", "x" * 20_000),
    "p_status": (None, "", ODD, "open", "active", "acknowledged", "snoozed", "resolved", "all"),
    "p_as": (None, "", ODD, "reader", "operator", "raiser", "relay"),
    "p_notify": (None, "", ODD, "off", "transaction"),
    "p_relay": (None, "", ODD, "relay-1", "x" * 20_000),
    "p_duty": (None, "", ODD, "reconcile", "x" * 20_000),
    "p_user": (None, "", ODD, "12345", "${x}"),
    "p_reference": (None, "", ODD, "message-1"),
    "p_action": (None, "", ODD, "acknowledge", "snooze", "resolve"),
    "p_capacity": (
        None, "null", "7", "[]", "{}", '{"1": 5, "2": 5}', '{"1": null}', '{"1": -1}', '{"x": 1}', '{"1": "x"}', '{"1": 1.5}',
        '{"1": 1e30}', '{"9999999999999999999": 1}', '{"1": [1]}',
    ),
    "p_results": (None, "null", "7", "{}", "[]", "[null]", "[[]]", "[{}]", *(RESULT % more for more in RESULTS)),
    "p_cancel_pattern": (None, "", "(", "a{9999}", "\\", "x" * 20_000),
    "p_columns": (
        None, "{}", "[]", "null", '{"status": "nothing"}', '{"status": null}', '{"💩": "status"}', '{"order_id": ["id"]}',
    ),
}  # fmt: skip


@pytest.fixture
def alerts(bot: Bot) -> dict[str, str]:
    """The ids of an active, a resolved and another alert; ROLE has every kind of access."""
    bot.execute(f"create role {ROLE}")
    for access in ("reader", "operator", "raiser", "relay"):
        bot.execute(f"select walltrack.grant_access('{ROLE}', '{access}')")
    active, resolved = bot.create(), bot.create("entry")
    bot.exhaust(active)
    bot.exhaust(resolved)
    bot.fill(resolved)
    other = bot.call("raise_alert", "feed_silent", "high", "t", "", "{}")
    prepare_deliveries(bot)
    assert other is not None
    return {"active": str(bot.alert(active).id), "resolved": str(bot.alert(resolved).id), "other": str(other.id)}


def prepare_deliveries(bot: Bot) -> None:
    """A webhook, a chat that was sent a message, and deliveries, the first of which relay-1 is sending."""
    bot.execute("select walltrack.add_target('hook', 'webhook', '{\"url\": \"https://hooks.example/\"}', p_since => '-infinity')")
    chat = '{"chat": "1", "token": "${T}", "allow": {"12345": "ada"}}'
    bot.execute("select walltrack.add_target('chat', 'telegram', %s, p_since => '-infinity')", (chat,))
    bot.execute("select walltrack.fan_out_events()")
    bot.execute("select walltrack.claim_deliveries('relay-1', '{\"1\": 1}')")
    bot.execute(
        "insert into walltrack.sent_messages (target_id, reference, alert_id) "
        "select 2, 'message-1', id from walltrack.open_alerts limit 1"
    )


@pytest.fixture(autouse=True)
def _no_role_is_left(bot: Bot) -> Iterator[None]:
    yield
    bot.execute(f"reset role; drop owned by {ROLE}; drop role {ROLE}")


def places(bot: Bot, function: str) -> tuple[str | None, ...]:
    """Valid cursors, and cursors with odd numbers and times in each of their parts."""
    if function in ("read_events", "parse_event_cursor", "check_event_cursor"):
        (cursor,) = bot.execute("select cursor from walltrack.read_events() limit 1").fetchone() or ("",)
        late = "/".join([cursor, *cursor.split("/")[3:5], "1"])
        whole = [cursor, late]
        odd = ["", "x", *HUGE, "1:18446744073709551615:", "1:9223372036854775807:", "5:4:", "1:9999999999:2,3", ODD]
    else:
        whole = [f"{section}/1/2026-01-01T00:00:00.000000Z/{MISSING}" for section in ("open", "resolved")]
        odd = ["", "99999-13-45T99:99:99.000000Z", "9999-99-99T99:99:99.999999Z", "infinity", "-" * 36, ODD]
    mutated = [
        "/".join([*parts[:place], value, *parts[place + 1 :]])
        for parts in (each.split("/") for each in whole)
        for place in range(len(parts))
        for value in odd
    ]
    return (None, "", "now", ODD, *whole, *mutated)


def calls(values: list[tuple[str | None, ...]]) -> Iterator[list[str | None]]:
    """Arguments that cover each pair of values of each two parameters at least once."""
    chance = random.Random(7)
    seen: set[tuple[int, int, int, int]] = set()
    if len(values) < 2:
        yield from ([value] for value in (values[0] if values else ()))
        yield from ([] for _ in range(not values))
        return
    for first, second in itertools.combinations(range(len(values)), 2):
        for one, two in itertools.product(range(len(values[first])), range(len(values[second]))):
            if (first, one, second, two) in seen:
                continue
            chosen = [chance.randrange(len(each)) for each in values]
            chosen[first], chosen[second] = one, two
            seen |= {(a, chosen[a], b, chosen[b]) for a, b in itertools.combinations(range(len(values)), 2)}
            yield [each[number] for each, number in zip(values, chosen, strict=True)]


def raw_errors(bot: Bot, name: str, parameters: list[tuple[str, tuple[str | None, ...], str]]) -> list[str]:
    """The errors of a function that are not from alerting."""
    call = sql.SQL("select * from walltrack.{}({})").format(
        sql.Identifier(name),
        sql.SQL(", ").join(sql.SQL("%s::") + sql.SQL(kind) for _, _, kind in parameters),  # type: ignore[arg-type]
    )
    found = []
    for arguments in calls([values for _, values, _ in parameters]):
        with bot.connection.transaction(force_rollback=True):
            try:
                with bot.connection.transaction():
                    bot.connection.execute(call, arguments)
            except psycopg.Error as error:
                if not (error.sqlstate or "").startswith("WT"):
                    shown = [argument if argument is None else argument[:80] for argument in arguments]
                    found.append(f"{name}({shown}): {error.sqlstate} {str(error).splitlines()[0]}")
    return found


def odd_values(bot: Bot, alerts: dict[str, str], function: str, name: str, kind: str) -> tuple[str | None, ...]:
    if kind == "uuid":
        return (None, MISSING, *alerts.values())
    if kind == "walltrack.alerts":
        return (None, *(row for (row,) in bot.execute("select a::text from walltrack.alerts as a")))
    if name in ("p_after", "p_cursor"):
        return places(bot, function)
    return BY_NAME[name] if name in BY_NAME else VALUES[kind]


@pytest.mark.parametrize("whose", ["granted", "own"])
def test_odd_arguments_raise_only_documented_errors(bot: Bot, alerts: dict[str, str], whose: str) -> None:
    bot.execute("set statement_timeout = '5s'")
    functions = bot.execute(GRANTED if whose == "granted" else OWN).fetchall()
    assert len(functions) > (30 if whose == "granted" else 6)
    odd = {
        name: [(each, odd_values(bot, alerts, name, each, kind), kind) for each, kind in zip(names or [], kinds, strict=True)]
        for name, names, kinds in functions
    }
    if whose == "granted":
        bot.execute(f"set role {ROLE}")
    found = [error for name, parameters in odd.items() for error in raw_errors(bot, name, parameters)]
    assert found == [], "\n".join(found)
