"""What the command loads, and how it writes: any encoding, a full disk, a closed stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.bot import Bot
from tests.support.commands import COMMAND, run
from tests.support.terminal import run_in_terminal

pytestmark = pytest.mark.own_server

SYMBOL = "犬🚀é\u202e"

HELP = """
import sys
from typer.main import get_command
from walltrack_alerts.cli import app

def paths(command, path):
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))

asked = [()] if sys.argv[1:] else list(paths(get_command(app), ()))
for path in asked:
    try:
        app([*path, "--help"])
    except SystemExit as ended:
        assert ended.code == 0
loaded = {name.partition(".")[0] for name in sys.modules}
slow = {"alembic", "argon2", "asyncio", "gradio", "httpx", "psycopg", "pydantic", "pydantic_settings", "sqlalchemy"}
print(len(asked), *sorted(slow & loaded), file=sys.stderr)
"""


@cache
def helps(*arguments: str) -> tuple[list[str], list[str]]:
    """The texts of all helps (of the first one with an argument), and which slow packages are loaded then."""
    done = subprocess.run([sys.executable, "-c", HELP, *arguments], check=True, capture_output=True, text=True, timeout=60)
    texts = done.stdout.split(" Usage: ")[1:]
    count, *loaded = done.stderr.split()
    assert len(texts) == int(count)
    return texts, loaded


def test_help_loads_no_drivers_and_no_models() -> None:
    assert helps("the first one")[1] == []
    assert set(helps()[1]) <= {"pydantic"}  # Typer's own, for the options of some commands


def test_every_command_has_examples() -> None:
    texts, _ = helps()
    assert len(texts) >= 20
    assert [text.splitlines()[0] for text in texts if "$ walltrack-alerts " not in text] == []


def test_help_prints_brackets_literally() -> None:
    texts, _ = helps()
    words = [" ".join(text.replace("│", " ").split()) for text in texts]
    for default in ("Default: the cursor in the cursor file, else now.", "[default: (your login name)]", "[default: open]"):
        assert any(default in text for text in words)
    assert not any("<list" in text.replace("<list[int]>", "") for text in words)  # fills half of a terminal


def run_encoded(url: str, encoding: str, *arguments: str, expect: int = 0) -> tuple[str, str]:
    """Standard output and standard error, where both have this encoding."""
    done = run(url, *arguments, expect=expect, encoding=encoding)
    return done.stdout_bytes.decode(encoding), done.stderr_bytes.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "ISO-8859-1", "cp1252"])
def test_every_encoding_of_output_works(database_url: str, bot: Bot, encoding: str) -> None:
    order = bot.create("exit", token_symbol=SYMBOL)
    bot.exhaust(order, f"{SYMBOL} … failed")
    alert = str(bot.alert(order).id)
    listed, _ = run_encoded(database_url, encoding, "alerts", "list")
    accent = "?" if encoding == "ascii" else "é"
    assert listed.splitlines()[1].split("\t")[3] == f"????{accent}?"
    assert "????" in run_encoded(database_url, encoding, "alerts", "show", alert)[0]
    for arguments in (("alerts", "list"), ("alerts", "show", alert), ("doctor",)):
        lines = run_in_terminal(database_url, 80, *arguments, PYTHONIOENCODING=encoding)
        assert lines and max(map(len, lines)) <= 80
    assert "????" in run_encoded(database_url, encoding, "alerts", "snooze", alert, "--for", "1 h", "--by", SYMBOL)[0]
    assert bot.alert(order).is_snoozed
    stderr = run_encoded(database_url, encoding, "alerts", "resolve", alert, "-m", " ", "--by", SYMBOL, expect=1)[1]
    assert "Error: " in stderr
    wrong = run_encoded(database_url, encoding, "alerts", "snooze", alert, "--for", SYMBOL, expect=2)[1]
    assert "is not an interval" in wrong


@pytest.mark.parametrize("encoding", ["ascii", "ISO-8859-1"])
def test_json_is_complete_in_any_encoding(database_url: str, bot: Bot, encoding: str) -> None:
    bot.exhaust(bot.create("exit", token_symbol=SYMBOL))
    listed, _ = run_encoded(database_url, encoding, "alerts", "list", "--json")
    assert json.loads(listed)["data"]["token_symbol"] == SYMBOL
    alert = str(bot.alerts()[0].id)
    assert json.loads(run_encoded(database_url, encoding, "alerts", "show", alert, "--json")[0])["data"]["token_symbol"] == SYMBOL


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is simulated by /dev/full, which only Linux has")
def test_unwritable_output_is_an_error(database_url: str, bot: Bot) -> None:
    bot.exhaust(bot.create("exit"))
    for arguments in (("alerts", "list"), ("alerts", "list", "--json"), ("doctor",), ("--help",)):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [*COMMAND, *arguments], check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                env={**os.environ, "WALLTRACK_DATABASE_URL": database_url},
            )  # fmt: skip
        assert done.returncode == 1 and "Error: the output cannot be written: No space left" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_closed_streams_are_no_error(database_url: str, bot: Bot) -> None:
    order = bot.create("exit")
    bot.exhaust(order)
    script = f"exec {COMMAND[0]} alerts ack {bot.alert(order).id} >&- 2>&-"
    done = subprocess.run(
        ["sh", "-c", script], check=False, timeout=60, env={**os.environ, "WALLTRACK_DATABASE_URL": database_url}
    )
    assert done.returncode == 0 and bot.alert(order).status == "acknowledged"


def test_show_fits_terminals_and_is_complete_in_pipes(database_url: str, bot: Bot) -> None:
    error = "slippage tolerance exceeded " * 10
    bot.exhaust(bot.create("exit"), error)
    data = json.dumps({"\x1b[31mkey": {"deep": [1, True]}, "ok": True, "none": None})
    bot.execute("select walltrack.raise_alert('t', 'info', 'other', 'm', %s, false, null)", (data,))
    order, other = (str(alert.id) for alert in bot.alerts())
    lines = run_in_terminal(database_url, 80, "alerts", "show", order)
    assert max(map(len, lines)) <= 80 and any("token_symbol  BONK" in line for line in lines)
    piped, _ = run_encoded(database_url, "utf-8", "alerts", "show", order)
    assert f"           error  {error.strip()}" in [line.rstrip() for line in piped.splitlines()]
    shown, _ = run_encoded(database_url, "utf-8", "alerts", "show", other)
    assert "\x1b" not in shown and '[31mkey  {"deep": [1, true]}' in shown and "ok  yes" in shown and "none" not in shown
