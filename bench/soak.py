"""Injects crashes and faults under load for a given time, and counts what was lost or duplicated.

Eight writers fail, fill, cancel and delete orders on a dedicated server with fsync on. In random order, the server and
all its backends are killed, an operator holds alerts in an open transaction, the triggers are disabled, writers'
connections are terminated. Once a minute the writers pause, the reconciler runs, and every order is compared with its alerts.

    python bench/soak.py --minutes N [--seed S]
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
from crash import Load, Server, verify
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

ROUND = 60
"""Seconds between two comparisons."""

HOLD = """
select walltrack.acknowledge_alert(held.id, 'operator') from (
  select id from walltrack.alerts where status = 'active' order by created_at desc limit 20 for update skip locked
) as held
"""
TERMINATE = """
select pg_terminate_backend(pid) from (
  select pid from pg_stat_activity where application_name = 'walltrack_writer' order by random() limit 2
) as victim
"""
CLEAR = (
    "set session_replication_role = replica",
    "truncate walltrack.orders, walltrack.order_status_log",
    "truncate walltrack.alerts, walltrack.alert_events, walltrack.order_actions, walltrack.alert_faults",
)


class Chaos:
    """The faults that are injected, one at a time, while the writers write."""

    def __init__(self, server: Server, url: str, load: Load, chance: random.Random) -> None:
        self.server = server
        self.url = url
        self.load = load
        self.chance = chance
        self.done: Counter[str] = Counter()

    def one_more(self) -> None:
        """Let the writers write, then do the next thing."""
        self.load.wait_for_writes(self.chance.randint(100, 800), timeout=10)
        name, work = self.chance.choice(
            [("crash", self.server.crash), ("hold", self.hold), ("blind", self.blind), ("terminate", self.terminate)]
        )
        work()
        self.done[name] += 1

    def hold(self) -> None:
        """Acknowledge the newest alerts as an operator and leave the transaction open for a while."""
        with psycopg.connect(self.url) as operator:
            operator.execute(HOLD)
            self.load.wait_for_writes(100, timeout=2)
            if self.chance.random() < 0.5:
                operator.rollback()

    def blind(self) -> None:
        """Disable the triggers; the reconciler then heals what they missed."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            self.load.blind += 1
            admin.execute("alter table walltrack.orders disable trigger user")
            self.load.wait_for_writes(100, timeout=2)
            admin.execute("alter table walltrack.orders enable trigger user")
            self.load.blind += 1
            admin.execute("select walltrack.reconcile_orders()")

    def terminate(self) -> None:
        """Terminate the connections of two writers."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(TERMINATE)


class Soak:
    """Rounds of load and chaos, and their sums."""

    def __init__(self, server: Server, url: str, seed: int) -> None:
        self.server = server
        self.url = url
        self.seed = seed
        self.rounds = 0
        self.sums: Counter[str] = Counter()
        self.examples: list[str] = []

    def round(self, until: float) -> str:
        """Load and chaos until this time of the monotonic clock, then the comparison; one line of figures."""
        chance = random.Random(f"{self.seed}/{self.rounds}")
        load = Load(self.url, self.seed + self.rounds, faults=True)
        chaos = Chaos(self.server, self.url, load, chance)
        with load.running():
            while time.monotonic() < until and not load.errors:
                chaos.one_more()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("select walltrack.reconcile_orders()")
        verdict = verify(self.url, load)
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in CLEAR:
                connection.execute(statement.encode())
        crashes = chaos.done.pop("crash", 0)
        figures = {
            "orders": verdict.orders, "writes": load.written, "alerts": verdict.alerts, "crashes": crashes,
            "faults": chaos.done.total(), "lost": len(verdict.lost), "doubled": len(verdict.doubled),
        }  # fmt: skip
        self.rounds += 1
        self.sums.update(figures)
        self.examples += (verdict.lost + verdict.doubled)[: 10 - len(self.examples)]
        return line(figures)


def line(figures: dict[str, int] | Counter[str]) -> str:
    """Describe the figures in words."""
    return (
        f"{figures['orders']} orders in {figures['writes']} writes, {figures['alerts']} alerts raised, "
        f"{figures['crashes']} crashes, {figures['faults']} faults injected, lost {figures['lost']}, doubled {figures['doubled']}"
    )


@contextlib.contextmanager
def new_server() -> Iterator[Server]:
    """A server in a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="wt-"))
    folder.chmod(0o755)  # as root, another user runs the server
    try:
        yield Server(folder / "pg")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run the soak; return 1 if anything was lost or duplicated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="of the writers' orders and of what is done to them")
    arguments = parser.parse_args()
    console = Console()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    begin = time.monotonic()
    end = begin + arguments.minutes * 60
    with new_server() as server, server.running() as url, bar:
        soak = Soak(server, url, arguments.seed)
        task = bar.add_task("crashes and faults", total=end - begin)
        while (now := time.monotonic()) < end:
            figures = soak.round(min(end, now + ROUND))
            bar.update(task, completed=time.monotonic() - begin)
            console.print(f"{(time.monotonic() - begin) / 60:5.1f} min: {figures}", highlight=False, soft_wrap=True)
    for example in soak.examples:
        console.print(example, highlight=False, markup=False, soft_wrap=True)
    console.print(f"in all: {line(soak.sums)}", highlight=False, soft_wrap=True)
    return int(soak.sums["lost"] + soak.sums["doubled"] > 0)


if __name__ == "__main__":
    sys.exit(main())
