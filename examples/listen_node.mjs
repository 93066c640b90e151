// Follows the alerts with npm's pg: node listen_node.mjs CURSOR_FILE, connected by PGHOST, PGDATABASE, ...
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const pg = createRequire(`${process.cwd()}/`)("pg"); // from the folder it is started in
const place = process.argv[2];

const client = new pg.Client(); // direct, not through a transaction pooler
let wake = () => {};
let awake = false;
client.on("notification", () => { awake = true; wake(); });
client.on("error", (error) => { console.error(error.message); process.exit(1); }); // restart it: it resumes
await client.connect();
await client.query("listen walltrack_alerts"); // first listen, then catch up: nothing falls in between

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
  if (rows.length === 0 && !awake) { // sleep until something happens; look again in case a notification was lost
    await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 15000); });
  }
}
