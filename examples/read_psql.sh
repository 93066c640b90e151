#!/bin/sh
# Prints the events since the last run, with psql alone: read_psql.sh CURSOR_FILE, from cron or in a loop.
set -eu
place=$1
touch "$place"
events=$(psql -X -q -At -F "$(printf '\t')" -v ON_ERROR_STOP=1 -v after="$(cat "$place")" <<'SQL'
select cursor, event_id, kind, alert_id, detail from walltrack.read_events(nullif(:'after', ''), 100);
SQL
)
[ -n "$events" ] || exit 0
printf '%s\n' "$events" | while IFS="$(printf '\t')" read -r cursor event; do
  printf '%s\n' "$event"
  printf '%s' "$cursor" >"$place.new" && mv "$place.new" "$place"
done
