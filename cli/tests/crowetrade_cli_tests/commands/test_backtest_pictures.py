"""What `crowetrade backtest` leaves behind, over the sample recordings: its table, its report and a sweep."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ViewportSize, expect
from rich.console import Console
from rich.text import Text

from crowetrade_cli_tests.pictures import keep_png, keep_svg

pytestmark = [pytest.mark.integration, pytest.mark.screenshots]

REPOSITORY = Path(__file__).parents[4]
PATIENCE_SECONDS = 300
COLUMNS = 110
DESKTOP, PHONE = ViewportSize(width=1280, height=1400), ViewportSize(width=360, height=780)
RANGE, SHORT_RANGE = ("--from", "2017-01-01", "--to", "2017-06-30"), ("--from", "2017-01-01", "--to", "2017-02-28")
STRATEGY = "strategy/eurusd-ema:spec.model.parameters"


def _backtest(folder: Path, *arguments: object) -> str:
    """What it writes to a terminal; its result is in the folder."""
    program = str(Path(sys.executable).parent / "crowetrade")
    command = [program, "backtest", *arguments, "--out", folder]
    return subprocess.run(
        [str(part) for part in command],
        cwd=REPOSITORY,
        env={"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "PATH": ""},
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The samples, backtested: the folder, and what was written."""
    folder = tmp_path_factory.mktemp("backtest") / "results"
    return folder, _backtest(folder, "samples", *RANGE)


def test_the_table_in_a_terminal(done: tuple[Path, str]) -> None:
    shown = Text.from_ansi(done[1].rstrip().rpartition("; open")[0])
    for part in ("eurusd-ema", "eurusd-reversion", "pair", "All", "Sharpe", "events in"):
        assert part in shown.plain
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(shown)
    keep_svg("backtest-table", console.export_svg(title="crowetrade backtest samples"))


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"), [("light", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "dark")]
)
def test_the_report(done: tuple[Path, str], browser: Browser, name: str, viewport: ViewportSize, scheme: str) -> None:
    page = browser.new_page(viewport=viewport, color_scheme="dark" if scheme == "dark" else "light")
    page.goto((done[0] / "report.html").as_uri())
    expect(page.locator("figure")).not_to_have_count(0)
    plot = page.locator(".plot").first
    plot.hover()
    expect(page.locator(".reading").first).to_contain_text("UTC · Equity")
    # The page itself does not scroll sideways; its wide tables do.
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    keep_png(f"backtest-report-{name}", page.screenshot())
    page.close()


def test_a_sweep(tmp_path: Path, browser: Browser) -> None:
    manifests = ["samples/strategy-eurusd-ema.yaml", "samples/venue-sim-fx.yaml", "samples/risklimit-fx-desk.yaml"]
    settings = ["--set", f"{STRATEGY}.fast=3..7", "--set", f"{STRATEGY}.slow=10..18/2"]
    _backtest(tmp_path / "sweep", *manifests, *settings, *SHORT_RANGE)
    page = browser.new_page(viewport=ViewportSize(width=1000, height=620))
    page.goto((tmp_path / "sweep" / "sweep.html").as_uri())
    expect(page.locator(".map td")).to_have_count(25)
    keep_png("backtest-sweep", page.screenshot())
    page.close()
