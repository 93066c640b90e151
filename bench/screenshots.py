"""Takes the screenshots of README and docs from a seeded simulated bot whose trades are stretched to a week.

    python bench/screenshots.py [--seed N] [--to FOLDER]

Nothing in the screenshots is drawn by hand: the bot's orders raised the alerts. Only their times are stretched
to a week, because the bot's orders arrive within minutes, and two operators are recorded as having acknowledged some.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from panel import chromium
from PIL import Image
from playwright.sync_api import Browser, Page
from psycopg.types.json import Jsonb

from walltrack_alerts import migrations
from walltrack_alerts.embedded import embedded_server
from walltrack_alerts.simulator import SimulatedBot
from walltrack_alerts.ui import launch_panel

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"

ORDERS = 600

# Nothing is wrong with a constraint or a trigger: rows of a history are given other times, by the owner of the table.
HISTORY = """
create temporary table span as
select
  max(created_at) as last,
  interval '7 days' / extract(epoch from max(created_at) - min(created_at)) as pace
from walltrack.alerts;
create function pg_temp.stretched(at timestamptz) returns timestamptz language sql as
  $$ select s.last - extract(epoch from s.last - $1) * s.pace from span as s $$;
alter table walltrack.alert_events disable trigger user;
update walltrack.alert_events set at = pg_temp.stretched(at);
alter table walltrack.alert_events enable trigger user;
alter table walltrack.orders disable trigger user;
update walltrack.orders set created_at = pg_temp.stretched(created_at), updated_at = pg_temp.stretched(updated_at);
alter table walltrack.orders enable trigger user;
update walltrack.alerts as a
set created_at = pg_temp.stretched(created_at), last_seen_at = pg_temp.stretched(last_seen_at),
    updated_at = pg_temp.stretched(updated_at),
    resolved_at = least(pg_temp.stretched(resolved_at), now());
-- Most were seen before they were resolved.
update walltrack.alerts as a
set acknowledged_at = a.created_at + (3 + abs(hashtext(a.id::text)) % 2400) * interval '1 s',
    acknowledged_by = case when hashtext(a.id::text) % 3 = 0 then 'grace' else 'ada' end,
    own_writes = own_writes + 1
where a.status = 'resolved' and hashtext(a.id::text) % 4 <> 0
  and a.created_at + (3 + abs(hashtext(a.id::text)) % 2400) * interval '1 s' < a.resolved_at;
"""

EXHAUSTED = """
with failed as (
  select * from walltrack.orders where order_type = 'exit' and status = 'cancelled' and not is_simulated
    and token_symbol ~ '^[A-Z]+$' order by id limit 1
), again as (
  insert into walltrack.orders (order_type, side, position_id, token_address, token_symbol, amount_sol, expected_price, status)
  select order_type, side, position_id, token_address, token_symbol, amount_sol, expected_price, 'submitted' from failed
  returning id
)
select id from again
"""
ACKNOWLEDGED = "update walltrack.alerts set acknowledged_at = created_at + interval '4 min' where status = 'acknowledged'"
TARGETS = """
select walltrack.add_target('oncall', 'telegram',
  '{"chat": "-1001234567890", "token": "${TG_TOKEN}", "allow": {"12345": "ada"}}', '{"min_severity": "high"}', p_by => 'ada');
select walltrack.add_target('ops', 'webhook',
  '{"url": "https://example.com/hooks/alerts", "secrets": ["${WT_SECRET}"]}', p_by => 'ada');
select walltrack.add_target('team', 'apprise', '{"url": "slack://${SLACK_BOT_TOKEN}/#alerts"}', p_by => 'grace');
select walltrack.relay_seen('relay-1', 'relay-1', 4242, '0.1.0');
"""
CLAIM = """
select c.lease, c.deliveries, t.kind
from walltrack.claim_deliveries(
  'relay-1', (select jsonb_object_agg(n.target_id, 32) from walltrack.notification_targets as n where n.kind = any (%s))
) as c
join walltrack.notification_targets as t using (target_id)
"""
NEXT_ATTEMPT = """
update walltrack.deliveries set due_at = now() where state = 'pending';
update walltrack.chat_pace set next_message_at = now(), next_digest_at = now();
"""
SILENCE = """
select walltrack.add_silence(
  '{"error": "RPC node timed out"}', 'the provider is being repaired', now() + interval '90 min', 'grace'
)
"""
FAILED = "update walltrack.orders set status = 'failed', attempt_count = 3, last_error = %s where id = %s"


@dataclass(frozen=True)
class Picture:
    """One file: the size of its window and the actions in it."""

    name: str
    width: int
    height: int
    theme: str
    act: Callable[[Page], None]


def first_alert(page: Page) -> None:
    """The first critical alert, open."""
    page.locator(".wta-row").first.click()
    page.locator("#alerts-panel-detail:not([data-status=loading])").wait_for()


def charts(page: Page) -> None:
    """A week of charts with the pointer on one bucket."""
    page.locator("#alerts-panel-nav-charts").click()
    page.locator("#alerts-panel-range-7").click()
    page.locator("[data-view=charts][data-charts='7']").wait_for()
    page.locator("#alerts-panel-chart-raised svg").hover()


def targets(page: Page) -> None:
    """Where alerts are delivered."""
    page.locator("#alerts-panel-nav-targets").click()
    page.locator("[data-view=targets]").wait_for()
    page.locator("#alerts-panel-target-list li").first.wait_for()


def confirming(page: Page) -> None:
    """About to cancel an order."""
    page.locator("li[data-severity=critical] .wta-row").last.click()
    page.locator("#alerts-panel-cancel:enabled").click()
    page.locator("dialog.wta-dialog[open]").wait_for()


PICTURES = (
    Picture("panel-light", 1360, 860, "light", first_alert),
    Picture("panel-dark", 1360, 860, "dark", first_alert),
    Picture("panel-phone", 390, 844, "light", lambda _: None),
    Picture("detail-phone", 390, 844, "dark", first_alert),
    Picture("charts-light", 1360, 1060, "light", charts),
    Picture("charts-dark", 1360, 1060, "dark", charts),
    Picture("confirm", 1360, 860, "light", confirming),
)


# With a dead letter, which adds a banner to each view.
TARGETS_PICTURE = Picture("targets-light", 1360, 840, "light", targets)


def history(url: str, seed: int) -> None:
    """Migrate, trade, and stretch the resulting alerts over a week."""
    migrations.upgrade(url)
    bot = SimulatedBot(url, pace=10_000, seed=seed, failure_rate=0.35, max_orders=ORDERS)
    asyncio.run(bot.run(asyncio.Event()))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(HISTORY)
        open_ones = connection.execute("select id from walltrack.open_alerts order by created_at desc, id offset 14").fetchall()
        for (alert_id,) in open_ones:  # a week in which no operator acts would look odd
            connection.execute("select walltrack.resolve_alert(%s, 'Sold by hand', 'ada')", (alert_id,))
        connection.execute(
            "update walltrack.alerts set resolved_at = created_at + (600 + abs(hashtext(id::text)) % 20000) * interval '1 s' "
            "where resolved_by = 'ada' and created_at < now() - interval '6 hours'"
        )
        connection.execute(TARGETS)
        # An alert whose order can still be cancelled because the worker has not given up.
        row = connection.execute(EXHAUSTED).fetchone()
        assert row is not None
        connection.execute(FAILED, ("Slippage tolerance exceeded: expected 100 bps, got 184 bps (Jupiter error 6001)", row[0]))
        some = connection.execute("select id from walltrack.open_alerts order by created_at limit 5").fetchall()
        for (alert_id,), who in zip(some, ("ada", "grace", "ada", "grace", "ada"), strict=False):
            connection.execute("select walltrack.acknowledge_alert(%s, %s)", (alert_id, who))
        connection.execute(ACKNOWLEDGED)
        connection.execute("select walltrack.fan_out_events()")
        deliver(connection, "telegram", "apprise")
        connection.execute(SILENCE)


def deliver(connection: psycopg.Connection, *kinds: str) -> None:
    """Do what a relay does for these kinds of target. A webhook rejects one event until it is a dead letter."""
    rejected: list[int] = []
    while claims := connection.execute(CLAIM, (list(kinds),)).fetchall():
        results = []
        for lease, deliveries, kind in claims:
            rejected = rejected or (deliveries if kind == "webhook" else [])
            failed = {"outcome": "failed", "status": 500, "response": "database is locked"}
            delivered = {"outcome": "delivered", "status": 200, "response": "ok"}
            results.append({"lease": lease, "deliveries": deliveries} | (failed if deliveries == rejected else delivered))
        connection.execute("select walltrack.finish_deliveries('relay-1', %s)", (Jsonb(results),))
        connection.execute(NEXT_ATTEMPT)


def take(browser: Browser, url: str, picture: Picture, folder: Path) -> None:
    """Take one screenshot with a palette of 256 colors: a quarter of the size, with no visible difference."""
    context = browser.new_context(
        viewport={"width": picture.width, "height": picture.height}, locale="en-GB", timezone_id="Europe/Berlin"
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(f"{url}/?__theme={picture.theme}")
    page.locator("[data-state=live][data-live=live]").wait_for()
    picture.act(page)
    page.evaluate("document.fonts.ready")
    page.evaluate("Promise.allSettled(document.getAnimations().map((each) => each.finished))")
    file = folder / f"{picture.name}.png"
    page.screenshot(path=file)
    context.close()
    with Image.open(file) as image:
        image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Take all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--to", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wt-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with embedded_server(Path(folder) / "pg") as url:
            history(url, options.seed)
            panel = launch_panel(url, port=0, block=False, operator="ada")
            try:
                with chromium() as browser:
                    for picture in PICTURES:
                        take(browser, panel.url, picture, options.to)
                    with psycopg.connect(url, autocommit=True) as connection:
                        deliver(connection, "webhook")
                    take(browser, panel.url, TARGETS_PICTURE, options.to)
            finally:
                panel.close()


if __name__ == "__main__":
    main()
