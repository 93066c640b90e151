"""Many orders fail at once: a chat gets the most severe alert, then digests, and every delivery is accounted for."""

from __future__ import annotations

from tests.relay.bot_server import Refused
from tests.relay.desk import Desk
from tests.relay.samples import parse_html
from walltrack_alerts.relay import queries
from walltrack_alerts.relay.queries import Connection

ORDERS = 60  # 40 EXIT, 20 ENTRY; 6 of them simulated


async def test_a_storm_is_one_message_and_one_digest(desk: Desk) -> None:
    desk.bot.execute("select walltrack.remove_target('desk')")
    desk.add_target("storm", filters={"include_simulated": True, "digest_every": "30 s"})
    for number in range(ORDERS):
        order = desk.bot.create("exit" if number % 3 else "entry", is_simulated=number % 10 == 0)
        desk.bot.exhaust(order, f"slippage of {number} exceeded" if number % 2 else "blockhash not found")
    connection = Connection(desk.database_url)
    while desk.query("select count(*) from walltrack.deliveries") < ORDERS:  # other transactions of the server hold back events
        await queries.fan_out_events(connection, ORDERS)
    await connection.close()
    await desk.deliver()
    first, digest = (parse_html(message["text"]).text for message in desk.server.messages.values())
    assert first.startswith("\U0001f534 CRITICAL EXIT sell BONK failed 3/3, 1.5 SOL at stake\n")
    assert digest.startswith("\U0001f534 59 alerts: 39 CRITICAL, 20 HIGH (6 simulated)\n")
    groups = [line for line in digest.splitlines() if "\u00d7" in line]
    assert "CRITICAL sell" in groups[0] and "SIMULATED" in groups[-1]
    assert desk.query("select count(*) from walltrack.finished_deliveries where state = 'delivered'") == ORDERS
    assert desk.query("select count(*) from walltrack.finished_deliveries where digest_id is not null") == ORDERS - 1


async def test_a_limit_of_the_service_loses_nothing(desk: Desk) -> None:
    desk.server.faults["sendMessage"] += [Refused(429, "Too Many Requests: retry after 1", retry_after=1)] * 2
    message = await desk.raise_alert()
    assert "BONK" in desk.server.message(message)["text"]
    assert desk.query("select attempts from walltrack.finished_deliveries") == 1
