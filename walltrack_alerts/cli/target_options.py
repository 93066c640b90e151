"""The options of `targets add` and `targets set`: what a target is, and which events it gets."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from walltrack_alerts.cli.values import allowed_user, interval, placeholder, quiet_hours, words
from walltrack_alerts.enums import AlertSeverity, EventKind
from walltrack_alerts.errors import UsageError


@dataclass(frozen=True)
class TargetOptions:
    """The options that were given on the command line; None for the others."""

    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A webhook: each event is posted to this URL, signed (Standard Webhooks)."),
    ] = None
    telegram: Annotated[
        str | None, typer.Option(metavar="CHAT", help="A Telegram chat, by its id: one message per alert, with buttons.")
    ] = None
    apprise: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An Apprise URL: Slack, Discord, ntfy, mail and many more."),
    ] = None
    terminal: Annotated[bool, typer.Option("--terminal", help="One line per event in the terminal of the relay.")] = False
    secret: Annotated[
        list[str] | None,
        typer.Option(
            parser=placeholder,
            metavar="'${NAME}'",
            help="Webhook: the variable with the signing secret (whsec_ and base64); repeatable, to rotate secrets.",
        ),
    ] = None
    allow_private: Annotated[
        bool | None,
        typer.Option(
            "--allow-private/--no-allow-private",
            help="Webhook: allow addresses of this machine and of private networks.",
            show_default=False,
        ),
    ] = None
    token: Annotated[
        str | None,
        typer.Option(parser=placeholder, metavar="'${NAME}'", help="Telegram: the variable with the bot's token."),
    ] = None
    api_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Telegram: the Bot API server; default https://api.telegram.org.")
    ] = None
    allow: Annotated[
        list[str] | None,
        typer.Option(
            parser=allowed_user,
            metavar="ID=NAME",
            help="Telegram: a user who may press buttons, and the operator name that is recorded; repeatable.",
        ),
    ] = None
    min_severity: Annotated[
        AlertSeverity | None, typer.Option(metavar="SEVERITY", help=f"Only this severity or worse: {', '.join(AlertSeverity)}.")
    ] = None
    kinds: Annotated[
        str | None,
        typer.Option(
            parser=words, metavar="LIST", help=f"Only these kinds of event (a list with commas): {', '.join(EventKind)}."
        ),
    ] = None
    order_types: Annotated[
        str | None,
        typer.Option(parser=words, metavar="LIST", help="Only alerts of these order types (a list with commas), e.g. exit."),
    ] = None
    tokens: Annotated[
        str | None,
        typer.Option(
            parser=words, metavar="LIST", help="Only alerts of these tokens, by symbol or address (a list with commas)."
        ),
    ] = None
    alert_types: Annotated[
        str | None,
        typer.Option(
            parser=words, metavar="LIST", help="Only alerts of these types (a list with commas), e.g. order_failed_permanently."
        ),
    ] = None
    simulated: Annotated[
        bool | None, typer.Option("--simulated/--no-simulated", help="Include alerts of simulated orders.", show_default=False)
    ] = None
    step: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", help="Only alerts that were escalated to this step, see `escalation list`; 0 means all.", min=0
        ),
    ] = None
    quiet: Annotated[
        str | None,
        typer.Option(
            parser=quiet_hours,
            metavar="'HOURS ZONE'",
            help="Quiet hours: deliver only critical events, and the others afterwards, e.g. '22:00-07:00 Europe/Berlin'.",
        ),
    ] = None
    min_gap: Annotated[
        str | None,
        typer.Option(parser=interval, metavar="INTERVAL", help="Chats: the shortest time between two messages; default 3 s."),
    ] = None
    digest_every: Annotated[
        str | None,
        typer.Option(
            parser=interval,
            metavar="INTERVAL",
            help="Chats: the shortest time between two digests in an alert storm; default 30 s.",
        ),
    ] = None

    @property
    def filters(self) -> dict[str, Any]:
        """The filters that were given, as add_target() takes them."""
        filters = {
            "min_severity": self.min_severity, "kinds": self.kinds, "order_types": self.order_types,
            "tokens": self.tokens, "alert_types": self.alert_types, "include_simulated": self.simulated,
            "step": self.step, "quiet": self.quiet, "min_gap": self.min_gap, "digest_every": self.digest_every,
        }  # fmt: skip
        return {name: value for name, value in filters.items() if value is not None}

    @property
    def given_kinds(self) -> dict[str, str]:
        """The kinds of target that were given, and their addresses; a terminal has none."""
        kinds = {"webhook": self.webhook, "telegram": self.telegram, "apprise": self.apprise}
        given = {kind: address for kind, address in kinds.items() if address is not None}
        return {**given, "terminal": ""} if self.terminal else given

    @property
    def kind(self) -> str:
        """The kind of a new target (UsageError unless exactly one is given)."""
        if len(self.given_kinds) != 1:
            chosen = " and ".join(f"--{kind}" for kind in self.given_kinds) or "no kind of target"
            raise UsageError(f"{chosen}\nGive one of --webhook, --telegram, --apprise and --terminal.")
        return next(iter(self.given_kinds))

    def config(self, kind: str) -> dict[str, Any]:
        """The settings that were given for a target of a kind (UsageError for those of other kinds)."""
        for other in self.given_kinds:
            if other != kind:
                raise UsageError(f"--{other}: the target is of kind {kind}, and the kind cannot change\nAdd another target.")
        options: dict[str, object] = {
            "secret": self.secret or None, "allow-private": self.allow_private, "token": self.token, "api-url": self.api_url,
            "allow": dict(self.allow) if self.allow else None,  # type: ignore[arg-type]  # pairs, by allowed_user()
        }  # fmt: skip
        for option, value in options.items():
            if value is not None and option not in _KEYS[kind]:
                owner = next(each for each, own in _KEYS.items() if option in own)
                raise UsageError(f"--{option} is an option of --{owner}, not of --{kind}")
        settings = {key: options.get(option, self.given_kinds.get(option)) for option, key in _KEYS[kind].items()}
        return {key: value for key, value in settings.items() if value is not None}


_KEYS: dict[str, dict[str, str]] = {
    "webhook": {"webhook": "url", "secret": "secrets", "allow-private": "allow_private"},
    "telegram": {"telegram": "chat", "token": "token", "api-url": "api_url", "allow": "allow"},
    "apprise": {"apprise": "url"},
    "terminal": {},
}
"""The options that go with each kind of target, and their keys in its configuration."""


def with_target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all fields of TargetOptions as options, in place of its parameter `given`."""
    hints = get_type_hints(TargetOptions, include_extras=True)
    options = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(TargetOptions)
    ]
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        parameters += options if parameter.name == "given" else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]

    @wraps(command)
    def run(**values: Any) -> None:  # noqa: ANN401 - the values of any option
        given = TargetOptions(**{option.name: values.pop(option.name) for option in options})
        command(given=given, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
