"""Rewrites Gradio's page: its root is the address in the browser, and it loads only its own scripts."""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = b"panel.invalid"
"""A placeholder host that marks every place where Gradio writes its address."""

_ROOT = re.compile(rb'"https?://panel\.invalid[^"]*"')
_OWN_ROOT = b'new URL(".", location.href).href.replace(/\\/$/, "")'
_MANIFEST = re.compile(rb'<link rel="manifest"[^>]*>')
_NO_ICON = b'<link rel="icon" href="data:,">'  # the script paints one; without any the browser asks the host for /favicon.ico
_SCRIPT = re.compile(rb"<script(?=[\s>])")


def policy(nonce: str) -> str:
    """Gradio compiles the panel's script ('unsafe-eval') and writes styles into the page; a script in it needs the nonce."""
    return (
        f"default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'self'"
    )


def route_of(scope: Scope) -> str:
    """The path below the mount point of the panel."""
    path, root = scope["path"], scope.get("root_path", "")
    return (path.removeprefix(root) if root and path.startswith(root + "/") else path) or "/"


class Page:
    """Rewrites the one page of the app inside; everything else passes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or route_of(scope) != "/":
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(18)
        start: Message = {}
        body = bytearray()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body", False):
                return
            page = _rewritten(bytes(body), nonce)
            headers = MutableHeaders(scope=start)
            headers["content-security-policy"] = policy(nonce)
            if page:  # the answer to HEAD has none
                headers["content-length"] = str(len(page))
            else:
                del headers["content-length"]
            await send(start)
            await send({"type": "http.response.body", "body": page})

        headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        await self._app({**scope, "headers": [*headers, (b"host", _HOST)]}, receive, sending)


def _rewritten(page: bytes, nonce: str) -> bytes:
    page = _ROOT.sub(lambda _: _OWN_ROOT, page)
    page = _MANIFEST.sub(_NO_ICON, page)
    return _SCRIPT.sub(b'<script nonce="%s"' % nonce.encode(), page)
