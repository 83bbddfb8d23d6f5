"""What `crowetrade run samples` looks like, over the sample recordings: in a terminal and on its page."""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from rich.console import Console

from crowetrade_cli_tests.desk import PATIENCE_SECONDS, Desk
from crowetrade_cli_tests.pictures import FOLDER, keep_png, keep_svg
from crowetrade_cli_tests.terminal import read, tables

pytestmark = [pytest.mark.integration, pytest.mark.screenshots]

SAMPLES = Path(__file__).parents[4] / "samples"
RUN_SECONDS = 90 if FOLDER else 12
"""A picture that is kept shows more of a curve."""
COLUMNS, LINES = 140, 60
STRATEGIES = ("eurusd-ema", "eurusd-ema-split", "eurusd-maker", "eurusd-reversion", "pair")
DESKTOP, PHONE = ViewportSize(width=1280, height=1000), ViewportSize(width=360, height=780)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The samples, which run with a page."""
    desk = Desk(tmp_path_factory.mktemp("samples"))
    shutil.copytree(SAMPLES, desk.manifests)
    desk.start("--plain", "--web", "--web-port", "0")
    yield desk
    desk.end()


def _look(browser: Browser, desk: Desk, viewport: ViewportSize, scheme: str, seconds: float) -> Page:
    page = browser.new_page(viewport=viewport, color_scheme="dark" if scheme == "dark" else "light")
    page.goto(desk.until("^The page is at http").rpartition(" ")[2])
    patience = (PATIENCE_SECONDS + seconds) * 1000
    expect(page.locator("#fills tbody")).to_contain_text(re.compile("Buy|Sell"), timeout=patience)
    page.wait_for_function(
        """points => [...document.querySelectorAll('.line[data-series]')].some(
             line => line.getAttribute('d').match(/[ML]/g).length >= points)""",
        arg=2 * seconds,
        timeout=patience,
    )
    for name in STRATEGIES:
        expect(page.get_by_role("rowheader", name=name, exact=True)).to_be_visible()
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page(samples: Desk, browser: Browser, scheme: str) -> None:
    page = _look(browser, samples, DESKTOP, scheme, RUN_SECONDS)
    keep_png(f"run-page-{scheme}", page.screenshot())
    page.close()


def test_the_page_on_a_phone(samples: Desk, browser: Browser) -> None:
    page = _look(browser, samples, PHONE, "dark", RUN_SECONDS)
    keep_png("run-page-phone", page.screenshot())
    page.close()


def test_the_table_in_a_terminal(tmp_path: Path) -> None:
    program = str(Path(sys.executable).parent / "crowetrade")
    command = [program, "run", str(SAMPLES)]
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [*command, "--state", str(tmp_path), "--for", str(RUN_SECONDS), "--web", "--web-port", "0"],
        stdout=inside,
        stderr=inside,
        env={**os.environ, "COLUMNS": str(COLUMNS), "LINES": str(LINES), "TERM": "xterm-256color"},
    )
    os.close(inside)
    written = b"".join(read(terminal)).decode()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert written.count("The page is at http://127.0.0.1:") == 1
    shown = tables(written)[-1]
    for part in (*STRATEGIES, "maxPositionQuantity", "LoggedOn", "positions are kept"):
        assert part in shown.plain
    assert re.search("Buy|Sell", shown.plain)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(shown)
    keep_svg("run-table", console.export_svg(title="crowetrade run samples"))
