"""`relay`: the process that sends deliveries."""

from __future__ import annotations

from typing import Annotated

import typer

from walltrack_alerts.cli.base import configured_database
from walltrack_alerts.cli.values import interval
from walltrack_alerts.errors import AlertsError


def _age(value: str) -> str:
    """An interval, or off (BadParameter)."""
    return value if value == "off" else interval(value)


def relay(
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help="Serve Prometheus metrics on /metrics and a health check on /healthz, on this port.",
            min=0,
            max=65535,
        ),
    ] = None,
    metrics_host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The address for --metrics-port; default 127.0.0.1.")
    ] = None,
    heartbeat_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Request this URL every minute while all is well, for a service that notifies you when the requests stop. "
            "${NAME} stands for an environment variable.",
        ),
    ] = None,
    purge_after: Annotated[
        str | None,
        typer.Option(
            metavar="INTERVAL",
            parser=_age,
            help="Once a day, delete alerts that were resolved this long ago; off for never. Default '365 days'.",
        ),
    ] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log JSON, one object per line.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also log successful deliveries.")] = False,
) -> None:
    """Deliver events to the targets until Ctrl-C or SIGTERM, which lets messages in flight finish.

    The relay also escalates alerts that no operator acknowledges, reconciles every hour, and purges once a day.
    """
    import asyncio

    with configured_database() as database:
        try:
            from walltrack_alerts.relay.process import run_relay
        except ModuleNotFoundError as error:
            raise AlertsError(f"{error.name} is missing\nInstall the extra: pip install 'walltrack-alerts[relay]'") from error
        from walltrack_alerts.relay.log import Log
        from walltrack_alerts.relay.settings import RelaySettings

        settings = RelaySettings.load(
            metrics_port=metrics_port, metrics_host=metrics_host, heartbeat_url=heartbeat_url, purge_after=purge_after
        )
        asyncio.run(run_relay(database, settings, Log(as_json=json_logs, verbose=verbose)))
