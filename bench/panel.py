"""The panel: latency from commit to visible badge, cost of idle pages, and the first list with a long history.

    python bench/panel.py [--rounds N] [--pages N] [--idle SECONDS] [--open N] [--resolved N]

Every page is a tab of a real Chromium on this machine and the server a process of its own, so on few cores the browsers'
work is included in the figures. Figures that are compared take turns within the run. `must` is the required limit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from chromium import launch_chromium
from playwright.sync_api import Browser, Page, sync_playwright
from psycopg.conninfo import make_conninfo

from walltrack_alerts import migrations
from walltrack_alerts.embedded import embedded_server

PATIENCE = 120_000  # ms

SERVE = (
    "import sys; from walltrack_alerts.ui import launch_panel; launch_panel(sys.argv[1], port=int(sys.argv[2]), operator='bench')"
)

RAISE = "select (walltrack.raise_alert('bench', 'critical', 'An alert', '', '{}', true, null)).id"

ALERTS = """
insert into walltrack.alerts (alert_type, severity, status, title, data, requires_action, created_at, acknowledged_at,
  acknowledged_by, resolved_at, resolved_by, resolution, own_writes)
select 'order_failed_permanently', (array['critical', 'high', 'warning', 'info'])[1 + n %% 4],
  case when %(resolved)s then 'resolved' else 'active' end, 'EXIT Order Failed - Manual Action Required',
  jsonb_build_object('order_id', gen_random_uuid(), 'token', 'token' || n %% 500, 'token_symbol', 'T' || n %% 500,
    'error', 'Slippage ' || n || ' exceeded'), true, t,
  case when %(resolved)s then t end, case when %(resolved)s then 'ada' end, case when %(resolved)s then t end,
  case when %(resolved)s then 'system' end, case when %(resolved)s then 'Order filled' end, 1
from (select n, now() - n * interval '20 s' as t from generate_series(1, %(count)s) as n) as times
"""

# When the badge shows a number and when an alert's row is painted, in milliseconds since 1970.
WATCH = """() => {
  const root = document.querySelector('.wta');
  window.paints = {};
  const painted = (key) => requestAnimationFrame(() => { window.paints[key] ??= performance.timeOrigin + performance.now(); });
  new MutationObserver(() => painted(root.dataset.critical)).observe(root, { attributeFilter: ['data-critical'] });
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const { dataset } of addedNodes) if (dataset?.alertId) painted(dataset.alertId);
  }).observe(root, { childList: true, subtree: true });
}"""

# Milliseconds from the click on Acknowledge to the row that shows it.
ACKNOWLEDGE = """async (id) => {
  const start = performance.now();
  document.querySelector('#alerts-panel-acknowledge').click();
  const row = () => document.querySelector(`#alerts-panel-list [data-alert-id='${id}']`);
  while (row().dataset.status !== 'acknowledged') await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""

# Milliseconds from the navigation to the first painted row, and how long the request for the list took.
WATCH_LIST = """
new MutationObserver((_, observer) => {
  if (!document.querySelector('.wta-row')) return;
  observer.disconnect();
  requestAnimationFrame(() => {
    const request = performance.getEntriesByType('resource').find((each) => each.name.includes('component_server'));
    window.first = [performance.now(), request.duration];
  });
}).observe(document, { childList: true, subtree: true });
"""


@contextlib.contextmanager
def serving(url: str) -> Iterator[tuple[str, int]]:
    """Run the panel in its own process; yields its address and process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", SERVE, url, str(port)])
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the panel did not start")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that ends with the context."""
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        if browser is None:
            raise SystemExit("this needs a Chromium on the PATH")
        yield browser
        browser.close()


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def live_page(browser: Browser, address: str) -> Page:
    """A live page in its own window, because a hidden tab paints nothing."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.locator("[data-state=live][data-live=live]").wait_for()
    page.evaluate(WATCH)
    return page


@dataclass
class Latencies:
    """Milliseconds from just before the commit to the paint, for every page and for the slowest page of each round."""

    badge: list[float] = field(default_factory=list)
    row: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)

    def take(self, url: str, pages: list[Page], rounds: int) -> None:
        """Raise one critical alert after the other."""
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(rounds + 1):
                time.sleep(0.5)  # idle
                found = connection.execute("select count(*) from walltrack.open_alerts where severity = 'critical'").fetchone()
                assert found is not None
                before = time.time() * 1000
                raised = connection.execute(RAISE).fetchone()
                assert raised is not None
                badge, row = ([painted(page, key) - before for page in pages] for key in (str(found[0] + 1), str(raised[0])))
                if number:  # the first one warms up
                    self.badge += badge
                    self.row += row
                    self.slowest.append(max(badge + row))


def painted(page: Page, key: str) -> float:
    """The time of the paint, in milliseconds since 1970."""
    page.wait_for_function("key => window.paints[key] !== undefined", arg=key)
    return float(page.evaluate("key => window.paints[key]", key))


def action_latencies(page: Page) -> list[float]:
    """Milliseconds from a click to the row that shows it, for ten alerts."""
    taken = []
    for _ in range(10):
        row = page.locator("#alerts-panel-list [data-status=active]").first
        alert_id = row.get_attribute("data-alert-id")
        row.locator(".wta-row").click()
        page.locator(f"#alerts-panel-detail[data-alert-id='{alert_id}'][data-status=active]").wait_for()
        taken.append(page.evaluate(ACKNOWLEDGE, alert_id))
    return taken


def print_result(name: str, values: list[float], must: float | None = None) -> None:
    """One line: median and p95 in milliseconds."""
    median, p95 = statistics.median(values), statistics.quantiles(values, n=20)[-1]
    kept = "" if must is None else f"   must: median < {must:.0f} ms{'' if median < must else '   MISSED'}"
    print(f"{name:<44} median {median:6.0f} ms   p95 {p95:6.0f} ms{kept}", flush=True)


def badge_and_idle(url: str, rounds: int, count: int, idle: float) -> None:
    """Measure commit to visible badge with one page and with many, then the cost of the idle pages."""
    with serving(url) as (address, pid), chromium() as browser:
        one = [live_page(browser, address)]
        single, several = Latencies(), Latencies()
        single.take(url, one, rounds // 2)
        others = [live_page(browser, address) for _ in range(count - 1)]
        several.take(url, one + others, rounds // 2)
        time.sleep(3)
        start, used = time.monotonic(), cpu_seconds(pid)
        time.sleep(idle)
        share = (cpu_seconds(pid) - used) / (time.monotonic() - start) * 100
        for page in others:
            page.context.close()
        single.take(url, one, rounds // 2)  # after the run with many pages, so that a warmed-up machine favours neither
        for pages, taken, must in ("1 page", single, 300), (f"{count} pages", several, 500):
            print_result(f"commit -> visible badge, {pages}", taken.badge, must)
            print_result(f"commit -> visible row, {pages}", taken.row)
        print_result(f"  both, on the slowest of {count} pages each time", several.slowest)
        print_result("a click -> its effect visible", action_latencies(one[0]), 300)
        missed = "" if share < 2 else "   MISSED"
        print(
            f"server CPU, {count} idle pages, {idle:.0f} s{'':<19} {share:6.2f} % of one core   must: < 2 %{missed}", flush=True
        )


def first_lists(few: str, many: str, rounds: int) -> None:
    """Time the first list of two databases, one page of each in turn."""
    with serving(few) as (address, _), serving(many) as (other, _), chromium() as browser:
        painted: dict[str, list[float]] = {address: [], other: []}
        asked: dict[str, list[float]] = {address: [], other: []}
        for number in range(rounds + 1):
            for each in (address, other) if number % 2 else (other, address):
                context = browser.new_context()
                page = context.new_page()
                page.set_default_timeout(PATIENCE)
                page.add_init_script(WATCH_LIST)
                page.goto(each)
                page.wait_for_function("window.first !== undefined")
                paint, request = page.evaluate("window.first")
                context.close()
                if number:
                    painted[each].append(paint)
                    asked[each].append(request)
        for name, values in (("first list painted", painted), ("  of it the request for the list", asked)):
            print_result(f"{name}, few open", values[address])
            print_result(f"{name}, many open", values[other])
        ratio = statistics.median(b / a for a, b in zip(painted[address], painted[other], strict=True))
        print(f"  many / few, median of the pairs {ratio:.2f}   must: within 1.2{'' if 1 / 1.2 <= ratio <= 1.2 else '   MISSED'}")


def main() -> None:
    """Start a server, fill two databases, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--idle", type=float, default=60, help="seconds")
    parser.add_argument("--open", type=int, default=5_000)
    parser.add_argument("--resolved", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wt-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with embedded_server(Path(folder) / "pg") as server:
            urls = [make_conninfo(server, dbname=name) for name in ("bench_few", "bench_many")]
            with psycopg.connect(server, autocommit=True) as admin:
                admin.execute("create database bench_few")
                admin.execute("create database bench_many")
            for url, count, resolved in zip(urls, (10, options.open), (0, options.resolved), strict=True):
                migrations.upgrade(url)
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(ALERTS, {"resolved": False, "count": count})
                    connection.execute(ALERTS, {"resolved": True, "count": resolved})
                    connection.execute("vacuum analyze walltrack.alerts")
            print(f"load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
            badge_and_idle(urls[0], options.rounds, options.pages, options.idle)
            first_lists(urls[0], urls[1], options.rounds // 2)


if __name__ == "__main__":
    main()
