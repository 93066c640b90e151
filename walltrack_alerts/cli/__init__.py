"""The command `walltrack-alerts`: reads arguments, calls the package, prints. Nothing is decided here."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from walltrack_alerts.cli.alerts import alerts, orders
from walltrack_alerts.cli.listening import listen
from walltrack_alerts.cli.serving import demo, panel, users
from walltrack_alerts.cli.upkeep import doctor, migrate, purge, reconcile

app = typer.Typer(
    name="walltrack-alerts",
    help="Alerts that the database raises itself when an order has finally failed.\n\n"
    "WALLTRACK_DATABASE_URL names the database (any libpq URI); without it the embedded PostgreSQL is used, "
    "started when needed and stopped with the last command.",
    epilog="Start with `walltrack-alerts demo`.  Exit codes: 0 done, 1 failed or ill, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (demo, migrate, panel, listen, reconcile, purge, doctor):
    app.command()(command)
for group in (alerts, orders, users):
    app.add_typer(group)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("walltrack-alerts"))
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
