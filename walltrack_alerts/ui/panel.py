"""create_alerts_panel(): one gr.HTML whose page script asks for snapshots and sends what a person does.

Reading goes through server functions: they are not queued, show no progress and fail silently, so the script itself
can say that the database or the server is away. Acting goes through events: only these know who is logged in.
Whatever strangers wrote travels as JSON and is placed with textContent; no template ever sees it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from importlib import resources
from uuid import UUID

import gradio as gr
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import view
from walltrack_alerts.ui.access import Access, Person, access_of
from walltrack_alerts.ui.acting import Acting
from walltrack_alerts.ui.live import Hub
from walltrack_alerts.ui.reading import Reading, Source

EXPLORER = {"token": "https://solscan.io/token/{token}", "transaction": "https://solscan.io/tx/{transaction}"}
"""Where a token and a transaction can be looked at; only a click goes there."""

_FILES = resources.files("walltrack_alerts.ui")


def create_alerts_panel(
    service_or_dsn: AlertService | str,
    *,
    operator: str | None = None,
    listen_dsn: str | None = None,
    access: Access | Callable[[HTTPConnection], Person | None] | None = None,
    order_actions: bool = True,
    explorer: Mapping[str, str] | None = None,
    own_page: bool = False,
    origins: Collection[str] = (),
    refresh_seconds: float = 5.0,
    live_key: bytes | None = None,
    elem_id: str = "alerts-panel",
) -> gr.Blocks:
    """Make the panel, inside another app's gr.Blocks, gr.Tab, ... or to be launched or mounted by itself.

    Who acts is the person `access` tells, else the user logged in to the app, else `operator`, else the name asked for in the
    page. For a libpq connection string the panel makes a service of its own; one that is given must not be in use on another
    event loop than the server's, and only with `listen_dsn`, a direct connection, the page is live: otherwise it reads every
    `refresh_seconds`. `explorer` replaces EXPLORER; {} shows no links. With `own_page` the panel keeps its view in the page's
    address, which belongs to the app around it otherwise. `origins` are further ones whose pages may connect. Server
    processes that serve the same page share a secret `live_key`. Two panels on one page need different `elem_id`s.
    """
    source = Source(service_or_dsn)
    access = access_of(access)

    def knows(request: gr.Request | None) -> bool:
        return request is not None and access.who(_connection(request)) is not None

    reading = Reading(source, knows)
    listen_dsn = listen_dsn or (service_or_dsn if isinstance(service_or_dsn, str) else None)
    live = _Live(listen_dsn, access, origins, reading.counts, live_key)
    acting = Acting(source, _Who(access, (operator or "").strip()), live.ticket, live.touch, order_actions=order_actions)
    blocks = gr.Blocks(title="Alerts", fill_width=True)
    with blocks:
        page = gr.HTML(
            value="",
            html_template="<div></div>",  # constant: the script fills it and Gradio never touches it again
            js_on_load=_script(),
            apply_default_css=False,
            elem_id=elem_id,
            server_functions=reading.functions,
            style="".join((_FILES / name).read_text(encoding="utf-8") for name in ("panel.css", "charts.css", "alarm.css")),
            panel_id=elem_id,
            refresh_ms=max(int(refresh_seconds * 1000), 200),
            own_page=own_page,
            explorer=_checked(EXPLORER if explorer is None else explorer),
        )
        for event, action in (
            (page.identify, acting.identify),
            (page.acknowledge, acting.acknowledge),
            (page.resolve, acting.resolve),
            (page.snooze, acting.snooze),
            (page.retry, acting.retry),
            (page.cancel, acting.cancel),
        ):
            event(
                action,
                outputs=page,
                queue=False,  # a click never waits for somebody else's
                trigger_mode="multiple",
                show_progress="hidden",
                api_visibility="private",
            )
    return blocks


class _Who:
    """Tells who a request is from; None: nobody who is logged in."""

    def __init__(self, access: Access, operator: str) -> None:
        self._access = access
        self._operator = operator

    def __call__(self, request: gr.Request) -> Person | None:
        person = self._access.who(_connection(request))
        if person is None or person.name:
            return person
        return Person(str(request.username or "") or self._operator, person.role)


class _Live:
    """The hub of a panel, if there is a database to listen to."""

    def __init__(
        self,
        listen_dsn: str | None,
        access: Access,
        origins: Collection[str],
        counts: Callable[[], Awaitable[view.Json]],
        key: bytes | None,
    ) -> None:
        def whoami(connection: HTTPConnection) -> str | None:
            person = access.who(connection)
            return None if person is None else person.name

        self._hub = Hub(listen_dsn, origins=origins, whoami=whoami, counts=counts, key=key) if listen_dsn else None
        self._access = access

    def ticket(self, request: gr.Request) -> view.Json:
        """What the page needs to connect, and where to log out."""
        person = self._access.who(_connection(request))
        login: view.Json = {"logout_path": self._access.logout_path}
        if self._hub is None or person is None:
            return login
        app = _connection(request).app
        assert isinstance(app, FastAPI)
        return login | {"live_path": self._hub.attach(app), "ticket": self._hub.ticket(person.name)}

    def touch(self, alert_id: UUID) -> None:
        """Every page looks at the alert again: its order has changed, which is no event."""
        if self._hub is not None:
            self._hub.touch(alert_id)


def _connection(request: gr.Request | HTTPConnection) -> HTTPConnection:
    """The request itself, which server functions get, or the one in Gradio's, which events get."""
    connection = request if isinstance(request, HTTPConnection) else request.request
    assert isinstance(connection, HTTPConnection)
    return connection


def _script() -> str:
    """The files of js/ as one function body, in the order of their names."""
    pieces = [file for file in (_FILES / "js").iterdir() if file.name.endswith(".js")]
    return "".join(file.read_text(encoding="utf-8") for file in sorted(pieces, key=lambda file: file.name))


def _checked(explorer: Mapping[str, str]) -> dict[str, str]:
    """Templates that can only lead to a web page (ValueError)."""
    for name, template in explorer.items():
        if name not in EXPLORER or not re.fullmatch(rf"https?://[^\s{{}}]+\{{{name}\}}[^\s{{}}]*", template):
            raise ValueError(f"explorer: {name!r}: {template!r} is no address like {EXPLORER.get(name, EXPLORER)!r}")
    return dict(explorer)
