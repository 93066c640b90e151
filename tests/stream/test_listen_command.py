"""`walltrack-alerts listen` as a service or in a pipe: it resumes, and no reader of its output can block it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from rich.cells import cell_len

from tests.support.bot import TOKEN, Bot
from tests.support.commands import COMMAND, run_process
from tests.support.streams import RAISE, ids
from tests.support.terminal import run_in_terminal

pytestmark = pytest.mark.own_server


def wait_for(done: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


class Listening:
    """The command in its own process; `lines` holds its output so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, object]] = []
        self.stderr = ""
        self.threads = [threading.Thread(target=self.read_stderr, daemon=True)]
        self.threads[0].start()

    def read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.stderr += line

    def read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):  # a process that was killed may leave half a line
                self.lines.append(json.loads(line))

    def collect(self) -> None:
        self.threads.append(threading.Thread(target=self.read_lines, daemon=True))
        self.threads[-1].start()

    def ends(self, code: int) -> None:
        assert self.process.wait(30) == code, self.stderr
        for thread in self.threads:
            thread.join(30)
        assert "Traceback" not in self.stderr


@contextmanager
def listening(url: str, *arguments: str, collect: bool = True) -> Iterator[Listening]:
    with subprocess.Popen(
        [*COMMAND, "listen", "--json", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "WALLTRACK_DATABASE_URL": url},
    ) as process:  # fmt: skip
        listener = Listening(process)
        try:
            if collect:
                listener.collect()
            wait_for(lambda: "live" in listener.stderr or process.poll() is not None or not collect)
            yield listener
        finally:
            process.kill()
            process.wait(30)


def test_listen_resumes_before_the_first_event(database_url: str, db: psycopg.Connection, tmp_path: Path) -> None:
    """`now` is stored as a cursor, so that events between two runs are not lost."""
    place = ("--cursor-file", str(tmp_path / "place"))
    db.execute(RAISE, ("high", "before"))
    with listening(database_url, *place) as listener:
        listener.process.send_signal(signal.SIGTERM)
        listener.ends(128 + signal.SIGTERM)
        assert listener.lines == []
    db.execute(RAISE, ("high", "while it was away"))
    with listening(database_url, *place) as listener:
        wait_for(lambda: len(listener.lines) == 1)
        listener.process.send_signal(signal.SIGINT)
        listener.ends(130)


def test_listen_ends_when_its_reader_leaves(database_url: str, db: psycopg.Connection) -> None:
    """Like `| head -1`."""
    db.execute(RAISE, ("high", "a"))
    with listening(database_url, "--after", "beginning", collect=False) as listener:
        assert listener.process.stdout is not None
        assert json.loads(listener.process.stdout.readline())["event_id"] == ids(db)[0]
        listener.process.stdout.close()
        listener.ends(0)


def test_paused_readers_block_no_other_session(database_url: str, db: psycopg.Connection, tmp_path: Path) -> None:
    """Like a pager: with a full pipe, notifications are still received, and SIGTERM ends it; the rest comes later."""
    place = tmp_path / "place"
    arguments = ("--cursor-file", str(place), "--after", "beginning")
    many = (
        "select count(walltrack.raise_alert('test', 'high', repeat('x', 500), '', '{}', true, null)) from generate_series(1, 300)"
    )
    db.execute(many)
    with listening(database_url, *arguments, collect=False) as listener:
        wait_for(lambda: "catching up" in listener.stderr)
        for _ in range(3):
            db.execute(many)
        wait_for(lambda: db.execute("select pg_notification_queue_usage()").fetchone() == (0,))
        listener.process.send_signal(signal.SIGTERM)
        listener.collect()
        listener.ends(128 + signal.SIGTERM)
        seen = [line["event_id"] for line in listener.lines]
        assert 0 < len(seen) < 1200
    with listening(database_url, "--cursor-file", str(place)) as listener:
        wait_for(lambda: len(seen) + len(listener.lines) >= 1200)
        assert seen + [line["event_id"] for line in listener.lines] == ids(db)


def test_listen_survives_sigstop(database_url: str, db: psycopg.Connection) -> None:
    with listening(database_url) as listener:
        listener.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: psutil.Process(listener.process.pid).status() == psutil.STATUS_STOPPED)
        for number in range(200):
            db.execute(RAISE, ("high", str(number)))
        assert listener.lines == []
        listener.process.send_signal(signal.SIGCONT)
        wait_for(lambda: len(listener.lines) == 200)
        assert [line["event_id"] for line in listener.lines] == ids(db)


def test_exec_receives_no_untrusted_arguments_and_ends_with_listen(
    database_url: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    handler = tmp_path / "handler.py"
    handler.write_text(
        "import json, os, pathlib, sys, time\n"
        "facts = {'arguments': sys.argv[1:], 'title': json.load(sys.stdin)['title'], 'pid': os.getpid()}\n"
        f"pathlib.Path({str(tmp_path)!r}, 'facts.new').write_text(json.dumps(facts))\n"
        f"os.rename({str(tmp_path / 'facts.new')!r}, {str(tmp_path / 'facts')!r})\n"
        "time.sleep(1000)\n"
    )
    title = f"$(touch {tmp_path}/harm); `touch {tmp_path}/harm` {{kind}}"
    db.execute("select walltrack.raise_alert('test', 'high', %s, '', '{}', true, null)", (title,))
    command = f"{sys.executable} {handler} {{kind}}/{{severity}}/{{event_id}} {{title}} $HOME ';' 'touch {tmp_path}/harm'"
    with listening(database_url, "--after", "beginning", "--exec", command, collect=False) as listener:
        wait_for((tmp_path / "facts").exists)
        facts = json.loads((tmp_path / "facts").read_text())
        assert facts["title"] == title
        assert facts["arguments"] == [f"raised/high/{ids(db)[0]}", "{title}", "$HOME", ";", f"touch {tmp_path}/harm"]
        listener.process.send_signal(signal.SIGTERM)
        listener.collect()
        listener.ends(128 + signal.SIGTERM)
        assert not psutil.pid_exists(facts["pid"]) and not (tmp_path / "harm").exists()


def test_events_are_filtered_by_kind_and_severity(database_url: str, db: psycopg.Connection) -> None:
    for severity in ("info", "high", "critical"):
        db.execute(RAISE, (severity, severity))
        db.execute("select walltrack.resolve_by_dedupe_key(%s, 'done', 'ada')", (severity,))
    arguments = ("--after", "beginning", "--kind", "raised", "--kind", "acknowledged", "--min-severity", "high")
    with listening(database_url, *arguments) as listener:
        wait_for(lambda: len(listener.lines) == 2)
        assert [(line["kind"], line["detail"]["severity"]) for line in listener.lines] == [
            ("raised", "high"),
            ("raised", "critical"),
        ]  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--kind", "reborn"), 2, "reborn"),
        (("--min-severity", "fatal"), 2, "fatal"),
        (("--cursor-file", "{folder}"), 2, "directory"),
        (("--cursor-file", "{folder}/none/place"), 1, "cannot be written: No such file"),
        (("--cursor-file", "{folder}/binary"), 1, "cannot be read"),
        (("--cursor-file", "{folder}/nonsense"), 1, "invalid cursor: nonsense"),
        (("--after", "c1/1/1/1:1:/1/0/1"), 1, "another database or cluster"),
        (("--after", "beginning", "--exec", "/nowhere/program"), 1, "cannot be run"),
    ],
)
def test_wrong_options_are_reported_at_once(
    database_url: str, db: psycopg.Connection, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    db.execute(RAISE, ("high", "a"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "nonsense").write_text("nonsense\n")
    done = run_process(database_url, "listen", *(part.format(folder=tmp_path) for part in arguments), expect=code)
    assert says in done.stderr and "Traceback" not in done.stderr


@contextmanager
def read_lines(url: str, count: int, **variables: str) -> Iterator[list[str]]:
    """The first lines for people, from the beginning."""
    with subprocess.Popen(
        [*COMMAND, "listen", "--after", "beginning"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "WALLTRACK_DATABASE_URL": url, **variables},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            encoding = variables.get("PYTHONIOENCODING", "utf-8")
            yield [process.stdout.readline().decode(encoding).rstrip("\n") for _ in range(count)]
        finally:
            process.kill()


def test_lines_name_alert_token_and_cause(database_url: str, bot: Bot) -> None:
    order = bot.create("exit", token_symbol="WIF")
    bot.exhaust(order, "slippage " * 30)
    alert = bot.alert(order).id
    bot.retry(order)
    bot.fail(order, "blockhash not found")
    bot.execute("select walltrack.snooze_alert(%s, now() + interval '1 h', 'bob')", (alert,))
    bot.execute("select walltrack.snooze_alert(%s, null, 'bob')", (alert,))
    bot.execute("select walltrack.acknowledge_alert(%s, 'ada')", (alert,))
    bot.fill(order)
    bot.exhaust(bot.create("entry", token_symbol=None, is_simulated=True), "no route")
    bot.execute("select walltrack.raise_alert('watchdog', 'warning', 'The worker is late', 'm', '{}', true, null)")
    with read_lines(database_url, 8) as lines:
        columns = [line.split(maxsplit=4) for line in lines]
    assert [kind for _, _, _, kind, _ in columns] == [
        "raised", "repeated", "snoozed", "snoozed", "acknowledged", "resolved", "raised", "raised",
    ]  # fmt: skip
    assert [severity for _, _, severity, _, _ in columns] == ["CRITICAL"] * 6 + ["HIGH", "WARNING"]
    rest = [words.split(maxsplit=1) for *_, words in columns]
    assert [start for start, _ in rest] == [
        *[str(alert)[:8]] * 6, *(str(other.id)[:8] for other in bot.alerts() if other.id != alert),
    ]  # fmt: skip
    notes = [note for _, note in rest]
    assert notes[0] == "WIF sell " + " ".join(["slippage"] * 30)
    assert notes[1] == "WIF sell blockhash not found (2 times)"
    assert notes[2].startswith("WIF sell by bob, until ")
    assert notes[3:6] == ["WIF sell woken by bob", "WIF sell by ada", "WIF sell Order filled (by system)"]
    assert notes[6:] == [f"{TOKEN} sim buy no route", "The worker is late"]


def test_terminal_lines_fit_the_width(database_url: str, bot: Bot) -> None:
    for symbol in ("WIF", "犬犬犬犬犬犬犬犬", "\u202eKNOB"):
        bot.exhaust(bot.create("exit", token_symbol=symbol), "slippage " * 30)
    script = "import json, sys; sys.exit(json.load(sys.stdin)['event_id'] == 3)"  # ends after the last one
    command = ["--exec", f'{sys.executable} -c "{script}"']
    lines = run_in_terminal(database_url, 80, "listen", "--after", "beginning", *command, expect=1)
    places = [cell_len(line[: line.index(" sell ")]) for line in lines]
    assert len(lines) == 3 and len(set(places)) == 1
    assert [cell_len(line) for line in lines] == [80] * 3 and all(line.endswith("…") for line in lines)
    assert [line.split()[3] for line in lines] == [str(alert.id)[:8] for alert in bot.alerts()]


def test_event_json_has_the_fields_of_the_stream(database_url: str, bot: Bot) -> None:
    bot.exhaust(bot.create("exit"))
    with listening(database_url, "--after", "beginning") as listener:
        wait_for(lambda: listener.lines)
        assert list(listener.lines[0]) == [
            "event_id", "xid", "alert_id", "kind", "actor", "at", "detail", "cursor",
            "alert_type", "title", "requires_action", "dedupe_key", "order_id",
        ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "ISO-8859-1"])
def test_lines_are_written_in_any_encoding(database_url: str, bot: Bot, encoding: str) -> None:
    bot.exhaust(bot.create("exit", token_symbol="犬🚀é"), "… failed")
    with read_lines(database_url, 1, PYTHONIOENCODING=encoding) as lines:
        assert lines[0].endswith(f"????{'?' if encoding == 'ascii' else 'é'} sell ~ failed")


def test_lines_contain_no_control_characters(database_url: str, db: psycopg.Connection) -> None:
    db.execute("select walltrack.raise_alert('test', 'critical', E'a\\x1b[31m\\ntitle', '', '{}', true, null)")
    with subprocess.Popen(
        [*COMMAND, "listen", "--after", "beginning"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "WALLTRACK_DATABASE_URL": database_url},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "CRITICAL" in line and "raised" in line and "title" in line and "\x1b[31m" not in line
        finally:
            process.kill()
