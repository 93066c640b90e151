"""`demo`, `panel` and `panel-user ...`: the commands that serve pages, and the users who may log in."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from walltrack_alerts import passwords
from walltrack_alerts.cli.base import AsJson, configured_database, errors, examples, print_json, print_text
from walltrack_alerts.cli.values import finite
from walltrack_alerts.errors import AlertsError
from walltrack_alerts.passwords import Role
from walltrack_alerts.text import one_line

if TYPE_CHECKING:
    from walltrack_alerts.ui import PanelSettings

users = typer.Typer(
    name="panel-user",
    help="Manage the users of `panel --auth-file FILE`.",
    no_args_is_help=True,
    epilog=examples("panel-user add users ada --role operator", "panel-user list users", "panel-user remove users ada"),
)

Host = Annotated[str, typer.Option(metavar="HOST", help="The address to listen on; 127.0.0.1 serves this machine only.")]
Port = Annotated[int, typer.Option(metavar="PORT", help="The port of the panel; 0 picks a free one.", min=0, max=65535)]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the panel in the browser.")]
AuthFilePath = Annotated[Path, typer.Argument(metavar="FILE", help="The file of users.", dir_okay=False)]
UserName = Annotated[str, typer.Argument(metavar="NAME", help="The login name, which is recorded with each action of the user.")]


def demo(
    host: Host = "127.0.0.1",
    port: Port = 7860,
    pace: Annotated[
        float,
        typer.Option(metavar="NUMBER", help="The speed of the bot; 10 is ten times as fast.", min=0.1, max=100, callback=finite),
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="The seed of the bot; the same seed makes the same trades.")] = 7,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Stop after this many seconds.", min=1, callback=finite)
    ] = None,
    browser: Browser = True,
) -> None:
    """Run a demonstration: embedded PostgreSQL, a simulated bot that writes real orders, the panel in the browser."""
    from walltrack_alerts.demo import run_demo

    with errors():
        run_demo(
            print_text,
            host=host, port=port, pace=pace, seed=seed, duration=duration, open_browser=browser,
        )  # fmt: skip


def panel(
    host: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="The address to listen on; 127.0.0.1, the default, serves this machine only."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", help="The port of the panel; 0 picks a free one; default 7860.", min=0, max=65535),
    ] = None,
    auth_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A file of users with passwords; `walltrack-alerts panel-user` writes it.", dir_okay=False
        ),
    ] = None,
    trusted_header: Annotated[
        str | None, typer.Option(metavar="NAME", help="The header with the user, set by a proxy that has its own login.")
    ] = None,
    role_header: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The header with the role, set by that proxy: operator, else read-only."),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="A proxy whose headers the panel trusts, for users and client addresses; repeatable."),
    ] = None,
    root_path: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX", help="A prefix that a proxy leaves in the path, e.g. /alerts. Not needed if the proxy strips it."
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="The panel's origin in browsers, if a proxy changes the Host header; repeatable."),
    ] = None,
    order_actions: Annotated[
        bool | None,
        typer.Option(
            "--order-actions/--no-order-actions",
            help="Whether the panel offers to retry and cancel orders.",
        ),
    ] = None,
    browser: Browser = False,
) -> None:
    """Serve the web panel: live alerts with their orders, charts, and the state of deliveries.

    Without a login the panel serves this machine only, and its users are operators.
    Each option has an environment variable, e.g. WALLTRACK_PANEL_HOST.
    """
    with errors():
        from walltrack_alerts.ui import PanelSettings

        settings = PanelSettings.load(
            panel_host=host, panel_port=port, panel_auth_file=auth_file, panel_trusted_header=trusted_header,
            panel_role_header=role_header, panel_trusted_proxy=trusted_proxy, panel_root_path=root_path, panel_origins=origin,
            panel_order_actions=order_actions,
        )  # fmt: skip
    _serve(settings, open_browser=browser)


def _serve(settings: PanelSettings, *, open_browser: bool) -> None:
    """Serve the panel until Ctrl-C."""
    with errors():
        from walltrack_alerts.ui import access_from, launch_panel

        access = access_from(settings)
    with configured_database() as database:
        running = launch_panel(
            database.dsn, listen_dsn=database.listen_dsn, host=settings.panel_host, port=settings.panel_port, access=access,
            order_actions=settings.panel_order_actions, explorer=settings.explorer, root_path=settings.panel_root_path,
            origins=settings.panel_origins, open_browser=open_browser, block=False,
        )  # fmt: skip
        try:
            print_text(f"Panel on {running.url}, {access.described}. Ctrl-C stops it.")
            running.wait()
        finally:
            running.close()


@users.command("add", epilog=examples("panel-user add users ada --role operator", "panel-user add users ada --role reader --yes"))
def add_panel_user(
    file: AuthFilePath,
    name: UserName,
    role: Annotated[Role, typer.Option(metavar="ROLE", help="operator (acts on alerts and orders) or reader (read-only).")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation before replacing a password.")] = False,
) -> None:
    """Add a user, or replace the password and role of one. Reads the password from a prompt or from standard input."""
    with errors():
        if passwords.has_user(file, name) and not yes:
            if not sys.stdin.isatty():
                raise AlertsError(f"{name} is already in {file}; nothing was changed. --yes replaces the password and the role.")
            typer.confirm(f"{name} is already in {file}. Replace the password and the role?", abort=True, err=True)
        if sys.stdin.isatty():
            password = getpass.getpass("Password: ")
            if getpass.getpass("Again: ") != password:
                raise AlertsError("The passwords differ; nothing was changed.")
        else:
            password = sys.stdin.readline().rstrip("\r\n")
        is_new = passwords.add_user(file, name, role, password)
        print_text(f"{'Added' if is_new else 'Updated'} {name} in {file} as {role}; a running panel applies the change at once.")


@users.command("remove", epilog=examples("panel-user remove users ada"))
def remove_panel_user(file: AuthFilePath, name: UserName) -> None:
    """Remove a user. The panel logs the user out at the next request."""
    with errors():
        passwords.remove_user(file, name)
        print_text(f"Removed {name} from {file}.")


@users.command("list", epilog=examples("panel-user list users", "panel-user list users --json"))
def list_panel_users(file: AuthFilePath, as_json: AsJson = False) -> None:
    """List the users and their roles."""
    with errors():
        found = passwords.list_users(file)
        if as_json:
            print_json([{"name": user.name, "role": user.role} for user in found])
        else:
            for user in found:
                print_text(f"{user.role:<9} {one_line(user.name)}")
