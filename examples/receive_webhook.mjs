// Receives webhooks with Node alone: WT_SECRET=whsec_... node receive_webhook.mjs PORT. Prints one line of JSON per event.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const LARGEST_BODY = 20_000; // bytes; no body of a webhook is larger
const TOLERANCE = 300; // seconds between the attempt and its arrival; it keeps recorded requests from being replayed later

// While a secret is replaced, both are set, with a space between them.
const keys = process.env.WT_SECRET.split(/\s+/).map((secret) => Buffer.from(secret.replace(/^whsec_/, ""), "base64"));

/** Whether the relay has signed the body, lately. */
function isGenuine(headers, body) {
  const { "webhook-id": id = "", "webhook-timestamp": timestamp = "", "webhook-signature": signatures = "" } = headers;
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE) return false;
  const given = signatures.split(" ").map((signature) => Buffer.from(signature));
  return keys.some((key) => {
    const digest = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
    const expected = Buffer.from(`v1,${digest}`);
    return given.some((one) => one.length === expected.length && timingSafeEqual(one, expected));
  });
}

const handled = new Set(); // a service with a database keeps the ids there, unique, in the transaction of its own work

/** Do the work once per event: the relay sends an event again when it has not seen the answer. */
function handle(id, event) {
  if (handled.has(id)) return;
  console.log(JSON.stringify({ id, ...event }));
  handled.add(id);
}

/** The status of the answer; only 2xx ends the attempts of the relay. */
async function receive(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > LARGEST_BODY) return 413;
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  if (!isGenuine(request.headers, body)) return 401; // verify the bytes, before they are parsed
  handle(request.headers["webhook-id"], JSON.parse(body));
  return 204;
}

const server = createServer((request, response) => {
  receive(request).then(
    (status) => response.writeHead(status).end(),
    (error) => { console.error(error.message); response.writeHead(500).end(); },
  );
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.error(`listening on port ${server.address().port}`));
