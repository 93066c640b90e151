"""Receives webhooks with Python alone: WT_SECRET=whsec_... python receive_webhook.py PORT. Prints one line of JSON per event."""

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGEST_BODY = 20_000  # bytes; no body of a webhook is larger
TOLERANCE = 300  # seconds between the attempt and its arrival; it keeps recorded requests from being replayed later

# While a secret is replaced, both are set, with a space between them.
KEYS = [base64.b64decode(secret.removeprefix("whsec_")) for secret in os.environ["WT_SECRET"].split()]


def is_genuine(headers, body):
    """Whether the relay has signed the body, lately."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = [b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()) for key in KEYS]
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(one, other) for one in given for other in expected)


handled = set()  # a service with a database keeps the ids there, unique, in the transaction of its own work
one_at_a_time = threading.Lock()


def handle(message_id, event):
    """Do the work once per event: the relay sends an event again when it has not seen the answer."""
    with one_at_a_time:
        if message_id not in handled:
            print(json.dumps({"id": message_id, **event}), flush=True)
            handled.add(message_id)


class Receiver(BaseHTTPRequestHandler):
    """Answers the requests of the relay."""

    timeout = 10  # seconds that a client may take

    def do_POST(self):
        """Verify, handle, answer."""
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > LARGEST_BODY:
            return self.answer(413)
        body = self.rfile.read(int(length))
        if not is_genuine(self.headers, body):  # verify the bytes, before they are parsed
            return self.answer(401)
        handle(self.headers["webhook-id"], json.loads(body))
        return self.answer(204)  # only now: the relay repeats whatever was not answered with 2xx

    def answer(self, status):
        """Send an answer without a body."""
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Keep standard error for errors."""


with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver) as server:
    print(f"listening on port {server.server_port}", file=sys.stderr, flush=True)
    server.serve_forever()
