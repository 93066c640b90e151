"""Commit -> event in the consumer's hands, beside a bare LISTEN / NOTIFY pair in the same run; and catching up.

Prints medians and p95 in milliseconds and their ratio, then events per second.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

import psycopg

from walltrack_alerts import migrations
from walltrack_alerts.embedded import embedded_server
from walltrack_alerts.listener import StreamState, listen

RAISE = "select walltrack.raise_alert('bench', 'high', 'a title', '', '{}', true, null)"


def p95(values: list[float]) -> float:
    """The value that 95 of 100 stay below."""
    return statistics.quantiles(values, n=20)[-1]


async def latencies(url: str, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the begin of the write to the event: ours and a bare listener, on the same kind of write in turns."""
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


def main() -> None:
    """Start a server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
    folder.chmod(0o755)
    with embedded_server(folder / "pg") as url:
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


if __name__ == "__main__":
    main()
