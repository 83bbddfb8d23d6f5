from __future__ import annotations

import pytest
from rich.console import Console

from crowetrade_cli.results.curves import strategy_curves
from crowetrade_cli.results.metrics import run_metrics
from crowetrade_cli.results.tables import run_table

from .values import EMA, HOUR_NS, MONDAY_NS, PAIR, facts, result

EUR = "other/eur"
HELD = {(EMA, "EUR-USD"): ("0", "1234.5", "1"), (PAIR, "EUR-USD"): ("0", "-50", "1"), (EUR, "EUR-USD"): ("0", "0", "1")}
ZERO = dict.fromkeys(HELD, ("0", "0", "1"))
RUN = result(
    [(MONDAY_NS, ZERO), (MONDAY_NS + HOUR_NS, HELD)],
    strategies=(facts(EMA, "100000"), facts(PAIR), facts(EUR, currency="EUR")),
)


def printed(width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(run_table(run_metrics(RUN, strategy_curves(RUN))))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_row_per_strategy_and_one_for_all_of_each_currency() -> None:
    title, header, *rows = printed(200)
    assert title == "Result"
    assert header.split()[:3] == ["Strategy", "PnL", "Return"]
    assert [row.split()[:4] for row in rows if row] == [
        ["desk/ema", "1,234.50", "USD", "1.23%"],
        ["desk/pair", "-50.00", "USD", "-5.00%"],
        ["other/eur", "0.00", "EUR", "0.00%"],
        ["All", "in", "EUR", "0.00"],
        ["All", "in", "USD", "1,184.50"],
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_figure_is_cut_however_narrow_the_terminal(width: int) -> None:
    lines = printed(width)
    assert all(len(line) <= width for line in lines)
    assert not any("…" in line for line in lines)
    assert "1,234.50 USD" in "\n".join(lines)
    assert ("Turnover" in lines[1]) == (width >= 120)
