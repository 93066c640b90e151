"""Follows the events with psycopg alone: python listen_psycopg.py CURSOR_FILE. PGHOST, PGDATABASE, ... name the database."""

import json
import sys
from pathlib import Path

import psycopg

place = Path(sys.argv[1])

with psycopg.connect(autocommit=True) as connection:  # direct, not through a transaction pooler
    connection.execute("listen walltrack_alerts")  # listen first, then catch up, so that no event falls in between
    cursor = place.read_text() if place.exists() else None
    while True:
        events = connection.execute(
            "select cursor, event_id, kind, alert_id, detail from walltrack.read_events(%s, 100)", [cursor]
        ).fetchall()
        for cursor, event_id, kind, alert_id, detail in events:
            print(json.dumps({"event_id": event_id, "kind": kind, "alert_id": str(alert_id), **detail}), flush=True)
            temporary = place.with_suffix(".new")
            temporary.write_text(cursor)
            temporary.replace(place)
        if not events:  # sleep until a notification; poll in case one was lost
            for _ in connection.notifies(timeout=15, stop_after=1):
                pass
