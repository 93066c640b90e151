"""The demo: embedded PostgreSQL, schema, panel, relay and a simulated bot, all in one process until Ctrl-C."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from walltrack_alerts import migrations
from walltrack_alerts.database import Database, open_database
from walltrack_alerts.settings import Settings
from walltrack_alerts.simulator import SimulatedBot

PANEL_ROLE = "walltrack_panel"
RELAY_ROLE = "walltrack_relay"
TARGET = "terminal"


def run_demo(
    print_line: Callable[[str], None],
    *,
    host: str,
    port: int,
    pace: float,
    seed: int,
    duration: float | None,
    open_browser: bool,
) -> None:
    """Run until Ctrl-C, SIGTERM or `duration` seconds. Always on the embedded PostgreSQL, because the bot invents orders."""
    settings = Settings.load().model_copy(update={"database_url": None, "listen_url": None})
    with open_database(settings) as database:
        print_line(f"Database  {database.label}")
        migrations.upgrade(database.dsn)
        print_line("Schema    migrated; the guard is on walltrack.orders")
        from walltrack_alerts.ui import PanelSettings, launch_panel

        # As in production: the panel's role can read alerts and call what operators may call, nothing else.
        dsn = _as_role(database.dsn, PANEL_ROLE, "operator")
        explorer = PanelSettings.load().explorer
        panel = launch_panel(dsn, host=host, port=port, open_browser=open_browser, explorer=explorer, block=False)
        try:
            print_line(f"Panel     {panel.url}, as {PANEL_ROLE} with operator access only")
            print_line(f"Relay     delivers to this terminal, as {RELAY_ROLE} with relay access only")
            print_line(f"Bot       trading at pace {pace:g}, seed {seed}: watch alerts appear, repeat and resolve")
            if missing := missing_fonts():
                print_line(f"Fonts     some token names show as boxes; install {missing}")
            print_line("Try also  `walltrack-alerts alerts list`, `listen` or `targets list`")
            print_line("Ctrl-C stops everything." if duration is None else f"Stops after {duration:g} s.")
            bot = SimulatedBot(database.dsn, pace=pace, seed=seed)
            relay = _as_role(database.dsn, RELAY_ROLE, "relay")
            with _terminal_target(database.dsn):
                asyncio.run(_run(bot, duration, replace(database, dsn=relay, listen_dsn=relay), panel.url, print_line))
        finally:
            panel.close()
        counts = bot.counts
        print_line(
            f"The bot wrote {counts.orders} orders with {counts.attempts} attempts: {counts.filled} filled, "
            f"{counts.cancelled} cancelled, {counts.exhausted} failed permanently."
        )
        print_line(f"Alerts    {_alerts(database.dsn)}")


def missing_fonts() -> str:
    """Debian's packages of the fonts that fontconfig does not find; '' if it finds all, or this system has no fontconfig."""
    program = shutil.which("fc-list")
    if program is None:
        return ""
    wanted = {":charset=1f680": "fonts-noto-color-emoji", ":lang=ja": "fonts-noto-cjk"}
    found = {pattern: subprocess.run([program, pattern], capture_output=True, check=False).stdout for pattern in wanted}
    return " and ".join(package for pattern, package in wanted.items() if not found[pattern].strip())


def _as_role(dsn: str, role: str, access: str) -> str:
    """A connection string for a role with this access only; the role is created when it is missing."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        if connection.execute("select from pg_roles where rolname = %s", (role,)).fetchone() is None:
            connection.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
        connection.execute("select walltrack.grant_access(%s::regrole, %s)", (role, access))
    return make_conninfo(dsn, user=role)


@contextmanager
def _terminal_target(dsn: str) -> Iterator[None]:
    """A target that prints to the terminal of the demo; disabled when the demo has ended, so that doctor misses no relay."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        if connection.execute("select from walltrack.notification_targets where name = %s", (TARGET,)).fetchone() is None:
            connection.execute("select walltrack.add_target(%s, 'terminal', '{}', p_by => 'demo')", (TARGET,))
        else:
            connection.execute("select walltrack.enable_target(%s)", (TARGET,))
    try:
        yield
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("select walltrack.disable_target(%s, 'the demo has ended', 'demo')", (TARGET,))


async def _run(
    bot: SimulatedBot, duration: float | None, database: Database, panel_url: str, print_line: Callable[[str], None]
) -> None:
    """Run bot and relay until Ctrl-C, SIGTERM or `duration` seconds."""
    from walltrack_alerts.relay.log import Log
    from walltrack_alerts.relay.process import run_relay
    from walltrack_alerts.relay.settings import RelaySettings

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    settings = RelaySettings.load(panel_url=panel_url, purge_after="off")
    relay = asyncio.create_task(run_relay(database, settings, Log(write=print_line), stop))
    try:
        await bot.run(stop, duration)
    finally:
        stop.set()
        await relay


def _alerts(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "select count(*) filter (where status <> 'resolved'), count(*) filter (where status = 'resolved') "
            "from walltrack.alerts"
        ).fetchone()
    assert row is not None
    return f"{row[0]} open, {row[1]} resolved by the orders themselves or by you"
