"""A soak test of the event stream, at any size: writers commit out of order, and readers are killed.

12 writers sleep at random between insert and commit, and roll a part back. Three readers follow, each `walltrack-alerts
listen --cursor-file` in a process of its own, killed with SIGKILL or SIGTERM, or stopped for a while, at random times, and
started again. At the end each must have every event, in the order of its alert, and none twice but the one it was killed at.

    python bench/stream_soak.py [--events 50000] [--crashes 3] [--seed 1]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from crash import Server

RAISE = "select walltrack.raise_alert('soak', %s, 'a title', 'a message', '{}', true, %s)"
WRITERS = 12
READERS = 3
PATIENCE = 600
"""Seconds after the last write in which every reader must have everything."""


class Writers:
    """Threads that write until a given number of events is committed."""

    def __init__(self, url: str, events: int, seed: int) -> None:
        self.url, self.events, self.seed = url, events, seed
        self.committed = self.rolled_back = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.write, args=(number,), daemon=True) for number in range(WRITERS)]

    def write(self, number: int) -> None:
        """Commit one to five events per transaction on own and shared alerts; wait while the server is down."""
        chance = random.Random(self.seed * WRITERS + number)
        while self.committed < self.events:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url) as connection:
                while self.committed < self.events:
                    count = chance.randint(1, 5)
                    shared = chance.random() < 0.05  # another writer may be waiting for it: then only one
                    for _ in range(1 if shared else count):
                        key = f"shared {chance.randrange(5)}" if shared else f"{number}.{chance.randrange(20)}"
                        connection.execute(RAISE, (chance.choice(["high", "critical"]), key))
                    time.sleep(chance.random() ** 3 * 0.05)
                    if chance.random() < 0.2:
                        connection.rollback()
                    else:
                        connection.commit()
                    with self.lock:
                        self.committed += 1 if shared else count
            time.sleep(0.05)


@dataclass
class Reader:
    """The command, restarted whenever it ends, and the output it printed."""

    url: str
    folder: Path
    events: list[tuple[int, str]] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    process: subprocess.Popen[str] | None = None
    reading: threading.Thread | None = None

    def start(self) -> None:
        """Start the command from the cursor file."""
        command = [str(Path(sys.executable).with_name("walltrack-alerts")), "listen", "--json", "--cursor-file"]
        place = self.folder / "place"
        self.process = subprocess.Popen(
            [*command, str(place), *(() if place.exists() else ("--after", "beginning"))],
            stdout=subprocess.PIPE, stderr=(self.folder / "stderr").open("a"), text=True,
            env={**os.environ, "WALLTRACK_DATABASE_URL": self.url},
        )  # fmt: skip
        self.reading = threading.Thread(target=self.read, daemon=True)
        self.reading.start()

    def read(self) -> None:
        """Read the output until the process ends."""
        assert self.process
        assert self.process.stdout
        for line in self.process.stdout:
            if line.endswith("\n"):
                event = json.loads(line)
                self.events.append((event["event_id"], event["alert_id"]))

    def disturb(self, chance: random.Random) -> None:
        """Kill the process, or stop it for a while."""
        assert self.process
        assert self.reading
        if self.process.poll() is not None:
            self.ends[f"exit {self.process.returncode}"] += 1
        elif chance.random() < 0.2:
            self.ends["SIGSTOP"] += 1
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(chance.random() * 2)
            self.process.send_signal(signal.SIGCONT)
            return
        else:
            number = chance.choice([signal.SIGKILL, signal.SIGTERM])
            self.ends[number.name] += 1
            self.process.send_signal(number)
            self.process.wait(30)
        self.reading.join(30)
        self.start()

    def judge(self, wanted: list[int]) -> list[str]:
        """Describe what is wrong with the events it received."""
        wrong = []
        numbers = [number for number, _ in self.events]
        again = len(numbers) - len(set(numbers))
        kills = self.ends["SIGKILL"]
        if missing := sorted(set(wanted) - set(numbers)):
            wrong.append(f"{len(missing)} events missing, e.g. {missing[:5]}")
        if invented := sorted(set(numbers) - set(wanted)):
            wrong.append(f"{len(invented)} events that were never committed, e.g. {invented[:5]}")
        if again > kills:  # between printing and storing; SIGTERM never repeats one
            wrong.append(f"{again} events twice after {kills} SIGKILLs")
        of_alert = defaultdict(list)
        for number, alert in self.events:
            of_alert[alert].append(number)
        bad = [a for a, order in of_alert.items() if any(one > other for one, other in itertools.pairwise(order))]
        if bad:
            wrong.append(f"{len(bad)} alerts out of order, e.g. {bad[:3]}")
        return wrong


def soak(server: Server, url: str, folder: Path, options: argparse.Namespace) -> list[str]:
    """Run the soak; return what was wrong."""
    chance = random.Random(options.seed)
    writers = Writers(url, options.events, options.seed)
    readers = [Reader(url, folder / str(number)) for number in range(READERS)]
    for reader in readers:
        reader.folder.mkdir()
        reader.start()
    begin = time.monotonic()
    for thread in writers.threads:
        thread.start()
    crashes = 0
    while any(thread.is_alive() for thread in writers.threads):
        time.sleep(chance.random() * 2)
        chance.choice(readers).disturb(chance)
        if crashes < options.crashes and writers.committed > (crashes + 1) * options.events / (options.crashes + 1):
            server.crash()
            crashes += 1
    took = time.monotonic() - begin
    with psycopg.connect(url) as connection:
        wanted = [row[0] for row in connection.execute("select event_id from walltrack.alert_events order by event_id")]
    print(f"{len(wanted)} events committed in {took:.0f} s by {WRITERS} writers, {crashes} crashes of the server", flush=True)
    wrong = []
    end = time.monotonic() + PATIENCE
    for number, reader in enumerate(readers):
        while len({event for event, _ in reader.events}) < len(wanted) and time.monotonic() < end:
            time.sleep(0.2)
            assert reader.process
            if reader.process.poll() is not None:
                reader.disturb(chance)
        assert reader.process
        assert reader.reading
        reader.process.kill()
        reader.process.wait(30)
        reader.reading.join(30)
        found = reader.judge(wanted)
        ends = ", ".join(f"{count} {name}" for name, count in sorted(reader.ends.items()))
        print(
            f"reader {number}: {len(reader.events)} events, of them {len(set(reader.events))} different; "
            f"{ends}: {'; '.join(found) or 'all is right'}",
            flush=True,
        )
        wrong += found
    return wrong


def main() -> int:
    """Run on a dedicated server; return 1 if an event was missing, duplicated or out of order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--crashes", type=int, default=3, help="of the server, while it is written to")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        server = Server(folder / "pg")
        with server.running() as url:
            return int(bool(soak(server, url, folder, options)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
