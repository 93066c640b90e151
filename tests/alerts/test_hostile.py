"""Hostile texts and broken numbers: the order is written, the alert exists, and everything in it is bounded."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.support.bot import Bot
from tests.support.databases import new_database
from walltrack_alerts import Alert

# Columns as wide as a host may make them, and all of them optional.
WIDE = """
drop trigger orders_log_status on walltrack.orders;
drop index walltrack.orders_token_address_idx, walltrack.orders_order_type_idx, walltrack.orders_next_retry_at_idx;
drop index walltrack.orders_open_idx, walltrack.orders_status_idx;
alter table walltrack.orders
  drop constraint orders_type_is_known, drop constraint orders_side_is_known, drop constraint orders_status_is_known,
  alter column order_type type text, alter column order_type drop not null,
  alter column side type text, alter column side drop not null,
  alter column status type text, alter column status drop not null,
  alter column token_address type text, alter column token_address drop not null,
  alter column token_symbol type text,
  alter column locked_by type text,
  alter column amount_sol type numeric, alter column amount_sol drop not null,
  alter column expected_price drop not null,
  alter column created_at drop not null,
  alter column updated_at drop not null;
select walltrack.watch_orders('walltrack.orders');
"""

TITLE, MESSAGE, ERROR, WORD = 200, 2000, 2000, 200
PAYLOAD_BYTES = 8000

NASTY = [
    *("%", "%s", "%(x)s", "%%", "'", "''", '"', "\\", "\\\\", "\\'", "\\u0000", "\\x00", "$$", "$1", ":x", "{}", "${x}", "\t"),
    *("\n", "\r\n", "\v", "\f", "\x01", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u00a0", "\u200b", "\u202e", "\u2066", "\ufeff"),
    *("\ufffd", "\uffff", "\U0010ffff", "e\u0301", "\U0001f469\u200d\U0001f680", "İ", "ß", "…", "NULL", "null", "NaN"),
    *('{"error": "x"}', '["', "</script>", "<svg/onload=x>", "'; drop table orders; --", "&lt;", "[x](javascript:y)"),
]
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")  # no text of PostgreSQL has these
texts = st.one_of(st.text(characters), st.lists(st.sampled_from(NASTY)).map("".join), st.just(" "), st.just("\n\t"))


def long_texts(length: int) -> st.SearchStrategy[str]:
    """Up to `length` characters that repeat one piece, so that the text can be cut anywhere in it."""
    pieces = st.one_of(st.text(characters, min_size=1, max_size=5), st.sampled_from(NASTY))
    return st.builds(lambda piece, size: (piece * size)[:size], pieces, st.integers(1, length))


errors = st.none() | texts | long_texts(1_000_000)
words = st.none() | texts | long_texts(10_000)
amounts = st.one_of(
    st.none(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("1E+9999"), Decimal("-1E-9999")]),
)
moments = st.sampled_from([None, "infinity", "-infinity", "4713-01-01 BC", "294276-12-31 23:59:59.999999", "1970-01-01"])

ENDED = ("filled", "cancelled")
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "order_type": st.sampled_from(["exit", "entry", "EXIT"]) | words,
    "side": words,
    "token_address": words,
    "token_symbol": words,
    "amount_sol": amounts,
    "expected_price": st.none(),
    "is_simulated": st.none() | st.booleans(),
    "created_at": moments,
    "updated_at": moments,
    "filled_at": moments,
    "next_retry_at": moments,
    "locked_until": moments,
    "locked_by": words,
    "status": st.sampled_from(["failed", "pending", "FAILED"]) | words.filter(lambda s: (s or "").lower() not in ENDED),
    "max_attempts": st.integers(-(2**31), 2**31 - 2),
}


@pytest.fixture(scope="module")
def wide(server_url: str, template: str) -> Iterator[Bot]:
    """A bot that receives the notifications of its own writes."""
    with new_database(server_url, template) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(WIDE)
        connection.execute("listen walltrack_alerts")
        yield Bot(connection)


def clean(bot: Bot) -> None:
    """Delete everything that the previous example left, unread notifications included."""
    bot.execute(
        "truncate walltrack.orders, walltrack.alerts, walltrack.alert_events, walltrack.order_actions, walltrack.alert_faults"
    )
    for _ in bot.connection.notifies(timeout=0):
        pass


def heard(bot: Bot) -> str:
    """The payload of the last write, which notifies exactly once."""
    (notification,) = bot.connection.notifies(timeout=10, stop_after=1)
    return notification.payload


def insert(bot: Bot, columns: dict[str, Any]) -> uuid.UUID:
    """INSERT of an order of exactly these columns."""
    row = bot.connection.execute(
        sql.SQL("insert into walltrack.orders ({}) values ({}) returning id").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join(map(sql.Placeholder, columns))
        ),
        columns,
    ).fetchone()
    assert row is not None
    return row[0]


def assert_cut(text: str | None, whole: str | None, length: int) -> None:
    """The whole text, or its beginning with an ellipsis."""
    if whole is None or len(whole) <= length:
        assert text == whole
    else:
        assert text is not None and len(text) <= length
        assert text.endswith("…") and whole.startswith(text.removesuffix("…"))


def assert_bounded(alert: Alert, payload: str, order: dict[str, Any]) -> None:
    assert 0 < len(alert.title) <= TITLE and alert.title.strip()
    assert 0 < len(alert.message) <= MESSAGE
    assert_cut(alert.data["token"], order["token_address"], WORD)
    assert_cut(alert.data["token_symbol"], order["token_symbol"], WORD)
    error = order["last_error"]
    if error is not None and error.strip(" \t\n\r\f\v"):
        assert_cut(alert.data["error"], error, ERROR)
        if len(error) > MESSAGE:
            assert "…" in alert.message
    assert len(json.dumps(alert.data)) < 50_000
    assert len(payload.encode()) < PAYLOAD_BYTES
    content = json.loads(payload)
    assert (content["v"], content["alert_id"], content["order_id"]) == (1, str(alert.id), alert.data["order_id"])
    assert (content["status"], content["severity"]) == (alert.status, alert.severity)
    assert_cut(content["title"], alert.title, TITLE)


def assert_sound(bot: Bot) -> None:
    """Check that there was no fault and that everything stored is bounded, by the database's own measure."""
    assert bot.faults() == []
    sizes = bot.execute(
        "select max(octet_length(a.data::text)), max(octet_length(a.title)), max(octet_length(a.message)), "
        "(select max(octet_length(e.detail::text)) from walltrack.alert_events as e) from walltrack.alerts as a"
    ).fetchone()
    assert sizes is not None and all(size < 50_000 for size in sizes)


@settings(deadline=None)
@given(order=st.fixed_dictionaries(COLUMNS), first=errors, second=errors)
@example(order=dict.fromkeys(COLUMNS) | {"max_attempts": 1}, first=None, second="")
@example(order=dict.fromkeys(COLUMNS) | {"max_attempts": 1, "amount_sol": Decimal("1E+9999")}, first="%", second="\\")
def test_a_hostile_order_raises_a_bounded_alert(wide: Bot, order: dict[str, Any], first: str | None, second: str | None) -> None:
    """The order is inserted, fails again and ends: its alert follows, whatever the other columns contain."""
    clean(wide)
    attempts = max(order["max_attempts"], 1)
    key = insert(wide, order | {"attempt_count": attempts, "last_error": first})
    alert, payload = wide.alert(key), heard(wide)
    assert alert.is_open and alert.data["attempts"] == attempts
    assert_bounded(alert, payload, order | {"last_error": first})

    wide.update(key, last_error=second, attempt_count=attempts + (attempts < 2**31 - 1), status="failed")
    if attempts < 2**31 - 1 or (order["status"] or "").lower() != "failed":
        assert_bounded(wide.alert(key), heard(wide), order | {"last_error": second})
        assert wide.alert(key).occurrences == 2
    stored = wide.execute("select last_error, token_symbol from walltrack.orders").fetchone()
    assert stored == (second, order["token_symbol"])

    wide.fill(key)
    assert json.loads(heard(wide))["kind"] == "resolved"
    assert wide.alert(key).resolution == "Order filled"
    assert_sound(wide)


def test_every_block_of_unicode_is_accepted(wide: Bot) -> None:
    """Each text has 256 code points; only NUL and the surrogates are left out."""
    clean(wide)
    blocks = [
        "".join(chr(point) for point in range(first, first + 256) if point and not 0xD800 <= point < 0xE000)
        for first in range(0, 0x110000, 256)
    ]
    blocks = [block for block in blocks if block]
    wide.execute("unlisten walltrack_alerts")
    wide.execute(
        "insert into walltrack.orders (order_type, token_symbol, token_address, side, status, attempt_count, last_error) "
        "select 'exit', text, text, text, text, 3, text from unnest(%s::text[]) as text",
        (blocks,),
    )
    wide.execute("listen walltrack_alerts")
    assert wide.faults() == []
    wide.execute("analyze walltrack.orders, walltrack.alerts, walltrack.alert_events")  # or joins would compare each pair
    rows = wide.execute(
        "select o.last_error, a.data ->> 'error', a.data ->> 'token_symbol', a.message from walltrack.orders as o "
        "join walltrack.alerts as a on a.data ->> 'order_id' = o.id::text"
    ).fetchall()
    assert {row[0] for row in rows} == set(blocks)
    for whole, error, symbol, message in rows:
        assert error == whole
        assert_cut(symbol, whole, WORD)
        assert len(message) <= MESSAGE


@pytest.mark.parametrize("digits", [20, 400, 4000, 100_000])
def test_an_amount_may_have_many_digits(wide: Bot, digits: int) -> None:
    """The host's column allows such an amount, so every reader of the alert must cope with it."""
    clean(wide)
    key = wide.create("exit", status="failed", attempt_count=3, amount_sol=Decimal(f"1E+{digits}"))
    heard(wide)
    assert wide.alert(key).is_open
    assert_sound(wide)


@pytest.mark.parametrize("size", [10, 3000, 100_000])
def test_an_id_may_have_any_length(wide: Bot, server_url: str, template: str, size: int) -> None:
    """A text id may be too long for a B-tree key: the alert exists all the same."""
    with new_database(server_url, template) as url, psycopg.connect(url, autocommit=True) as connection:
        bot = Bot(connection)
        connection.execute("drop trigger orders_log_status on walltrack.orders")
        connection.execute(
            "alter table walltrack.orders drop constraint orders_pkey, alter column id drop default, alter column id type text"
        )
        connection.execute("select walltrack.watch_orders('walltrack.orders')")
        order = "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(size))  # does not compress
        bot.create("exit", id=order, status="failed", attempt_count=3)
        assert bot.faults() == []
        (alert,) = bot.alerts()
        assert alert.is_open
        bot.execute("update walltrack.orders set status = 'filled'")
        (alert,) = bot.alerts()
        assert alert.resolution == "Order filled"


@settings(deadline=None)
@given(
    arguments=st.tuples(
        texts.filter(str.strip), st.just("high"), texts.filter(str.strip) | long_texts(10_000).filter(str.strip), errors
    ),
    data=st.dictionaries(texts, st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | texts),
    dedupe_key=st.none() | texts | long_texts(500),
)
def test_a_hostile_alert_can_be_raised_by_hand(
    wide: Bot, arguments: tuple[str, str, str, str | None], data: dict[str, Any], dedupe_key: str | None
) -> None:
    clean(wide)
    try:
        alert = wide.call("raise_alert", *arguments, json.dumps(data), False, dedupe_key)
    except psycopg.Error as error:
        assert error.sqlstate == "WT003"  # the database treats it as blank and says so
        return
    assert alert is not None
    assert 0 < len(alert.title) <= TITLE and len(alert.message) <= 10_000
    payload = heard(wide)
    assert json.loads(payload)["alert_id"] == str(alert.id) and len(payload.encode()) < PAYLOAD_BYTES
    assert_sound(wide)


def test_the_last_error_of_a_megabyte_stays_whole(wide: Bot) -> None:
    clean(wide)
    error = "slippage \N{SNOWMAN} " * 100_000
    key = wide.create("exit", status="failed", attempt_count=3, last_error=error)
    heard(wide)
    assert wide.execute("select last_error = %s from walltrack.orders", (error,)).fetchone() == (True,)
    assert_cut(wide.alert(key).data["error"], error, ERROR)


def test_identifiers_may_need_quotes(server_url: str, template: str) -> None:
    """The table and its columns have hostile names."""
    with new_database(server_url, template) as url, psycopg.connect(url, autocommit=True) as connection:
        name = sql.Identifier("walltrack", "Orders %s \"of\" 'Ada' $1 \\ \N{SNOWMAN}")
        column = 'try %s "no" \' @status \\'
        connection.execute(sql.SQL("create table {} (like walltrack.orders including all)").format(name))
        connection.execute(sql.SQL("alter table {} rename column attempt_count to {}").format(name, sql.Identifier(column)))
        connection.execute(
            "select walltrack.watch_orders(%s, %s::jsonb)", (name.as_string(), json.dumps({"attempt_count": column}))
        )
        connection.execute(
            sql.SQL(
                "insert into {} (order_type, side, token_address, amount_sol, expected_price, status, {}) "
                "values ('exit', 'sell', 'x', 1, 1, 'failed', 3)"
            ).format(name, sql.Identifier(column))
        )
        bot = Bot(connection)
        assert bot.faults() == []
        (alert,) = bot.alerts()
        assert alert.data["attempts"] == 3
        connection.execute(sql.SQL("update {} set status = 'filled'").format(name))
        assert bot.alerts()[0].resolution == "Order filled"
