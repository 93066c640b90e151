"""`targets ...`: where alerts are delivered to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from walltrack_alerts.cli.alerts import By
from walltrack_alerts.cli.base import (
    AsJson,
    ask,
    confirm,
    err,
    errors,
    examples,
    print_facts,
    print_json,
    print_line,
    say,
)
from walltrack_alerts.cli.tables import Column, age, print_rows
from walltrack_alerts.cli.values import allowed_user, interval, past_time, placeholder, quiet_hours, words
from walltrack_alerts.enums import AlertSeverity, EventKind
from walltrack_alerts.errors import PermissionDeniedError, UsageError
from walltrack_alerts.text import format_local, one_line

if TYPE_CHECKING:
    from walltrack_alerts.relay.targets import TargetState
    from walltrack_alerts.service import AlertService

targets = typer.Typer(
    name="targets",
    help="Manage the targets that the relay delivers alerts to: webhooks, Telegram chats, any service of Apprise, a terminal.",
    no_args_is_help=True,
    epilog=examples(
        "targets add ops --webhook https://example.com/hooks/alerts --secret '${WT_SECRET}'",
        "targets list",
        "targets test ops",
        "targets disable ops --reason 'moving house'",
        "targets remove ops",
    ),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the target.")]
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
def add(
    name: Name,
    by: By,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="A webhook: each event is posted to this URL, signed by Standard Webhooks.")
    ] = None,
    telegram: Annotated[
        str | None, typer.Option(metavar="CHAT", help="A Telegram chat by its id: a message per alert, with buttons.")
    ] = None,
    apprise: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A service of Apprise by its URL: ntfy, Slack, Discord, mail and many more."),
    ] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="One line per event in the terminal of the relay.")] = False,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            parser=placeholder,
            metavar="'${NAME}'",
            help="Webhook: the variable with the signing secret, whsec_ and base64; repeat it to replace a secret.",
        ),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Webhook: allow addresses of this machine and of private networks.")
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(parser=placeholder, metavar="'${NAME}'", help="Telegram: the variable with the bot's token."),
    ] = None,
    api_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Telegram: another server of the Bot API than https://api.telegram.org.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            parser=allowed_user,
            metavar="ID=NAME",
            help="Telegram: the id of a user who may press buttons, and the operator that the user is; repeatable.",
        ),
    ] = None,
    min_severity: Annotated[
        AlertSeverity | None, typer.Option(metavar="SEVERITY", help=f"Only this severity or worse: {', '.join(AlertSeverity)}.")
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(parser=words, metavar="LIST", help=f"Only these kinds of events, with commas: {', '.join(EventKind)}."),
    ] = None,
    order_types: Annotated[
        str | None,
        typer.Option(parser=words, metavar="LIST", help="Only alerts of orders of these types, with commas, e.g. exit."),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(parser=words, metavar="LIST", help="Only alerts of these tokens, by symbol or address, with commas."),
    ] = None,
    alert_types: Annotated[
        str | None,
        typer.Option(
            parser=words, metavar="LIST", help="Only alerts of these types, with commas, e.g. order_failed_permanently."
        ),
    ] = None,
    simulated: Annotated[bool, typer.Option("--simulated", help="Alerts of simulated orders, too.")] = False,
    step: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", help="Only alerts that have escalated to this step, see `escalation list`; 0 means all.", min=0
        ),
    ] = None,
    quiet: Annotated[
        str | None,
        typer.Option(
            parser=quiet_hours,
            metavar="'HOURS ZONE'",
            help="Hold back everything that is not critical, e.g. '22:00-07:00 Europe/Berlin'.",
        ),
    ] = None,
    min_gap: Annotated[
        str | None,
        typer.Option(parser=interval, metavar="INTERVAL", help="Chats: the shortest time between two messages; default 3 s."),
    ] = None,
    digest_every: Annotated[
        str | None,
        typer.Option(
            parser=interval,
            metavar="INTERVAL",
            help="Chats: in a storm, one summary in this time; default 30 s.",
        ),
    ] = None,
    since: Since = None,
    as_json: AsJson = False,
) -> None:
    """Add a target: one of --webhook, --telegram, --apprise and --terminal. Without filters it gets all but simulated orders.

    Secrets stay in the environment of the relay: name their variable by a
    placeholder, '${NAME}' in single quotes. A URL may contain placeholders, too.
    """
    from walltrack_alerts.relay.targets import add_target

    with errors():
        kind, config = _channel(
            {"webhook": webhook, "telegram": telegram, "apprise": apprise, "terminal": terminal or None},
            {"secret": secret, "allow-private": allow_private, "token": token, "api-url": api_url, "allow": allow},
        )
    filters = {
        "min_severity": min_severity, "kinds": kinds, "order_types": order_types, "tokens": tokens,
        "alert_types": alert_types, "include_simulated": simulated or None, "step": step, "quiet": quiet,
        "min_gap": min_gap, "digest_every": digest_every,
    }  # fmt: skip
    given = {filter_name: value for filter_name, value in filters.items() if value is not None}

    async def query(service: AlertService) -> TargetState:
        return await add_target(service, name, kind, config, given, since, by)

    _print_target(ask(query), as_json, "added; the relay delivers to it from now on" if since is None else "added")
    if not as_json:
        _say_variables(config)
        if kind == "webhook" and not config["secrets"]:
            say("Its requests are not signed: without --secret the receiver cannot tell them from forged ones.")


_OPTIONS = {
    "webhook": {"secret", "allow-private"},
    "telegram": {"token", "api-url", "allow"},
    "apprise": set[str](),
    "terminal": set[str](),
}
"""The options that go with each kind of target."""


def _channel(kinds: dict[str, Any], options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of a target and its settings (UsageError unless exactly one kind is given, with its own options)."""
    given = [kind for kind, value in kinds.items() if value is not None]
    if len(given) != 1:
        chosen = " and ".join(f"--{kind}" for kind in given) or "no kind of target"
        raise UsageError(f"{chosen}\nGive one of --webhook, --telegram, --apprise and --terminal.")
    kind = given[0]
    for option, value in options.items():
        if value and option not in _OPTIONS[kind]:
            owner = next(each for each, own in _OPTIONS.items() if option in own)
            raise UsageError(f"--{option} goes with --{owner}, not with --{kind}")
    address = kinds[kind]
    match kind:
        case "webhook":
            return kind, {"url": address, "secrets": options["secret"] or [], "allow_private": options["allow-private"]}
        case "telegram":
            token, api_url, allowed = options["token"], options["api-url"], dict(options["allow"] or ())
            settings = {"chat": address, "token": token, "api_url": api_url, "allow": allowed}
            return kind, {key: value for key, value in settings.items() if value}
        case "apprise":
            return kind, {"url": address}
    return kind, {}


def _say_variables(config: dict[str, Any]) -> None:
    """Name the variables that a target needs, and which of them are not set here."""
    from walltrack_alerts.relay.placeholders import missing_variables, variables

    if needed := variables(config):
        missing = missing_variables(config, os.environ)
        note = f"; {', '.join(missing)} not set in this terminal" if missing else ""
        say(f"The relay needs {', '.join(needed)} in its environment{note}.")


@targets.command("list", epilog=examples("targets list", "targets list --json | jq -r 'select(.dead > 0) | .name'"))
def list_targets(as_json: AsJson = False) -> None:
    """List the targets and the state of their deliveries.

    'failing' means that the last attempt failed, 'off' that the target is disabled; 'sent' is the time since the last success.
    """
    from walltrack_alerts.relay.targets import target_states

    found = ask(target_states)
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
    return target.last_answer if target.is_failing else target.address


@targets.command(epilog=examples("targets show ops", "targets show ops --json"))
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one target: its settings with placeholders, its filters, its state."""
    from walltrack_alerts.relay.targets import target_config, target_state

    async def query(service: AlertService) -> tuple[TargetState, dict[str, Any] | None]:
        target = await target_state(service, name)
        try:
            return target, await target_config(service, target.target_id)
        except PermissionDeniedError:  # only the owner of alerting and the relay may read the settings
            return target, None

    target, config = ask(query)
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
    yield "pending", target.pending
    yield "dead", target.dead
    yield "unread events", target.unread
    yield "last success", format_local(target.last_success_at) if target.last_success_at else "never"
    yield "last failure", format_local(target.last_failure_at) if target.last_failure_at else None
    yield "last answer", target.last_answer


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
    """Send a test event to a target from this process and show the answer. Exit code 1 if it does not arrive.

    Filters do not apply. The variables that the target names must be set here. The event leaves no trace in the database.
    """
    from walltrack_alerts.relay.settings import RelaySettings
    from walltrack_alerts.relay.trial import send_trial

    with errors():
        panel_url = RelaySettings.load().panel_url
    trial = ask(lambda service: send_trial(service, name, panel_url=panel_url, write=print_line))
    if as_json:
        print_json(
            {"target": name, "outcome": trial.outcome, "status": trial.status, "answer": trial.answer, "seconds": trial.seconds}
        )
    else:
        status = f" with status {trial.status}" if trial.status is not None else ""
        if trial.is_delivered:
            say(f"{name} has received the test event{status} after {trial.seconds:.2f} s.")
        else:
            say(f"{name} has not received the test event: it failed{status} after {trial.seconds:.2f} s.")
        if trial.answer:
            say(Text.assemble(("Answer: ", "dim"), one_line(trial.answer)))
    if not trial.is_delivered:
        raise typer.Exit(1)


@targets.command(epilog=examples("targets disable ops --reason 'moving house'"))
def disable(
    name: Name,
    by: By,
    reason: Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="The reason, which the list shows.")],
    as_json: AsJson = False,
) -> None:
    """Deliver nothing to a target until it is enabled. Deliveries that wait for it stay."""
    from walltrack_alerts.relay.targets import disable_target

    _print_target(ask(lambda service: disable_target(service, name, reason, by)), as_json, "disabled")


@targets.command(epilog=examples("targets enable ops", "targets enable ops --since 2026-01-31T09:00"))
def enable(name: Name, since: Since = None, as_json: AsJson = False) -> None:
    """Deliver to a target again: what waited for it, and the events from now on or from a given time on."""
    from walltrack_alerts.relay.targets import enable_target

    _print_target(ask(lambda service: enable_target(service, name, since)), as_json, "enabled")


@targets.command(epilog=examples("targets remove ops --dry-run", "targets remove ops", "targets remove ops --yes"))
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a target with its deliveries, those that still wait included. `targets disable` keeps them."""
    from walltrack_alerts.relay.targets import remove_target, target_state

    target = ask(lambda service: target_state(service, name))
    waiting = f"{target.pending} pending and {target.dead} dead deliveries"
    if not dry_run:
        if not yes:
            with errors():
                confirm(f"Remove {target.kind} target {target.name} with {waiting}? It cannot be undone.")
        ask(lambda service: remove_target(service, target.name), quiet=True)
    if as_json:
        print_json({**target.model_dump(mode="json"), "dry_run": dry_run})
    else:
        say(f"{target.name} {'would be ' if dry_run else ''}removed with {waiting}.")


def _print_target(target: TargetState, as_json: bool, done: str) -> None:
    if as_json:
        print_json(target)
    else:
        say(f"{target.name} ({target.kind}{f', {target.address}' if target.address else ''}): {done}.")
