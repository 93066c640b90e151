"""Commit-to-consumer latency beside a bare LISTEN / NOTIFY pair in the same run; catching up; idle listeners.

Both take turns on the same kind of write (raising an alert), timed from the start of the write. Prints medians and p95 in
milliseconds and their ratio, then events per second, then what 100 listeners cost while nothing happens.

    python bench/event_stream.py [--rounds 500] [--events 100000] [--idle 30]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg

from walltrack_alerts import migrations
from walltrack_alerts.embedded import embedded_server
from walltrack_alerts.listener import StreamState, listen

LISTENERS = 100
RAISE = "select walltrack.raise_alert('bench', 'high', 'a title', '', '{}', true, null)"


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


async def latencies(url: str, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the start of a write to its event, for our listener and a bare one in turns."""
    live = asyncio.Event()
    arrived: asyncio.Queue[float] = asyncio.Queue()

    async def consume() -> None:
        events = listen(url, on_state=lambda state, _: live.set() if state is StreamState.LIVE else None)
        async with aclosing(events):
            async for _ in events:
                arrived.put_nowait(time.perf_counter())

    async def hear() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("listen walltrack_alerts")
            live.set()
            async for _ in connection.notifies():
                arrived.put_nowait(time.perf_counter())

    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as writer:
        for _ in range(10):
            for name, client in (("ours", consume), ("bare", hear)):
                live.clear()
                task = asyncio.create_task(client())
                await live.wait()
                for number in range(rounds // 10 + 2):
                    await asyncio.sleep(0.005)  # idle
                    start = time.perf_counter()
                    await writer.execute(RAISE)
                    took = (await arrived.get() - start) * 1000
                    if number >= 2:
                        taken[name].append(took)
                task.cancel()
                await asyncio.wait([task])
    return taken["ours"], taken["bare"]


async def catch_up(url: str, count: int) -> float:
    """Events per second through the Python client."""
    start = time.perf_counter()
    seen = 0
    async with aclosing(listen(url, "beginning")) as events:
        async for _ in events:
            seen += 1
            if seen == count:
                break
    return count / (time.perf_counter() - start)


async def idle(url: str, seconds: float) -> str:
    """The idle cost of this many listeners, in this process and in the server."""
    live, all_live = 0, asyncio.Event()
    ours = psutil.Process()
    before = ours.memory_info().rss

    def hear(state: StreamState, _why: str) -> None:
        nonlocal live
        live += state is StreamState.LIVE
        if live == LISTENERS:
            all_live.set()

    async def consume() -> None:
        async with aclosing(listen(f"{url}&application_name=idle", on_state=hear)) as events:
            async for _ in events:
                pass

    tasks = [asyncio.create_task(consume()) for _ in range(LISTENERS)]
    await all_live.wait()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        found = await connection.execute("select pid from pg_stat_activity where application_name = 'idle'")
        backends = [psutil.Process(pid) for (pid,) in await found.fetchall()]
        await asyncio.sleep(5)  # let the work of starting them finish
        await connection.execute("listen walltrack_alerts_heartbeat")
        begin, client, server = time.perf_counter(), time.process_time(), processor(backends)
        await asyncio.sleep(seconds)
        took = time.perf_counter() - begin
        client, server = time.process_time() - client, processor(backends) - server
        beats = len([note async for note in connection.notifies(timeout=0)])
    memory = sum(backend.memory_info().rss - backend.memory_info().shared for backend in backends) / LISTENERS
    client_memory = (ours.memory_info().rss - before) / LISTENERS
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return (
        f"{LISTENERS} idle listeners: server {100 * server / took:.1f} % of a core and {memory / 1e6:.1f} MB each, "
        f"client {100 * client / took:.1f} % and {client_memory / 1e6:.2f} MB each, {beats / took:.2f} heartbeats/s"
    )


def processor(processes: list[psutil.Process]) -> float:
    """CPU seconds used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main() -> None:
    """Start a server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--idle", type=float, default=30, help="seconds of watching idle listeners")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        measure(folder / "pg", options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Run on a dedicated server."""
    with embedded_server(folder) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"alter system set max_connections = {3 * LISTENERS}")
    with embedded_server(folder) as url:
        migrations.upgrade(url)
        ours, bare = asyncio.run(latencies(url, options.rounds))
        print(f"commit -> event: median {statistics.median(ours):.2f} ms, p95 {p95(ours):.2f} ms")
        print(f"bare pair:       median {statistics.median(bare):.2f} ms, p95 {p95(bare):.2f} ms")
        print(f"ratio:           median {statistics.median(ours) / statistics.median(bare):.2f}, p95 {p95(ours) / p95(bare):.2f}")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "insert into walltrack.alert_events (alert_id, kind, actor) "
                "select a.id, 'repeated', 'bench' from (select id from walltrack.alerts limit 1) as a, generate_series(1, %s)",
                (options.events,),
            )
            start = time.perf_counter()
            connection.execute("select count(*), max(cursor) from walltrack.read_events(null, %s)", (options.events,))
            print(f"catching up:     {options.events / (time.perf_counter() - start):,.0f} events/s in SQL")
        print(f"                 {asyncio.run(catch_up(url, options.events)):,.0f} events/s through the Python client")
        print(asyncio.run(idle(url, options.idle)))


if __name__ == "__main__":
    main()
