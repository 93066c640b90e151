"""`targets ...`: where alerts are delivered to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from walltrack_alerts.cli.alerts import By
from walltrack_alerts.cli.base import (
    AsJson,
    confirm,
    err,
    errors,
    examples,
    print_facts,
    print_json,
    print_line,
    print_text,
    run_query,
)
from walltrack_alerts.cli.tables import Column, age, print_rows
from walltrack_alerts.cli.target_options import TargetOptions, with_target_options
from walltrack_alerts.cli.values import past_time, words
from walltrack_alerts.errors import PermissionDeniedError, UsageError
from walltrack_alerts.text import counted, format_local, one_line

if TYPE_CHECKING:
    from walltrack_alerts.service import AlertService
    from walltrack_alerts.targets import TargetState

targets = typer.Typer(
    name="targets",
    help="Manage the targets of the relay: webhooks, Telegram chats, Apprise services, a terminal.",
    no_args_is_help=True,
    epilog=examples(
        "targets add ops --webhook https://example.com/hooks/alerts --secret '${WT_SECRET}'",
        "targets list",
        "targets test ops",
        "targets set ops --webhook https://new.example.com/hooks/alerts",
        "targets disable ops --reason 'moving house'",
        "targets remove ops",
    ),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the target.")]
FILTERS = ("kinds", "order-types", "tokens", "alert-types", "quiet")
"""The filters that `set --clear` removes; the other ones have a value that means all, such as `--step 0`."""

Since = Annotated[
    datetime | None,
    typer.Option(
        parser=past_time,
        metavar="TIME",
        help="Deliver the events from this time on, e.g. 18:00 or 2026-01-31T09:00; default: only new events.",
    ),
]


@targets.command(
    epilog=examples(
        "targets add ops --webhook https://example.com/hooks/alerts --secret '${WT_SECRET}'",
        "targets add local --webhook http://127.0.0.1:9000/ --secret '${NEW}' --secret '${OLD}' --allow-private",
        "targets add phone --telegram -1001234 --token '${TG_TOKEN}' --allow 12345=ada --allow 678=bob",
        "targets add push --apprise 'ntfy://${NTFY_TOKEN}@ntfy.example.com/alerts' --min-severity high",
        "targets add night --apprise 'pover://${PO_USER}@${PO_TOKEN}' --step 1 --min-severity critical",
        "targets add screen --terminal --kinds raised,resolved --simulated",
    )
)
@with_target_options
def add(name: Name, by: By, given: TargetOptions, since: Since = None, as_json: AsJson = False) -> None:
    """Add a target: one of --webhook, --telegram, --apprise and --terminal. By default it gets all but simulated orders.

    Secrets stay in the environment of the relay: give a placeholder for the
    variable, '${NAME}' in single quotes. A URL may contain placeholders, too.
    """
    from walltrack_alerts.targets import add_target

    with errors():
        kind = given.kind
        config = given.config(kind)

    async def query(service: AlertService) -> TargetState:
        _check_apprise_url(kind, config)
        return await add_target(service, name, kind, config, given.filters, since, by)

    _print_target(run_query(query), as_json, "added; the relay delivers to it from now on" if since is None else "added")
    if not as_json:
        _print_variables(config)
        if kind == "webhook" and not config.get("secrets"):
            print_text("Its requests are not signed: without --secret, the receiver cannot distinguish them from forged ones.")


@targets.command(
    "set",
    epilog=examples(
        "targets set ops --webhook https://new.example.com/hooks/alerts",
        "targets set ops --secret '${WT_NEXT_SECRET}' --secret '${WT_SECRET}'",
        "targets set phone --allow 12345=ada --allow 90=eve --quiet '22:00-07:00 Europe/Berlin'",
        "targets set phone --clear quiet,tokens",
    ),
)
@with_target_options
def set_options(
    name: Name,
    by: By,
    given: TargetOptions,
    clear: Annotated[
        str | None, typer.Option(metavar="LIST", help=f"Remove these filters (a list with commas): {', '.join(FILTERS)}.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a target; settings that are not given stay. Pending deliveries stay, and failed ones are retried at once.

    --secret and --allow replace the whole list. The name and the kind of a target cannot change.
    """
    from walltrack_alerts.targets import set_target, target_state

    with errors():
        filters = {**dict.fromkeys(_cleared(clear)), **given.filters}

    async def query(service: AlertService) -> tuple[TargetState, dict[str, Any]]:
        target = await target_state(service, name)
        config = given.config(target.kind)
        if not (config or filters):
            raise UsageError("nothing to change\n`walltrack-alerts targets set --help` shows the options.")
        _check_apprise_url(target.kind, config)
        return await set_target(service, target, config, filters, by), config

    target, config = run_query(query)
    _print_target(target, as_json, "changed")
    if not as_json:
        _print_variables(config)


def _check_apprise_url(kind: str, config: Mapping[str, Any]) -> None:
    """Check a URL for Apprise, if the extra is installed (InvalidTargetError)."""
    if kind == "apprise" and "url" in config:
        with suppress(ImportError):
            from walltrack_alerts.relay.channels.apprise import check_url

            check_url(config["url"])


def _cleared(value: str | None) -> list[str]:
    """The keys of the filters in a list (UsageError)."""
    names = [] if value is None else words(value)
    if unknown := [name for name in names if name not in FILTERS]:
        raise UsageError(f"unknown filter {unknown[0]!r}\nUse {', '.join(FILTERS)}.")
    return [name.replace("-", "_") for name in names]


def _print_variables(config: dict[str, Any]) -> None:
    """Name the variables that a target needs, and which of them are not set here."""
    from walltrack_alerts.relay.placeholders import missing_variables, variables

    if needed := variables(config):
        missing = missing_variables(config, os.environ)
        note = f"; {', '.join(missing)} not set in this terminal" if missing else ""
        print_text(f"The relay needs {', '.join(needed)} in its environment{note}.")


@targets.command("list", epilog=examples("targets list", "targets list --json | jq -r 'select(.dead > 0) | .name'"))
def list_targets(as_json: AsJson = False) -> None:
    """List the targets and the state of their deliveries.

    'failing' means that the last attempt failed, 'off' that the target is disabled; 'sent' is the time since the last success.
    """
    from walltrack_alerts.targets import target_states

    found = run_query(target_states)
    if as_json:
        for target in found:
            print_json(target)
    elif not found:
        err.print("No targets. `walltrack-alerts targets add --help` shows how to add one.", soft_wrap=True)
    else:
        columns = (
            Column("name", 16), Column("kind"), Column("state"), Column("pending", justify="right"),
            Column("dead", justify="right"), Column("sent", justify="right"), Column("note"),
        )  # fmt: skip
        print_rows(
            columns,
            [(t.name, t.kind, _state(t), t.pending, t.dead, age(t.last_success_at), _note(t)) for t in found],
        )


def _state(target: TargetState) -> str:
    return "off" if not target.is_enabled else "failing" if target.is_failing else "on"


def _note(target: TargetState) -> str | None:
    """Why a target is off or failing, else its address."""
    if not target.is_enabled:
        return target.disabled_reason
    return target.last_response if target.is_failing else target.address


@targets.command(epilog=examples("targets show ops", "targets show ops --json"))
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one target: its settings with placeholders, its filters, its state."""
    from walltrack_alerts.targets import target_config, target_state

    async def query(service: AlertService) -> tuple[TargetState, dict[str, Any] | None]:
        target = await target_state(service, name)
        try:
            return target, await target_config(service, target.target_id)
        except PermissionDeniedError:  # only the schema owner and the relay may read the settings
            return target, None

    target, config = run_query(query)
    if as_json:
        print_json({**target.model_dump(mode="json"), "config": config})
    else:
        print_facts(_facts(target, config))


def _facts(target: TargetState, config: dict[str, Any] | None) -> Iterator[tuple[str, object]]:
    yield "name", target.name
    yield "kind", target.kind
    yield "state", _state(target)
    yield "disabled", target.disabled_reason
    if config is None:
        yield "address", target.address
    else:
        yield from ((key.replace("_", " "), _text(value)) for key, value in config.items())
    yield "min severity", target.min_severity
    yield "events", ", ".join(target.kinds) if target.kinds else "all"
    yield "order types", _text(target.order_types)
    yield "tokens", _text(target.tokens)
    yield "alert types", _text(target.alert_types)
    yield "simulated", _text(target.include_simulated)
    yield "quiet hours", target.quiet_hours
    yield "step", target.step
    yield "added", f"by {target.created_by or 'unknown'}, {format_local(target.created_at)}"
    yield "changed", f"by {target.changed_by}, {format_local(target.changed_at)}" if target.changed_at else None
    yield "pending", target.pending
    yield "dead", target.dead
    yield "unread events", target.unread
    yield "last success", format_local(target.last_success_at) if target.last_success_at else "never"
    yield "last failure", format_local(target.last_failure_at) if target.last_failure_at else None
    yield "last response", target.last_response


def _text(value: object) -> str | None:
    """A setting for people."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or None
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    return json.dumps(value)


@targets.command("test", epilog=examples("targets test ops", "targets test ops --json"))
def send_test(name: Name, as_json: AsJson = False) -> None:
    """Send a test event to a target from this process, and show the response. Exit code 1 if it is not delivered.

    Filters do not apply. The variables of the target must be set here. The event is not recorded in the database.
    """
    from walltrack_alerts.relay.settings import RelaySettings
    from walltrack_alerts.relay.trial import send_trial

    with errors():
        panel_url = RelaySettings.load().panel_url
    trial = run_query(lambda service: send_trial(service, name, panel_url=panel_url, write=print_line))
    if as_json:
        print_json(
            {
                "target": name,
                "outcome": trial.outcome,
                "status": trial.status,
                "response": trial.response,
                "seconds": trial.seconds,
            }
        )
    else:
        status = f" with status {trial.status}" if trial.status is not None else ""
        if trial.is_delivered:
            print_text(f"{name} has received the test event{status} after {trial.seconds:.2f} s.")
        else:
            print_text(f"{name} has not received the test event: it failed{status} after {trial.seconds:.2f} s.")
        if trial.response:
            print_text(Text.assemble(("Response: ", "dim"), one_line(trial.response)))
    if not trial.is_delivered:
        raise typer.Exit(1)


@targets.command(epilog=examples("targets disable ops --reason 'moving house'"))
def disable(
    name: Name,
    by: By,
    reason: Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="The reason, which `targets list` shows.")],
    as_json: AsJson = False,
) -> None:
    """Pause a target until it is enabled. Its pending deliveries stay."""
    from walltrack_alerts.targets import disable_target

    _print_target(run_query(lambda service: disable_target(service, name, reason, by)), as_json, "disabled")


@targets.command(epilog=examples("targets enable ops", "targets enable ops --since 2026-01-31T09:00"))
def enable(name: Name, since: Since = None, as_json: AsJson = False) -> None:
    """Resume a target: deliver its pending deliveries, and events from now on or from a given time on."""
    from walltrack_alerts.targets import enable_target

    _print_target(run_query(lambda service: enable_target(service, name, since)), as_json, "enabled")


@targets.command(epilog=examples("targets remove ops --dry-run", "targets remove ops", "targets remove ops --yes"))
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a target with its deliveries, including pending ones. `targets disable` keeps them."""
    from walltrack_alerts.targets import remove_target, target_state

    target = run_query(lambda service: target_state(service, name))
    waiting = f"{counted(target.pending, 'pending delivery', 'pending deliveries')} and {counted(target.dead, 'dead letter')}"
    if not dry_run:
        if not yes:
            with errors():
                confirm(f"Remove {target.kind} target {target.name} with {waiting}? It cannot be undone.")
        run_query(lambda service: remove_target(service, target.name), quiet=True)
    if as_json:
        print_json({**target.model_dump(mode="json"), "dry_run": dry_run})
    else:
        print_text(f"{target.name} {'would be ' if dry_run else ''}removed with {waiting}.")


def _print_target(target: TargetState, as_json: bool, done: str) -> None:
    if as_json:
        print_json(target)
    else:
        print_text(f"{target.name} ({target.kind}{f', {target.address}' if target.address else ''}): {done}.")
