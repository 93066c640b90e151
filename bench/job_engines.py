"""The same HTTP call as a job of PgQueuer or of procrastinate, in a process of its own, until all jobs are done.

    python bench/job_engines.py pgqueuer|procrastinate DSN URL JOBS

It enqueues the jobs, prints a line, and starts to work.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx2
import psycopg

CONCURRENCY = 32
FACTS = {"type": "alert.raised", "timestamp": "2026-01-01T00:00:00Z", "url": None, "filler": "x" * 900}


def body(number: int) -> bytes:
    """About as large as the body of a webhook."""
    return json.dumps({**FACTS, "data": {"event_id": number}}).encode()


async def pgqueuer(dsn: str, url: str, jobs: int) -> None:
    """Batches of 100, jobs side by side."""
    from pgqueuer import PgQueuer
    from pgqueuer.types import QueueExecutionMode

    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection,
        httpx2.AsyncClient(limits=httpx2.Limits(max_connections=CONCURRENCY)) as client,
    ):
        engine = PgQueuer.from_psycopg_connection(connection)
        queries = engine.qm.queries
        await queries.install()

        @engine.entrypoint("post")
        async def post(job: Any) -> None:  # noqa: ANN401
            await client.post(url, content=job.payload)

        await queries.enqueue(["post"] * jobs, [body(number) for number in range(jobs)], [0] * jobs)
        print("enqueued", flush=True)
        await engine.run(batch_size=100, mode=QueueExecutionMode.drain)


async def procrastinate(dsn: str, url: str, jobs: int) -> None:
    """Jobs side by side in one worker."""
    from procrastinate import App, PsycopgConnector
    from procrastinate.types import JSONDict

    app = App(connector=PsycopgConnector(conninfo=dsn))
    async with app.open_async(), httpx2.AsyncClient(limits=httpx2.Limits(max_connections=CONCURRENCY)) as client:
        await app.schema_manager.apply_schema_async()

        @app.task(name="post")
        async def post(number: int) -> None:
            await client.post(url, content=body(number))

        for first in range(0, jobs, 1000):
            batch: list[JSONDict] = [{"number": number} for number in range(first, min(first + 1000, jobs))]
            await post.batch_defer_async(*batch)
        print("enqueued", flush=True)
        await app.run_worker_async(concurrency=CONCURRENCY, wait=False, install_signal_handlers=False)


if __name__ == "__main__":
    engines = {"pgqueuer": pgqueuer, "procrastinate": procrastinate}
    asyncio.run(engines[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4])))
