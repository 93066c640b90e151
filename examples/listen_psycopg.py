"""Follows the alerts with psycopg alone: python listen_psycopg.py CURSOR_FILE, connected by PGHOST, PGDATABASE, ..."""

import json
import sys
from pathlib import Path

import psycopg

place = Path(sys.argv[1])

with psycopg.connect(autocommit=True) as connection:  # direct, not through a transaction pooler
    connection.execute("listen walltrack_alerts")  # first listen, then catch up: nothing falls in between
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
        if not events:  # sleep until something happens; look again from time to time in case a notification was lost
            for _ in connection.notifies(timeout=15, stop_after=1):
                pass
