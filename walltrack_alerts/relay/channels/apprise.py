"""Apprise: mail, push, and many chat services. Every service gets plain text, which is inert in all of them.

Apprise blocks, so it runs in threads. Its own retries and its throttle are off: the database decides when to try again. A timeout
means that Apprise has stopped waiting; the message may arrive later and is sent again, at least once.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from walltrack_alerts.errors import AlertsError, InvalidTargetError
from walltrack_alerts.relay.channels import Claim, Context, Outcome, Result, Target
from walltrack_alerts.relay.messages import Message, alert_message, digest_message
from walltrack_alerts.relay.placeholders import PLACEHOLDER, resolve, variables

if TYPE_CHECKING:
    from apprise import AppriseAsset, AppriseResult

_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*(?=@)")
_NOT_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FILLED = "WALLTRACKPLACEHOLDER"  # stands for the value of a variable where Apprise parses a URL
_SECONDS = 20.0  # for one attempt; below LONGEST_ATTEMPT of the relay
_TYPES = {"critical": "failure", "high": "warning", "warning": "warning"}


class AppriseChannel:
    """Sends the messages of one target."""

    def __init__(self, target: Target, context: Context) -> None:
        self._panel_url = context.panel_url
        self._url = _resolve(target.config["url"], context.environ).strip()

    async def send(self, claim: Claim) -> Result:
        """Send a message; updates are messages of their own (AlertsError)."""
        now = datetime.now(UTC)
        if claim.item is not None:
            message, kind = alert_message(claim.item, self._panel_url, now), _type(claim.item["alert"])
        else:
            assert claim.digest is not None
            message, kind = digest_message(claim.digest, self._panel_url, now), _type_of_digest(claim.digest)
        return await asyncio.get_running_loop().run_in_executor(_threads(), _notify, self._url, message, kind)


def open_channel(target: Target, context: Context) -> AppriseChannel:
    """The channel of a target of kind apprise (MissingVariableError)."""
    return AppriseChannel(target, context)


def check_url(url: str) -> None:
    """Refuse a URL that Apprise cannot use, or with secrets in it (InvalidTargetError; ImportError without Apprise)."""
    if not is_known_service(url):
        raise InvalidTargetError(
            f"Apprise has no service {url.partition(':')[0]!r}; nothing was changed\n"
            "https://github.com/caronc/apprise/wiki lists the URLs of all services."
        )
    if found := literal_secrets(url):
        raise InvalidTargetError(
            f"the URL holds a secret ({', '.join(found)}), which would be stored in the database; nothing was changed\n"
            "Put it into an environment variable of the relay, and write '${NAME}' in its place."
        )


def is_known_service(url: str) -> bool:
    """Whether Apprise has the service that a URL begins with; true if a placeholder hides it, or if it is not a URL."""
    from apprise.manager_plugins import NotificationManager

    scheme, separator, _ = url.strip().lower().partition("://")
    # The web address that Slack, Discord and others hand out is known by its host, which a placeholder may hide.
    return not separator or "${" in scheme or scheme in ("http", "https") or scheme in NotificationManager()  # type: ignore[no-untyped-call]


def literal_secrets(url: str) -> list[str]:
    """The names of the parts of a URL that Apprise considers secret and that are not placeholders; none if it cannot tell."""
    from apprise import Apprise

    service = Apprise.instantiate(PLACEHOLDER.sub(_FILLED, url), asset=_asset())
    parts = {} if service is None else {**service.template_tokens, **service.template_args}
    values = {name: getattr(service, part.get("map_to", name), None) for name, part in parts.items() if part.get("private")}
    return [name for name, value in values.items() if isinstance(value, str) and value and _FILLED not in value]


def _resolve(url: str, environ: Mapping[str, str]) -> str:
    """The URL with its variables; those of its user and password may hold any character, or be percent-encoded already."""
    resolved = resolve(url, environ)
    found = _CREDENTIALS.search(url)
    if found is None:
        return resolved
    kept = "%" if ":" in found[0] else "%:"  # one variable may hold both
    encoded = {name: quote(_NOT_ENCODED.sub("%25", environ[name].strip()), safe=kept) for name in variables(found[0])}
    before, after = url[: found.start()], url[found.end() :]
    return resolve(before, environ) + resolve(found[0], encoded) + resolve(after, environ)


def _notify(url: str, message: Message, kind: str) -> Result:
    """Send a message to one service and wait for it (AlertsError)."""
    try:
        from apprise import Apprise, NotifyFormat, NotifyType
    except ImportError:
        raise AlertsError("targets of Apprise need the extra: pip install 'walltrack-alerts[apprise]'") from None
    service = Apprise.instantiate(url, asset=_asset())
    if service is None:
        raise AlertsError("Apprise does not accept the URL of the target")
    service.retry = 0
    service.request_rate_per_sec = 0.0
    # Where the service takes Markdown, Apprise would escape the signs of the link, too, and so break it.
    is_markdown = service.resolve_format(NotifyFormat.TEXT) is NotifyFormat.MARKDOWN
    result = Apprise([service], asset=_asset()).notify(
        body=(message.text or message.title).replace("\n", "  \n" if is_markdown else "\n"),
        title=message.title,
        notify_type=NotifyType(kind),
        body_format=NotifyFormat.MARKDOWN if is_markdown else NotifyFormat.TEXT,
        timeout=_SECONDS,
    )
    return _result(result)


def _result(result: AppriseResult) -> Result:
    """Apprise hides the HTTP status, but mentions it in its warnings."""
    from apprise import AppriseResultStatus

    logged = "; ".join(dict.fromkeys(entry.message for entry in result.logs()))
    if result.status is AppriseResultStatus.SUCCESS:
        return Result(Outcome.DELIVERED, response="sent")
    if result.status is AppriseResultStatus.TIMEOUT:
        return Result(Outcome.FAILED, response=f"no response within {_SECONDS:g} s; the message may have arrived")
    return Result(Outcome.FAILED, response=logged or "Apprise could not send the message and logged no reason")


def _type(alert: Mapping[str, Any]) -> str:
    """Apprise's type of a notification, which becomes a colour or an icon."""
    return "success" if alert.get("status") == "resolved" else _TYPES.get(str(alert.get("severity")), "info")


def _type_of_digest(digest: Mapping[str, Any]) -> str:
    groups = digest.get("groups") or [{}]
    return _TYPES.get(str(groups[0].get("severity")), "info")  # critical stands first


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8, thread_name_prefix="apprise")


@lru_cache(maxsize=1)
def _asset() -> AppriseAsset:
    """Settings of Apprise: nothing on disk, no pictures of its site, no redirects, no retries, no log but that of each result."""
    from apprise import AppriseAsset, PersistentStoreMode

    logging.getLogger("apprise").propagate = False
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    return AppriseAsset(
        app_id="walltrack-alerts",
        app_desc="walltrack-alerts",
        app_url="",
        async_mode=False,
        default_service_retry=0,
        http_redirects=False,
        image_url_logo="",
        image_url_mask="",
        interpret_emojis=False,
        storage_mode=PersistentStoreMode.MEMORY,
    )
