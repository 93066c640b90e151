"""`relay`: the process that sends deliveries."""

from __future__ import annotations

from typing import Annotated

import typer

from walltrack_alerts.cli.base import the_database
from walltrack_alerts.errors import AlertsError


def relay(
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help="Serve Prometheus metrics on /metrics and the state on /healthz, on this port of 127.0.0.1.",
            min=0,
            max=65535,
        ),
    ] = None,
    heartbeat_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Request this URL every minute while all is well, for a service that calls you when the requests stop. "
            "${NAME} stands for an environment variable.",
        ),
    ] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log JSON, one object per line.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log each delivery, not only those that fail.")] = False,
) -> None:
    """Deliver events to the targets, until Ctrl-C or SIGTERM: then messages in flight arrive before it ends."""
    import asyncio

    with the_database() as database:
        try:
            from walltrack_alerts.relay.process import run_relay
        except ModuleNotFoundError as error:
            raise AlertsError(f"{error.name} is missing\nInstall the extra: pip install 'walltrack-alerts[relay]'") from error
        from walltrack_alerts.relay.log import Log
        from walltrack_alerts.relay.settings import RelaySettings

        settings = RelaySettings.load(metrics_port=metrics_port, heartbeat_url=heartbeat_url)
        asyncio.run(run_relay(database, settings, Log(as_json=json_logs, verbose=verbose)))
