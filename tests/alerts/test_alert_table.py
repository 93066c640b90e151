"""`alerts list`: a table that fits the terminal, and whole lines for a pipe."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.support.bot import TOKEN, Bot
from tests.support.commands import run
from tests.support.terminal import run_in_terminal
from walltrack_alerts.cli.alert_table import alert_table, tabbed_lines

pytestmark = pytest.mark.own_server

ERROR = "slippage tolerance exceeded: 0x1771 at instruction 3, " * 20

HOSTILE = [
    "BONK\x1b[31m",
    "BO\nNK\tX",
    "\u202eKNOB\u202c",
    "BO\u200bNK\u2066",
    "犬犬犬犬コイン",
    "🚀🚀🚀🚀🚀🚀🚀",
    "👨\u200d👩\u200d👧",
    "👍🏽❤\ufe0f",
    "🇺🇸🇩🇪",
    "Z" + "\u0301\u0302\u0303\u0304" * 4,
    "\u1112\u1161\u11ab\u3164\u115f",
    "critical  sim",
    " ",
]


def shown(bot: Bot, width: int) -> list[str]:
    """The lines of the table of all alerts."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(alert_table(bot.alerts(), width))
    return capture.get().splitlines()


def cells_before(line: str, word: str) -> int:
    """The column of a terminal in which the word begins."""
    return cell_len(line[: line.index(word)])


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_a_row_has_what_an_operator_needs(database_url: str, bot: Bot, columns: int) -> None:
    sold = bot.create("exit", amount_sol="12.25")
    bot.exhaust(sold, ERROR)
    bought = bot.create("entry", token_symbol=None, amount_sol="1234.56789", is_simulated=True)
    bot.exhaust(bought, ERROR)
    heading, *rows = run_in_terminal(database_url, columns, "alerts", "list")
    names = ["id", "severity", "status", "token", "side", "error", *(["times"] if columns >= 100 else []), "SOL", "age"]
    assert heading.split() == names
    assert [cell_len(line) <= columns for line in (heading, *rows)] == [True] * 3
    for row, order, words in (
        (rows[0], sold, ["critical", "active", "BONK", "sell", "slippage tolerance", "12.25"]),
        (rows[1], bought, ["high", "active", f"{TOKEN[:4]}…{TOKEN[-4:]}", "sim buy", "slippage tolerance", "1234.57"]),
    ):
        assert row.startswith(str(bot.alert(order).id)[:8])
        places = [cells_before(row, word) for word in words]
        assert places == sorted(places)
        assert row.endswith(("s", "m"))


def test_the_status_shows_acknowledged_and_snoozed(bot: Bot) -> None:
    orders = [bot.create("exit") for _ in range(5)]
    for order in orders:
        bot.exhaust(order)
    for number in (1, 3):
        bot.execute("select walltrack.acknowledge_alert(%s, 'ada')", (bot.alert(orders[number]).id,))
    for number in (2, 3):
        bot.execute("select walltrack.snooze_alert(%s, now() + interval '1 h', 'ada')", (bot.alert(orders[number]).id,))
    bot.fill(orders[4])
    marks = {line[:8]: line[18 : line.index("BONK")].strip() for line in shown(bot, 80)[1:]}
    short = ["active", "ack", "snoozed", "ack snoozed", "resolved"]
    assert [marks[str(bot.alert(order).id)[:8]] for order in orders] == short
    whole = {line.split("\t")[0]: line.split("\t")[2] for line in tabbed_lines(bot.alerts())}
    words = ["active", "acknowledged", "snoozed", "acknowledged,snoozed", "resolved"]
    assert [whole[str(bot.alert(order).id)] for order in orders] == words


def test_other_alerts_show_their_title(bot: Bot) -> None:
    title = "The retry worker has not written for five minutes"
    bot.execute("select walltrack.raise_alert('watchdog', 'warning', %s, 'm', '{}', true, null)", (title,))
    assert shown(bot, 100)[0].split() == ["id", "severity", "status", "title", "times", "SOL", "age"]
    bot.exhaust(bot.create("exit"))
    heading, other, order = shown(bot, 140)
    assert cells_before(other, title) == cells_before(heading, "token") == cells_before(order, "BONK")
    assert list(tabbed_lines(bot.alerts()))[1].split("\t")[3:7] == ["-", "-", title, "-"]


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_hostile_symbols_keep_the_columns(bot: Bot, columns: int) -> None:
    for symbol in HOSTILE:
        bot.exhaust(bot.create("exit", token_symbol=symbol), f"oops {symbol * 30}")
    heading, *rows = shown(bot, columns)
    assert len(rows) == len(HOSTILE)
    for row in rows:
        assert row.isprintable()
        assert cells_before(row, " sell ") + 1 == cells_before(heading, "side")
        assert cells_before(row, " oops") + 1 == cells_before(heading, "error")
        assert cell_len(row) == cell_len(heading) <= columns


def test_an_order_without_a_side_shows_its_type(bot: Bot) -> None:
    bot.execute(
        "create table public.trades (id int, order_type text, status text, attempt_count int, max_attempts int, last_error text)"
    )
    bot.execute("select walltrack.watch_orders('public.trades')")
    bot.execute("insert into public.trades values (1, 'exit_trailing_stop', 'failed', 3, 3, 'slippage')")
    heading, row = shown(bot, 80)
    assert row[heading.index("side") : heading.index("error")].strip() == "exit"


def test_a_token_cannot_pose_as_simulated(bot: Bot) -> None:
    bot.exhaust(bot.create("exit", token_symbol="sim"))
    heading, row = shown(bot, 80)
    assert row[cells_before(heading, "side") :].startswith("sell")
    assert next(line for line in tabbed_lines(bot.alerts()) if "\tsim\t" in line).split("\t")[4] == "sell"


def test_a_pipe_gets_whole_lines(database_url: str, bot: Bot) -> None:
    for symbol in (*HOSTILE, None):
        bot.exhaust(bot.create("exit", token_symbol=symbol, amount_sol="0.00000001"), ERROR + str(symbol))
    heading, *rows = run(database_url, "alerts", "list").stdout.splitlines()
    assert heading.split("\t") == ["id", "severity", "status", "token", "side", "error", "SOL", "age"]
    assert {row.split("\t")[0] for row in rows} == {str(alert.id) for alert in bot.alerts()}
    for row in rows:
        _id, severity, status, token, side, error, amount, _age = row.split("\t")
        assert (severity, status, side, amount) == ("critical", "active", "sell", "1e-08")
        assert error.startswith(" ".join(ERROR.split())) and "…" not in row and token
    assert sum(TOKEN in row for row in rows) >= 1


def test_more_alerts_than_a_page_are_listed(database_url: str, bot: Bot) -> None:
    bot.execute("select walltrack.raise_alert('t', 'info', 'x', 'y') from generate_series(1, 1100)")
    assert len(run(database_url, "alerts", "list", "--limit", "99999999999").stdout.splitlines()) == 1101
    assert len(run(database_url, "alerts", "list", "--limit", "1050", "--json").stdout.splitlines()) == 1050
