"""create_alerts_panel(): one gr.HTML whose script loads the modules of static/, reads snapshots and sends actions.

Queries are server functions: these are not queued, show no progress and fail silently, so the script itself can show that the
database or the server is away. Actions are events: only these know who is logged in. Untrusted text travels as JSON and is
placed with textContent; no template ever sees it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Unpack
from uuid import UUID

import gradio as gr
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import assets, view
from walltrack_alerts.ui.actions import Actions
from walltrack_alerts.ui.auth.access import Access, Person, access_of
from walltrack_alerts.ui.delivery_actions import DeliveryActions
from walltrack_alerts.ui.explorer import EXPLORER, check_explorers
from walltrack_alerts.ui.live import Hub
from walltrack_alerts.ui.options import PanelOptions
from walltrack_alerts.ui.queries import Queries, Source


def create_alerts_panel(
    service_or_dsn: AlertService | str,
    *,
    access: Access | Callable[[HTTPConnection], Person | None] | None = None,
    own_page: bool = False,
    live_key: bytes | None = None,
    elem_id: str = "alerts-panel",
    **options: Unpack[PanelOptions],
) -> gr.Blocks:
    """Make the panel, inside another app's gr.Blocks, gr.Tab, ... or to be launched or mounted by itself.

    Actions carry the name of the person `access` returns, else of the user logged in to the app, else `operator`, else the
    name given in the page. For a libpq connection string the panel makes a service of its own. A service that is given must
    not be in use on another event loop than the server's, and its pages are live only with `listen_dsn`. With `own_page` the
    panel keeps its view in the page's address, which belongs to the app around it otherwise. Server processes that serve the
    same page share a secret `live_key`. Two panels on one page need different `elem_id`s.
    """
    return build_panel(service_or_dsn, access=access, own_page=own_page, live_key=live_key, elem_id=elem_id, **options)[0]


def build_panel(
    service_or_dsn: AlertService | str,
    *,
    access: Access | Callable[[HTTPConnection], Person | None] | None,
    own_page: bool,
    live_key: bytes | None,
    elem_id: str = "alerts-panel",
    **options: Unpack[PanelOptions],
) -> tuple[gr.Blocks, Live]:
    """The panel and its live updates: without attach() these are served once a page was."""
    source = Source(service_or_dsn)
    access = access_of(access)

    def knows(request: gr.Request | None) -> bool:
        return request is not None and access.person_of(_connection(request)) is not None

    queries = Queries(source, knows)
    listen_dsn = options.get("listen_dsn") or (service_or_dsn if isinstance(service_or_dsn, str) else None)
    live = Live(listen_dsn, access, options.get("origins", ()), queries.counts, live_key)
    who = _Who(access, (options.get("operator") or "").strip())
    actions = Actions(source, who, live.ticket, live.touch, order_actions=options.get("order_actions", True))
    events = {**actions.events, **DeliveryActions(source, who).events}
    explorer = options.get("explorer")
    blocks = gr.Blocks(title="Alerts", fill_width=True)
    with blocks:
        page = gr.HTML(
            value="",
            html_template="<div></div>",  # constant: the script fills it and Gradio never touches it again
            js_on_load=assets.bootstrap(events),
            apply_default_css=False,
            elem_id=elem_id,
            server_functions=queries.functions,
            style=assets.STYLE,
            modules=assets.MODULES,
            modules_path=assets.modules_path(),
            modules_version=assets.modules_version(),
            panel_id=elem_id,
            refresh_ms=max(int(options.get("refresh_seconds", 5.0) * 1000), 200),
            own_page=own_page,
            explorer=check_explorers(EXPLORER if explorer is None else explorer),
        )
        for name, action in events.items():
            getattr(page, name)(
                action,
                outputs=page,
                queue=False,  # a click never waits for another user's
                trigger_mode="multiple",
                show_progress="hidden",
                api_visibility="private",
            )
    return blocks, live


class _Who:
    """The person behind a request; None: not logged in."""

    def __init__(self, access: Access, operator: str) -> None:
        self._access = access
        self._operator = operator

    def __call__(self, request: gr.Request) -> Person | None:
        person = self._access.person_of(_connection(request))
        if person is None or person.name:
            return person
        return Person(str(request.username or "") or self._operator, person.role)


class Live:
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
            person = access.person_of(connection)
            return None if person is None else person.name

        self._hub = Hub(listen_dsn, origins=origins, whoami=whoami, counts=counts, key=key) if listen_dsn else None
        self._access = access

    def ticket(self, request: gr.Request) -> view.Json:
        """What the page needs to connect, and where to log out."""
        person = self._access.person_of(_connection(request))
        login: view.Json = {"logout_path": self._access.logout_path}
        if self._hub is None or person is None:
            return login
        app = _connection(request).app
        assert isinstance(app, FastAPI)
        return login | {"live_path": self._hub.attach(app), "ticket": self._hub.ticket(person.name)}

    def attach(self, app: FastAPI) -> None:
        """Serve live updates in this app, also to pages of other processes before it has served one itself."""
        if self._hub is not None:
            self._hub.attach(app)

    def touch(self, alert_id: UUID) -> None:
        """Make every page read the alert again, because a change of its order writes no event."""
        if self._hub is not None:
            self._hub.touch(alert_id)


def _connection(request: gr.Request | HTTPConnection) -> HTTPConnection:
    """The request itself, which server functions get, or the one in Gradio's, which events get."""
    connection = request if isinstance(request, HTTPConnection) else request.request
    assert isinstance(connection, HTTPConnection)
    return connection
