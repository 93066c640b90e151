"""Targets, dead letters and silences as the panel shows them."""

from __future__ import annotations

import psycopg
from psycopg.types.json import Jsonb

SECRETS = ("hidden-path", "HOOK_KEY", "WT_SECRET", "TG_TOKEN")
"""Parts of the settings of these targets, which no reader may see."""


def add_targets(db: psycopg.Connection) -> None:
    """A webhook `hook` and a chat `telegram-ada`, which get all events from now on."""
    webhook = {"url": "https://hooks.example/hidden-path?key=${HOOK_KEY}", "secrets": ["${WT_SECRET}"]}
    chat = {"chat": "-100777", "token": "${TG_TOKEN}", "allow": {"12345": "ada"}}
    for name, kind, config in (("hook", "webhook", webhook), ("telegram-ada", "telegram", chat)):
        db.execute("select walltrack.add_target(%s, %s, %s, '{}', null, 'ada')", (name, kind, Jsonb(config)))


def fan_out(db: psycopg.Connection) -> None:
    """Turn the events so far into deliveries."""
    db.execute("select walltrack.fan_out_events()")


def make_dead_letters(db: psycopg.Connection, response: str = "500 Internal Server Error", target: str = "hook") -> list[int]:
    """Let the last attempt of every delivery to a target have failed: their ids."""
    rows = db.execute(
        "update walltrack.deliveries as d set state = 'dead', attempts = 9, last_status = 500, last_response = %s, "
        "tried_at = now() - interval '1 min', failed_at = now() from walltrack.notification_targets as t "
        "where t.target_id = d.target_id and t.name = %s returning d.delivery_id",
        (response, target),
    )
    return sorted(row[0] for row in rows)


def deliver_due(db: psycopg.Connection, target: str = "telegram-ada") -> None:
    """Let a relay claim and deliver what is due at a target."""
    db.execute(
        "select walltrack.finish_deliveries('relay-1', jsonb_agg(jsonb_build_object("
        "'lease', c.lease, 'deliveries', to_jsonb(c.deliveries), 'outcome', 'delivered', 'status', 200))) "
        "from walltrack.claim_deliveries('relay-1', (select jsonb_build_object(t.target_id::text, 100) "
        "from walltrack.notification_targets as t where t.name = %s), interval '1 min') as c",
        (target,),
    )


def silence_alerts(db: psycopg.Connection, reason: str = "the pool is being moved", **matchers: str) -> None:
    """Mute alerts for half an hour."""
    db.execute("select walltrack.add_silence(%s, %s, now() + interval '30 min', 'grace')", (Jsonb(matchers), reason))
