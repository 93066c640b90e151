"""Relays report themselves, and one at a time has a duty."""

from __future__ import annotations

import threading

import psycopg

from tests.deliveries.relay import Desk, Relay


def take(relay: Relay, duration: str = "1 minute", duty: str = "purge") -> bool:
    row = relay.connection.execute("select walltrack.take_duty(%s, %s, %s)", (duty, relay.name, duration)).fetchone()
    return row == (True,)


def test_one_relay_at_a_time_has_a_duty(desk: Desk, relay: Relay, other_relay: Relay) -> None:
    assert take(relay) and not take(other_relay) and take(relay)
    assert take(other_relay, duty="reconcile")
    desk.execute("update walltrack.relay_duties set until = now()")
    assert take(other_relay) and not take(relay)


def test_of_relays_that_ask_at_once_one_gets_the_duty(database_url: str, desk: Desk) -> None:
    got: list[bool] = []

    def work(number: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            got.append(take(Relay(connection, f"relay-{number}")))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 5 + [True]


def test_a_stopped_relay_passes_its_duties_on(desk: Desk, relay: Relay, other_relay: Relay) -> None:
    relay.connection.execute("select walltrack.relay_seen('relay-1', 'host', 1, '1.0')")
    assert take(relay, "1 day")
    relay.connection.execute("select walltrack.relay_stopped('relay-1')")
    assert take(other_relay)
    assert desk.execute("select count(*) from walltrack.relays").fetchone() == (0,)


def test_relays_that_were_not_seen_for_a_day_are_forgotten(desk: Desk, relay: Relay) -> None:
    for name in ("old", "young"):
        relay.connection.execute("select walltrack.relay_seen(%s, 'host', 1, '1.0')", (name,))
    desk.execute("update walltrack.relays set seen_at = now() - interval '25 hours' where relay = 'old'")
    relay.connection.execute("select walltrack.relay_seen('young', 'host', 2, '1.1')")
    assert desk.execute("select relay, pid, version from walltrack.relays").fetchall() == [("young", 2, "1.1")]
