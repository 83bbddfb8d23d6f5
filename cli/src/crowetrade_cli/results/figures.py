"""How figures are written for people: one label and one form for each, on the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from crowetrade_cli.results.metrics import Metrics

NONE = "–"
_NS = 1_000_000_000
_SIGNIFICANT_DIGITS = 4


def money(value: Decimal) -> str:
    """Two decimal places with thousands separated; four significant digits below one."""
    size = abs(value)
    if not size or size >= 1:
        return f"{value:,.2f}"
    return f"{value:.{_SIGNIFICANT_DIGITS - 1 - size.adjusted()}f}"


def share(value: float) -> str:
    """Per cent."""
    return f"{value:.2%}"


def ratio(value: float) -> str:
    """Two decimal places."""
    return f"{value:.2f}"


def count(value: float) -> str:
    """Thousands separated."""
    return f"{value:,}"


@dataclass(frozen=True, slots=True)
class Figure:
    """An attribute of Metrics as people read it. `better_when_higher` is None where neither is."""

    name: str
    label: str
    write: Callable[..., str]
    better_when_higher: bool | None
    explanation: str

    def of(self, metrics: Metrics) -> str:
        """The figure, or a dash where it is undefined."""
        return self.text(getattr(metrics, self.name))

    def text(self, value: Decimal | float | None) -> str:
        """The value in the figure's form, or a dash where it is undefined."""
        return NONE if value is None or not math.isfinite(value) else self.write(value)


FIGURES = (
    Figure("pnl", "PnL", money, True, "realised and unrealised, less fees and funding"),
    Figure("total_return", "Return", share, True, "PnL divided by capital"),
    Figure("annual_return", "Annual return", share, True, "compounded; of runs longer than 20 days"),
    Figure("annual_volatility", "Volatility", share, False, "standard deviation of returns, annualised"),
    Figure("sharpe", "Sharpe", ratio, True, "annualised, risk-free rate 0"),
    Figure("sortino", "Sortino", ratio, True, "annualised, minimum return 0"),
    Figure("calmar", "Calmar", ratio, True, "annual return divided by maximum drawdown"),
    Figure("max_drawdown", "Max drawdown", share, True, "of all samples, from the highest equity before"),
    Figure("turnover", "Turnover", ratio, None, "traded notional divided by mean equity, over the run"),
    Figure("exposure", "Exposure", share, None, "mean gross exposure divided by equity"),
    Figure("highest_exposure", "Highest exposure", share, None, "greatest gross exposure divided by equity"),
    Figure("round_trips", "Trades", count, None, "round trips, from flat until flat or turned"),
    Figure("hit_rate", "Hit rate", share, True, "share of trades that made money after fees"),
    Figure("fees", "Fees", money, False, "sum over all fills"),
    Figure("fills", "Fills", count, None, "executions"),
    Figure("orders_sent", "Orders", count, None, "sent by the strategy"),
    Figure("orders_refused", "Refused", count, False, "orders refused by a limit or another rule"),
)
BY_NAME = {figure.name: figure for figure in FIGURES}


def utc(at_ns: int) -> str:
    """A time to the second, or the date alone at midnight."""
    at = datetime.fromtimestamp(at_ns // _NS, UTC)
    return at.strftime("%Y-%m-%d") if at_ns % (86_400 * _NS) == 0 else at.strftime("%Y-%m-%d %H:%M:%S")


def labels(ids: list[str]) -> dict[str, str]:
    """NAMESPACE/NAME by what is shown of it: the name alone where there is one namespace."""
    namespaces = {each.split("/", 1)[0] for each in ids}
    return {each: each if len(namespaces) > 1 else each.split("/", 1)[-1] for each in ids}


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Parameters by the last part of their path, or all of it where that is not unique."""
    last = {name: name.rsplit(".", 1)[-1] for name in names}
    return {name: short if list(last.values()).count(short) == 1 else name for name, short in last.items()}


def span(first_ns: int, last_ns: int) -> str:
    """A stretch of time: days, or minutes where it is shorter than two days."""
    form = "%Y-%m-%d" if last_ns - first_ns >= 2 * 86_400 * _NS else "%Y-%m-%d %H:%M"
    return " – ".join(datetime.fromtimestamp(at_ns // _NS, UTC).strftime(form) for at_ns in (first_ns, last_ns))
