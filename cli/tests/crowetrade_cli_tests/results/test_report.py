from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from crowetrade_cli.results.chart import DRAWN_MARKS
from crowetrade_cli.results.curves import instrument_curves, strategy_curves
from crowetrade_cli.results.metrics import run_metrics
from crowetrade_cli.results.report import (
    DRAWN_INSTRUMENTS,
    closed_by_hour,
    drawdown,
    limit_rows,
    pnl_by_hour,
    report_page,
    with_a_market,
)
from crowetrade_cli.results.result import Fill, LimitUse, Refused, Result
from crowetrade_cli.results.trips import RoundTrip

from ..chromium import rendered
from .values import DAY_NS, EMA, HASH, HOUR_NS, INSTRUMENTS, MONDAY_NS, PAIR, VENUE, equity_run, facts, fill, result

HOSTILE = "</script><script>console.error('ran')</script><img src=x onerror=\"console.error('ran')\">{{ 7 * 7 }}"


class _Text(HTMLParser):
    """What a reader sees, without scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden = tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.words.append(data.strip())


def page_of(run: Result) -> str:
    curves = strategy_curves(run)
    return report_page(run, run_metrics(run, curves), curves)


def text_of(page: str) -> str:
    reader = _Text()
    reader.feed(page)
    return " ".join(reader.words)


def traded(fills: int = 40, days: int = 30) -> Result:
    """Two strategies that trade two instruments, one of them in another currency."""
    samples = []
    for hour in range(days * 24):
        price = str(Decimal(100 + hour % 7) / 100)
        cash = str(hour % 50 - 20)
        held = {
            (strategy, symbol): ("10", cash, price) for strategy in (EMA, PAIR) for symbol in ("EUR-USD", "EUR-GBP")
        }
        samples.append((MONDAY_NS + hour * HOUR_NS, held))
    made: list[Fill] = []
    for index in range(fills):
        at_ns = MONDAY_NS + index * days * DAY_NS // fills
        made.append(fill(at_ns, "Sell" if index % 2 else "Buy", "10", "1.02", "0.01", exec_id=str(index)))
    return result(samples, made, strategies=(facts(EMA), facts(PAIR, "3000")))


def test_the_page_says_what_happened() -> None:
    text = text_of(page_of(traded()))
    for words in (
        "2017-01-02 – 2017-01-31 23:00:00 UTC · 2 strategies · 100 market events",
        "Equity, USD",
        "Drawdown",
        "Exposure, USD",
        "PnL by hour of day (UTC), GBP",
        "sim/EUR-USD, USD",
        "maxPositionQuantity",
        "would hold 20",
        "fast = 4",
        "eurusd.csv",
        HASH,
    ):
        assert words in text, words
    assert "strategies made in instruments of another currency" in text


def test_other_currencies_are_not_mentioned_where_there_are_none() -> None:
    assert "another currency" not in text_of(page_of(equity_run(["100", "101"])))


def test_ratios_of_a_short_run_come_with_their_length() -> None:
    assert "annualised from 3 days: " in text_of(page_of(equity_run(["100", "101", "100", "102"])))
    for run in (equity_run(["100"] * 30), equity_run(["100", "0", "-5"])):
        assert "annualised from" not in text_of(page_of(run))


def test_capital_that_is_lost_is_said_with_its_time() -> None:
    assert "ema had lost all its capital at 2017-01-03: " in text_of(page_of(equity_run(["100", "0", "-5"])))
    assert "lost all" not in text_of(page_of(equity_run(["100", "1"])))


@pytest.mark.parametrize("run", [equity_run(["100"]), equity_run(["100"] * 3), equity_run(["100", "0", "-5"])])
def test_a_run_without_trades_limits_or_figures_is_a_page(run: Result) -> None:
    text = text_of(page_of(replace(run, limits=(), refused=())))
    assert "Nothing was traded." in text
    assert "No RiskLimit concerned these strategies." in text
    assert "No order was refused." in text


def test_nothing_of_a_manifest_model_or_venue_is_taken_for_html(browser: Browser, tmp_path: Path) -> None:
    symbol = f"X{HOSTILE}"
    refused = Refused(EMA, VENUE, symbol, HOSTILE, HOSTILE, HOSTILE, 1, MONDAY_NS, MONDAY_NS)
    limit = LimitUse(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1)
    strategy = facts(EMA, name=HOSTILE, model=HOSTILE, parameters={HOSTILE: HOSTILE}, currency=HOSTILE)
    run = traded(4)
    page = page_of(
        replace(
            run,
            strategies=(facts(EMA), strategy),
            refused=(refused,),
            limits=(limit,),
            data=(replace(run.data[0], venue=HOSTILE, symbol=HOSTILE, name=HOSTILE),),
            code=replace(run.code, version=HOSTILE, models={HOSTILE: HOSTILE}),
            manifests=(replace(run.manifests[0], kind=HOSTILE, name=HOSTILE),),
        )
    )
    assert HOSTILE not in page
    reader = _Text()
    reader.feed(page)
    assert "img" not in reader.tags
    (tmp_path / "report.html").write_text(page)
    dom, console = rendered(browser, tmp_path / "report.html")
    assert console == []
    assert "<img" not in dom


def test_the_page_fetches_nothing() -> None:
    page = page_of(traded())
    assert set(re.findall(r"""(?:src|href)=["']?([^\s>"']+)""", page)) == {"#Buy", "#Sell", "data:,"}
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("width", [500, 1400])
def test_chromium_shows_the_page_without_a_word_on_its_console(browser: Browser, tmp_path: Path, width: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(page_of(traded()))
    dom, console = rendered(browser, file, width=width)
    assert console == []
    assert dom.count("<figure") == 7


def test_the_value_under_the_pointer_is_read_and_moves_nothing(browser: Browser, tmp_path: Path) -> None:
    page = page_of(traded())
    # What a pointer does, by a script: for it the policy that lets nothing but the page's own script run is lifted.
    without_policy = re.sub(r"<meta http-equiv[^>]*>", "", page)
    pointer = """<script>
      const height = () => document.documentElement.scrollHeight;
      const before = height();
      for (const plot of document.querySelectorAll("figure[data-chart] .plot")) {
        const box = plot.getBoundingClientRect();
        plot.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width, clientY: box.top + 5}));
      }
      document.body.dataset.moved = String(height() - before);
    </script></body>"""
    (tmp_path / "report.html").write_text(without_policy.replace("</body>", pointer))
    dom, console = rendered(browser, tmp_path / "report.html")
    assert console == []
    readings = re.findall(r'<div class="reading"[^>]*>([^<]*)</div>', dom)
    assert len(readings) == len(re.findall("<figure data-chart|<figure[^>]*data-chart", dom))
    assert readings[0] == "2017-01-31 23:00 UTC · Equity 4,019.00"
    assert 'data-moved="0"' in dom


def test_what_is_drawn_is_thinned_and_what_is_counted_is_not() -> None:
    page = page_of(traded(fills=2000))
    assert page.count('class="mark"') <= DRAWN_MARKS
    text = text_of(page)
    assert re.search(r"\d+ of 2,000 fills are drawn", text)
    assert "2,000" in text


def test_of_many_instruments_those_that_traded_most_are_drawn() -> None:
    symbols = [f"S{number}" for number in range(DRAWN_INSTRUMENTS + 3)]
    base = result(
        [(MONDAY_NS, {(EMA, "EUR-USD"): ("0", "0", "1")}), (MONDAY_NS + 1, {(EMA, "EUR-USD"): ("0", "0", "1")})]
    )
    instruments = {(VENUE, symbol): INSTRUMENTS[VENUE, "EUR-USD"] for symbol in symbols}
    rows = [{**row, "symbol": symbol} for row in base.holdings.to_pylist() for symbol in symbols]
    fills = tuple(fill(MONDAY_NS, "Buy", "1", "1", symbol=s) for n, s in enumerate(symbols) for _ in range(n + 1))
    run = replace(
        base, instruments=instruments, fills=fills, holdings=type(base.holdings).from_pylist(rows, base.holdings.schema)
    )
    text = text_of(page_of(run))
    assert "sim/S14, USD" in text
    assert "sim/S2, USD" not in text
    assert "3 more instruments were traded" in text


def test_drawdown_is_from_the_highest_before() -> None:
    assert drawdown([100, 110, 99, 120, 60]) == pytest.approx([0, 0, -0.1, 0, -0.5])


def test_hours_together_make_the_pnl() -> None:
    """The bar of an hour ends, and is sampled, when the next hour begins."""
    made = {22: "0", 23: "5", 23.5: "6", 25: "4"}
    samples = [(MONDAY_NS + int(hour * HOUR_NS), cash) for hour, cash in made.items()]
    run = result([(at_ns, {(EMA, "EUR-USD"): ("0", cash, "1")}) for at_ns, cash in samples])
    hours = pnl_by_hour(instrument_curves(run))
    assert {hour: made for hour, made in enumerate(hours) if made} == {22: 5, 23: 1, 0: -2}


def test_trades_are_counted_in_the_hour_in_which_they_are_closed() -> None:
    trips = [RoundTrip(EMA, VENUE, "FUT", MONDAY_NS, MONDAY_NS + hour * HOUR_NS, Decimal(hour)) for hour in (3, 27, 4)]
    assert {hour: made for hour, made in enumerate(closed_by_hour(trips)) if made} == {3: 30, 4: 4}


@pytest.mark.parametrize(("step_ns", "counted"), [(HOUR_NS, "What positions made"), (2 * HOUR_NS, "What trades made")])
def test_hours_are_of_trades_where_samples_are_further_apart(step_ns: int, counted: str) -> None:
    assert counted in text_of(page_of(equity_run(["1000", "1001", "1002"], step_ns)))


def test_limits_that_bound_stand_first_and_one_without_numbers_has_no_share() -> None:
    uses = [
        LimitUse("desk/a", "maxOrderRate", "", "10", "9", 0),
        LimitUse("desk/b", "maxOrderQuantity", "", "10", "2", 3),
        LimitUse("desk/c", "unknown", "", "", "", 0),
        LimitUse("desk/d", "maxOrderQuantity", "", "0", "0", 0),
    ]
    assert [(row.use.risk_limit, row.part) for row in limit_rows(uses)] == [
        ("desk/b", 20),
        ("desk/a", 90),
        ("desk/c", None),
        ("desk/d", None),
    ]


@pytest.mark.parametrize(
    ("marks", "shown"),
    [
        ([1, 1, 1, 2, 3, 3, 3, 3], [1, 2, 3, 3]),
        ([None, None, 2, 3], [None, 2, 3]),
        ([1, 1], [1, 1]),
        ([1], [1]),
    ],
)
def test_a_price_is_drawn_where_there_was_a_market(marks: list[int | None], shown: list[int | None]) -> None:
    values = [None if mark is None else Decimal(mark) for mark in marks]
    assert values[with_a_market(values)] == shown
