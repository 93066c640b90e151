"""Alerts as rows: a table that fits the terminal, or complete tab-separated lines for a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from walltrack_alerts.cli.base import STYLES
from walltrack_alerts.models import Alert
from walltrack_alerts.text import format_duration, format_sol, one_line, set_cells, short_token, side_of, whole_token

COLUMNS = ("id", "severity", "status", "token", "side", "error", "SOL", "age")

_WIDE = 100
"""Cells of a terminal from which on the table has optional columns and wider gaps."""


def is_order_alert(alert: Alert) -> bool:
    """Whether the alert names an order; any other alert is shown by its title."""
    return alert.data.get("order_id") is not None


def side(alert: Alert) -> str:
    """The side of the order, and whether the order is simulated: 'sim sell'."""
    return side_of(alert.data.get("side") or alert.data.get("order_type"), is_simulated=alert.data.get("is_simulated") is True)


def token(alert: Alert) -> str:
    """The symbol or the shortened address."""
    return short_token(alert.data.get("token_symbol"), alert.data.get("token"))


def tabbed_lines(alerts: Sequence[Alert]) -> Iterator[str]:
    """A line of headings, then one line per alert: columns separated by tabs, nothing cut, '-' for an empty one."""
    yield "\t".join(COLUMNS)
    for alert in alerts:
        status = ["acknowledged"] if alert.status == "acknowledged" else []
        status += ["snoozed"] if alert.is_snoozed else []
        columns = [str(alert.id), str(alert.severity), ",".join(status) or str(alert.status)]
        if is_order_alert(alert):
            columns += [whole_token(alert.data.get("token_symbol"), alert.data.get("token")), side(alert), _error(alert)]
            columns += [one_line(alert.data.get("amount_sol") or "")]
        else:
            columns += ["", "", one_line(alert.title), ""]
        columns += [format_duration(alert.age.total_seconds())]
        yield "\t".join(column or "-" for column in columns)


def alert_table(alerts: Sequence[Alert], width: int) -> Table:
    """A table of `width` cells, one line per alert; the error gets the cells that the other columns leave."""
    gap = 2 if width >= _WIDE else 1
    of_orders = [alert for alert in alerts if is_order_alert(alert)]
    layout = _Layout(
        gap=gap,
        token=min(max((cell_len(token(alert)) for alert in of_orders), default=0), _token_cells(width)),
        side=max((cell_len(side(alert)) for alert in of_orders), default=0),
    )
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("id", "severity", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column(layout.place("token", "side", "error") if of_orders else "title")
    for heading in ("times", "SOL", "age") if width >= _WIDE else ("SOL", "age"):
        table.add_column(heading, no_wrap=True, justify="right")
    for alert in alerts:
        is_order = is_order_alert(alert)
        table.add_row(
            str(alert.id)[:8],
            Text(alert.severity, style=STYLES[alert.severity]),
            _short_status(alert),
            layout.place(token(alert), side(alert), _error(alert)) if is_order else _whole_column(one_line(alert.title)),
            *([str(alert.occurrences)] if width >= _WIDE else []),
            format_sol(alert.data.get("amount_sol")) if is_order else "",
            format_duration(alert.age.total_seconds()),
        )
    return table


def _short_status(alert: Alert) -> str:
    snoozed = "snoozed" if alert.is_snoozed else ""
    if alert.status == "acknowledged":
        return f"ack {snoozed}".rstrip()
    return snoozed or str(alert.status)


def _error(alert: Alert) -> str:
    return one_line(alert.data.get("error") or alert.message)


def _token_cells(width: int) -> int:
    """How many cells of a token's name the table shows."""
    return 10 if width < _WIDE else 16 if width < 140 else 24


@dataclass(frozen=True, slots=True)
class _Layout:
    """The cells of token and side in all rows, and of the gap between them."""

    gap: int
    token: int
    side: int

    def place(self, token: str, side: str, error: str) -> Text:
        """Token, side and error next to each other."""
        cells = [(token, max(self.token, cell_len("token"))), (side, max(self.side, cell_len("side")))]
        return _whole_column((" " * self.gap).join([*(set_cells(text, width) for text, width in cells), error]))


def _whole_column(text: str) -> Text:
    """A cell of the table that is cut at the end of its column."""
    return Text(text, no_wrap=True, overflow="ellipsis")
