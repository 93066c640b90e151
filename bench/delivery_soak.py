"""A soak test of deliveries: a receiver that answers at random, relays that are killed, a server that crashes.

Writers fail, fill and cancel orders. The receiver answers 200, 500, 429, a redirect or nothing at all, cuts, hangs, trickles
and sends huge bodies; one alert in 128 it never takes. Relays are killed with SIGKILL at random and started again. At the end
each event has arrived or is a dead letter, the dead letters are exactly those of the alerts that the receiver never takes, the
events of each alert arrived in their order, and an event arrived twice only if a relay or the server was killed in between.

Time runs faster: what waits for its next attempt is made due, and the leases of killed relays are ended.

    python bench/delivery_soak.py [--events 10000] [--relays 3] [--crashes 0] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from crash import ACTIONS, Server

WRITERS = 4
LIFE = 6.0  # seconds that a relay has at least, so that it gets to send
NEARBY = 5.0  # seconds between an arrival and a kill that may have caused a repeat
STORM = 15.0  # seconds for which the receiver goes on to misbehave when all is written
PATIENCE = 600
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ANSWERS: dict[str, tuple[float, bytes]] = {
    "ok": (0.86, OK),
    "500": (0.05, b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops"),
    "429": (0.03, b"HTTP/1.1 429 Slow\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"),
    "redirect": (0.02, b"HTTP/1.1 307 There\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"),
    "cut": (0.02, b"HTTP/1.1 200 OK\r\ncontent-le"),
    "huge": (0.01, b"HTTP/1.1 500 Oops\r\ncontent-length: 100000000\r\n\r\n" + b"x" * 1_000_000),
    "trickle": (0.005, b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"),
    "hang": (0.005, b""),
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: the event, its alert, when it arrived, and what it was answered."""

    event_id: int
    alert_id: str
    at: float
    answer: str
    path: str


def is_doomed(alert_id: str) -> bool:
    """Whether the receiver never takes the events of an alert."""
    return int(alert_id[:2], 16) < 2


@dataclass
class Receiver:
    """An HTTP server in a thread."""

    chance: random.Random
    is_calm: bool = False
    arrivals: list[Arrival] = field(default_factory=list)
    port: int = 0

    def start(self) -> None:
        """Serve until the process ends."""
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True).start()
        ready.wait()

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = int(head.lower().partition("content-length:")[2].split("\r\n")[0])
                data = json.loads(await reader.readexactly(length))["data"]
                if not await self._answer(writer, head.split(" ")[1], data):
                    break
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, path: str, data: dict[str, Any]) -> bool:
        """Answer one request; whether the connection stays open."""
        alert_id = data["alert"]["id"]
        answer = self._choose(alert_id)
        self.arrivals.append(Arrival(data["event_id"], alert_id, time.monotonic(), answer, path))
        await asyncio.sleep(self.chance.random() ** 4 * 0.2)
        writer.write(ANSWERS[answer][1])
        await writer.drain()
        while answer in {"trickle", "hang"} and not writer.is_closing():
            await asyncio.sleep(0.5)
            writer.write(b"." if answer == "trickle" else b"")
            await writer.drain()
        return answer in {"ok", "500", "429", "redirect"}

    def _choose(self, alert_id: str) -> str:
        if is_doomed(alert_id):
            return self.chance.choice(["500", "500", "cut", "redirect"])
        if self.is_calm:
            return "ok"
        return self.chance.choices(list(ANSWERS), [share for share, _ in ANSWERS.values()])[0]


@dataclass
class Writers:
    """Threads that write orders until there are enough events."""

    url: str
    events: int
    seed: int
    errors: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.written = 0
        self.threads = [threading.Thread(target=self._write, args=(number,), daemon=True) for number in range(WRITERS)]

    def _write(self, number: int) -> None:
        chance = random.Random(self.seed * WRITERS + number)
        while self.written < self.events:
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    while self.written < self.events:
                        self._one_order(connection, chance)
            except psycopg.OperationalError as error:
                if error.sqlstate and error.sqlstate[:2] not in {"57", "08"}:
                    self.errors.append(str(error))
                time.sleep(0.1)
            except psycopg.Error as error:
                self.errors.append(str(error))

    def _one_order(self, connection: psycopg.Connection, chance: random.Random) -> None:
        order = {"order": uuid.uuid4()}
        steps = [
            "create_failed",
            *chance.choices(["fail", "lock"], k=chance.randrange(3)),
            chance.choice(["fill", "lock", "cancel"]),
        ]
        for step in steps:
            begin = time.monotonic()
            connection.execute(ACTIONS[step], order)
            self.seconds.append(time.monotonic() - begin)
            self.written += step != "lock"
        time.sleep(chance.random() * 0.02)


@dataclass
class Relays:
    """Relay processes, killed at random."""

    url: str
    folder: Path
    killed_at: list[float] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    begun_at: dict[int, float] = field(default_factory=dict)

    def start(self) -> None:
        """Start one more."""
        command = [str(Path(sys.executable).with_name("walltrack-alerts")), "relay"]
        environ = {**os.environ, "WALLTRACK_DATABASE_URL": self.url}
        with (self.folder / "relay.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        self.running.append(process)
        self.begun_at[process.pid] = time.monotonic()

    def kill(self, chance: random.Random) -> None:
        """Kill one that has lived for a while, and start another."""
        old = [process for process in self.running if time.monotonic() > self.begun_at[process.pid] + LIFE]
        if not old:
            return
        process = chance.choice(old)
        self.running.remove(process)
        process.kill()
        process.wait(30)
        self.killed_at.append(time.monotonic())
        self.dead.append(process.pid)
        self.start()

    def stop(self) -> list[int]:
        """Stop all cleanly; their exit codes."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        return [process.wait(60) for process in self.running]


def hurry(url: str, dead: list[int]) -> bool:
    """Make due what waits, end the leases of killed relays; whether all is finished or dead, and all events are read."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "update walltrack.deliveries set due_at = clock_timestamp() where delivery_id in (select delivery_id from "
            "walltrack.deliveries where state = 'pending' and due_at > clock_timestamp() for update skip locked)"
        )
        connection.execute(
            "update walltrack.deliveries set lease_until = clock_timestamp() where delivery_id in (select delivery_id from "
            "walltrack.deliveries where state = 'sending' and substring(relay from '-(\\d+)-[0-9a-f]+$')::int = any (%s) "
            "for update skip locked)",
            (dead,),
        )
        row = connection.execute(
            "select (select count(*) from walltrack.deliveries where state = 'dead') "
            "+ (select count(*) from walltrack.finished_deliveries) "
            "= 2 * (select count(*) from walltrack.alert_events)"
        ).fetchone()
        return bool(row and row[0])


def judge(url: str, receiver: Receiver, disturbances: list[float]) -> list[str]:
    """What is wrong with what arrived."""
    wrong: list[str] = []
    with psycopg.connect(url) as connection:
        events = connection.execute("select event_id, alert_id::text from walltrack.alert_events order by event_id").fetchall()
        dead = set(connection.execute("select event_id, target_id from walltrack.deliveries where state = 'dead'").fetchall())
        targets: dict[str, int] = dict(
            connection.execute("select '/' || name, target_id from walltrack.notification_targets").fetchall()
        )
    alert_of: dict[int, str] = dict(events)
    arrived: dict[tuple[str, int], list[Arrival]] = defaultdict(list)
    for arrival in receiver.arrivals:
        arrived[arrival.path, arrival.event_id].append(arrival)
    expected = {(event, target) for event, alert in alert_of.items() if is_doomed(alert) for target in targets.values()}
    if dead != expected:
        wrong.append(f"{len(dead)} dead letters instead of {len(expected)}")
    repeats = 0
    for path in targets:
        queues: dict[str, float] = {}
        for event, alert in events:
            tries = arrived[path, event]
            taken = [each.at for each in tries if each.answer == "ok"]
            if not taken and not is_doomed(alert):
                wrong.append(f"event {event} has not arrived at {path}")
                continue
            if tries[0].at < queues.get(alert, 0):
                wrong.append(f"event {event} overtook an earlier one of its alert at {path}")
            queues[alert] = tries[-1].at if is_doomed(alert) else taken[0]
            repeats += len(taken[1:])
            if len(taken) > 1 and not any(taken[0] - 1 < at < taken[0] + NEARBY for at in disturbances):
                wrong.append(f"event {event} was taken {len(taken)} times at {path}, though nothing was killed")
    print(f"{len(events)} events for {len(targets)} targets: {len(receiver.arrivals)} requests, {repeats} repeats of taken ones,")
    print(f"{len(dead)} dead letters; answers: {dict(Counter(each.answer for each in receiver.arrivals))}", flush=True)
    return wrong


def soak(server: Server, url: str, folder: Path, options: argparse.Namespace) -> list[str]:
    """Run the soak; return what was wrong."""
    chance = random.Random(options.seed)
    receiver = Receiver(random.Random(options.seed))
    receiver.start()
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("one", "two"):
            config = json.dumps({"url": f"http://127.0.0.1:{receiver.port}/{name}", "allow_private": True})
            connection.execute("select walltrack.add_target(%s, 'webhook', %s)", (name, config))
    relays = Relays(url, folder)
    for _ in range(options.relays):
        relays.start()
    writers = Writers(url, options.events, options.seed)
    begin = time.monotonic()
    for thread in writers.threads:
        thread.start()
    crashed_at: list[float] = []
    end = begin + PATIENCE
    is_done, written_at = False, begin
    while not is_done and time.monotonic() < end:
        time.sleep(0.5)
        is_writing = any(thread.is_alive() for thread in writers.threads)
        if not receiver.is_calm and chance.random() < 0.3:
            relays.kill(chance)
        if len(crashed_at) < options.crashes and writers.written > (len(crashed_at) + 1) * options.events / (options.crashes + 1):
            server.crash()
            crashed_at.append(time.monotonic())
        written_at = time.monotonic() if is_writing else written_at
        receiver.is_calm = time.monotonic() > written_at + STORM
        with contextlib.suppress(psycopg.OperationalError):
            is_done = hurry(url, relays.dead) and not is_writing
    codes = relays.stop()
    slowest = sorted(writers.seconds)[-len(writers.seconds) // 100]
    print(
        f"{time.monotonic() - begin:.0f} s, {len(relays.killed_at)} relays killed, {len(crashed_at)} crashes; "
        f"{len(writers.seconds)} order writes, the slowest hundredth from {slowest * 1000:.0f} ms",
        flush=True,
    )
    wrong = [f"an order write failed: {error}" for error in writers.errors]
    wrong += [f"a relay ended with exit code {code}" for code in codes if code]
    wrong += [] if is_done else ["deliveries are left"]
    return wrong + judge(url, receiver, relays.killed_at + crashed_at)


def main() -> int:
    """Run on a dedicated server; return 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--relays", type=int, default=3)
    parser.add_argument("--crashes", type=int, default=0, help="of the server, while orders are written")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        server = Server(folder / "pg")
        with server.running() as url:
            wrong = soak(server, url, folder, options)
        for line in wrong[:20]:
            print(line)
        if wrong:
            shutil.copy(folder / "relay.log", Path(tempfile.gettempdir()) / "relay.log")
        print("all is right" if not wrong else f"{len(wrong)} things are wrong")
        return int(bool(wrong))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
