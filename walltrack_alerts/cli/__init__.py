"""The command `walltrack-alerts`: it reads arguments, calls the package and prints. It holds no rules."""

from __future__ import annotations

from typing import Annotated

import typer

from walltrack_alerts.cli.alerts import alerts, orders
from walltrack_alerts.cli.base import Commands, examples
from walltrack_alerts.cli.deliveries import deliveries
from walltrack_alerts.cli.escalation import escalation
from walltrack_alerts.cli.listening import listen
from walltrack_alerts.cli.relaying import relay
from walltrack_alerts.cli.serving import demo, panel, users
from walltrack_alerts.cli.silences import silences
from walltrack_alerts.cli.targets import targets
from walltrack_alerts.cli.upkeep import doctor, downgrade, migrate, purge, reconcile, unwatch, watch

app = typer.Typer(
    name="walltrack-alerts",
    cls=Commands,
    help="Alerts that the database itself raises when an order fails permanently.\n\n"
    "WALLTRACK_DATABASE_URL names the database (any libpq URI). Without it, commands use an embedded PostgreSQL, "
    "which starts with the first command and stops with the last one.\n\n"
    "Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.",
    epilog=examples(
        "demo                               try it with a simulated bot",
        "migrate                            set up your database",
        "doctor                             check whether alerting works",
        "alerts list                        list the open alerts",
        "alerts ack 4f1c2a9b                acknowledge one of them",
        "listen                             follow all events live",
        "relay                              deliver them to your targets",
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command(epilog=examples("demo", "demo --pace 5 --port 8000 --no-browser"))(demo)
app.command(epilog=examples("migrate", "migrate --json"))(migrate)
app.command(
    epilog=examples(
        "watch public.trades --dry-run",
        "watch public.trades --column attempt_count=retry_count --column max_attempts=max_retries",
        "watch public.trades --notify transaction --no-order-actions",
    )
)(watch)
app.command(epilog=examples("unwatch public.trades --dry-run", "unwatch public.trades"))(unwatch)
app.command(
    epilog=examples(
        "panel", "panel --port 0 --browser", "panel --host 0.0.0.0 --auth-file users", "panel --trusted-header X-Forwarded-User"
    )
)(panel)
app.command(
    epilog=examples(
        "listen",
        "listen --kind raised --min-severity critical",
        "listen --json --cursor-file place",
        "listen --cursor-file place --exec 'notify {alert_id}'",
    )
)(listen)
app.command(
    epilog=examples("relay", "relay --json-logs --metrics-port 9187", "relay --heartbeat-url 'https://hc-ping.com/${HC_CHECK}'")
)(relay)
app.command(epilog=examples("reconcile --dry-run", "reconcile"))(reconcile)
app.command(epilog=examples("purge --older-than '90 days' --dry-run", "purge --older-than '6 months'"))(purge)
app.command(epilog=examples("doctor", "doctor --json"))(doctor)
app.command(epilog=examples("downgrade", "downgrade --yes"))(downgrade)
for group in (alerts, orders, targets, deliveries, silences, escalation, users):
    app.add_typer(group)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("walltrack-alerts"))
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
