"""A report as tables for a terminal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from crowetrade_cli.local.report import LimitRow, Report, Tone

_GOOD, _BAD, _WAITS = "green", "red", "yellow"
_COLOURS = {Tone.GOOD: _GOOD, Tone.BAD: _BAD, Tone.WAITS: _WAITS}


def tables(report: Report, sentence: str = "") -> Group:
    """What is stopped where anything is, a sentence to the user, strategies and venues."""
    stopped = [_stops(report)] if report.stops else []
    said = [Text(sentence, style="bold")] if sentence else []
    return Group(*stopped, *said, _strategies(report), _venues(report))


def _table(title: str, *columns: str) -> Table:
    first, *others = columns
    # Names that begin alike are not to be cut before they differ.
    return Table(
        Column(first, no_wrap=True),
        *others,
        title=title,
        title_justify="left",
        title_style="bold",
        expand=True,
        box=None,
    )


def _state(word: str) -> Text:
    return Text(word, style=_COLOURS[Tone.of(word)])


def _stops(report: Report) -> Table:
    table = _table("Stopped until a person has looked", "What", "Does", "To", "Halted", "Why", "How it ends")
    for row in report.stops:
        name = f"{row.kind} {report.label(row.namespace, row.name)}"
        whom = ", ".join(report.label(*item.split("/")) for item in row.stops)
        table.add_row(*map(Text, (name, row.action, whom, row.halted, row.why, row.remedy)))
    return table


def _strategies(report: Report) -> Table:
    table = _table("Strategies", "Name", "State", "Position", "PnL", "Sent", "Filled", "Refused", "Why")
    for row in report.strategies:
        pnl = Text(f"{row.pnl} {row.currency}" if row.pnl else "-", style=_BAD if row.pnl.startswith("-") else _GOOD)
        table.add_row(
            Text(report.label(row.namespace, row.name)),
            _state(row.state),
            Text(row.held),
            pnl,
            str(row.sent),
            str(row.filled),
            str(row.refused),
            Text(row.why),
        )
    return table


def _venues(report: Report) -> Table:
    table = _table("Venues", "Name", "Session", "Events", "Open orders", "Order to sent, p99", "Why")
    for row in report.venues:
        latency = f"{row.latency_p99_micros / 1000:.1f} ms" if row.latency_p99_micros else "-"
        table.add_row(
            Text(report.label(row.namespace, row.name)),
            _state(row.session),
            str(row.market_data),
            str(row.orders_open),
            latency,
            Text(row.why),
        )
    return table


def limits_table(report: Report) -> Table:
    """The highest use of each limit."""
    table = _table("Limits, the highest use", "RiskLimit", "Limit", "Used", "Allowed", "Share", "For")
    for row in report.limits:
        name = report.label(row.namespace, row.name)
        table.add_row(Text(name), Text(row.limit), row.used, row.allowed, _share(row), Text(row.key))
    return table


def _share(row: LimitRow) -> Text:
    return Text("none allowed" if row.share is None else f"{row.share:.0%}", style=_COLOURS[row.tone])
