// Follows the events with npm's pg: node listen_node.mjs CURSOR_FILE. PGHOST, PGDATABASE, ... name the database.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const pg = createRequire(`${process.cwd()}/`)("pg"); // from the current folder
const place = process.argv[2];

const client = new pg.Client(); // direct, not through a transaction pooler
let wake = () => {};
let awake = false;
client.on("notification", () => { awake = true; wake(); });
client.on("error", (error) => { console.error(error.message); process.exit(1); }); // a restart resumes
await client.connect();
await client.query("listen walltrack_alerts"); // listen first, then catch up, so that no event falls in between

let cursor = existsSync(place) ? readFileSync(place, "utf8") : null;
for (;;) {
  awake = false;
  const { rows } = await client.query(
    "select cursor, event_id, kind, alert_id, detail from walltrack.read_events($1, 100)", [cursor]);
  for (const { cursor: reached, event_id, kind, alert_id, detail } of rows) {
    console.log(JSON.stringify({ event_id: Number(event_id), kind, alert_id, ...detail }));
    writeFileSync(`${place}.new`, reached);
    renameSync(`${place}.new`, place);
    cursor = reached;
  }
  if (rows.length === 0 && !awake) { // sleep until a notification; poll in case one was lost
    await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 15000); });
  }
}
