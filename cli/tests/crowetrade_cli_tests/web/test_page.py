"""`crowetrade run --web` as a user starts it, looked at with a real browser."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from crowetrade_api_tests.samples import change
from crowetrade_cli.journal.rows import iso
from crowetrade_cli_tests.conftest import Run
from crowetrade_cli_tests.desk import LIMIT, PATIENCE_SECONDS, STRATEGY, VENUE, WAVES, Desk, desk_of_waves, record

pytestmark = pytest.mark.integration

DESKTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=360, height=740)

Open = Callable[..., Page]

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


def address(desk: Desk) -> str:
    """Of the page, as the run has printed it."""
    return desk.until(r"^The page is at http").rpartition(" ")[2]


@pytest.fixture
def shown(desk: Desk) -> Desk:
    """Runs with a page."""
    desk.start("--plain", "--web", "--web-port", "0")
    return desk


@pytest.fixture(scope="module")
def shown_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """As `shown`, for tests that change nothing."""
    desk = desk_of_waves(tmp_path_factory.mktemp("desk"))
    desk.start("--plain", "--web", "--web-port", "0")
    yield desk
    desk.end()


@pytest.fixture
def look(browser: Browser) -> Iterator[Open]:
    """Opens an address in a browser of its own; fails at the end if a page has complained."""
    complaints: list[str] = []
    contexts = []

    def open_page(url: str, viewport: ViewportSize = DESKTOP, complains: bool = False) -> Page:
        context = browser.new_context(viewport=viewport)
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        contexts.append(context)
        page = context.new_page()
        if not complains:
            page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def live(page: Page) -> None:
    """Waits until the page shows a run."""
    expect(page.locator("#connection")).to_have_text("Live")


def row(page: Page, table: str, name: str) -> Locator:
    """The row of a table that has the name."""
    return page.locator(f"#{table} tbody tr", has_text=name)


def cell(found: Locator, name: str) -> Locator:
    """The cell below a head."""
    return found.locator(f'[data-label="{name}"]')


def curve_points(page: Page, series: str = "desk/ema") -> int:
    """Points of a line of the chart."""
    drawn = page.locator(f'[data-series="{series}"]').get_attribute("d") or ""
    return len(re.findall("[ML]", drawn))


def curve_grows(page: Page, beyond: int) -> None:
    """Waits until the line of the strategy has more points."""
    expect(page.locator('[data-series="desk/ema"]')).to_have_attribute(
        "d", re.compile(f"([ML][^ML]+){{{beyond + 1},}}")
    )


def test_it_shows_a_run_as_it_goes_on(shown_once: Desk, look: Open) -> None:
    page = look(address(shown_once))
    live(page)
    expect(row(page, "venues", "sim-fx")).to_contain_text("LoggedOn")
    strategy = row(page, "strategies", "ema")
    expect(strategy).to_contain_text("Trading")
    expect(page.locator("#fills tbody")).to_contain_text(re.compile("Buy|Sell"))
    expect(row(page, "positions", "EUR-USD")).to_be_visible()
    expect(cell(strategy, "PnL")).to_have_text(re.compile(r"^[+-][\d,]+\.\d\d USD$"))
    curve_grows(page, beyond=curve_points(page))
    expect(page).to_have_title(re.compile(r"^[+-]?[\d,]+\.\d\d USD · CroweTrade$"))


def test_open_orders_are_those_that_were_sent_and_have_not_ended(desk: Desk, look: Open) -> None:
    # A minute of the recording, which is two seconds on the clock: long enough for the browser.
    slow = change(VENUE, "spec.simulated.latency.orderMillis", 60_000)
    desk.write(change(slow, "spec.simulated.replay.speed", "30"))
    record(desk.folder / "data", WAVES, 3_000_000_000)
    desk.start("--plain", "--web", "--web-port", "0")
    page = look(address(desk))
    order = page.locator("#orders tbody tr", has_text="EUR-USD").first
    expect(order).to_be_visible()
    seen = order.evaluate("tr => Object.fromEntries([...tr.cells].map(cell => [cell.dataset.label, cell.textContent]))")
    (sent,) = (item for item in desk.rows("OrderSubmitted") if item.cl_ord_id == seen["Order"])
    assert seen["Quantity"].replace(",", "") == sent.event["order_quantity"]
    assert seen["Price"] == sent.event["price"]
    assert f"SIDE_{seen['Side'].upper()}" == sent.event["side"]
    assert seen["Changed"] == iso(sent.at_unix_ns)[11:19]
    expect(page.locator("#orders tbody tr", has_text=seen["Order"])).to_have_count(0)
    ended = [*desk.rows("OrderExecuted"), *desk.rows("OrderEnded")]
    assert seen["Order"] in {item.cl_ord_id for item in ended}


def test_at_the_end_the_page_says_so_and_shows_what_the_journal_holds(shown: Desk, look: Open) -> None:
    page = look(address(shown))
    shown.until(r"ema: (Buy|Sell)", times=2)
    assert shown.interrupt() == 0
    expect(page.locator("#connection")).to_contain_text("The run has ended")
    fills = page.locator("#fills tbody tr").evaluate_all(
        "rows => rows.map(tr => ['Side', 'Quantity', 'Price', 'Fee'].map("
        "name => tr.querySelector(`[data-label=${name}]`).textContent.replaceAll(',', '')))"
    )
    executed = [
        [
            "Buy" if item.event["side"] == "SIDE_BUY" else "Sell",
            item.event["quantity"],
            item.event["price"],
            item.event["fee"],
        ]
        for item in shown.rows("OrderExecuted")
    ]
    assert fills == executed[::-1]
    held = shown.position()
    if held:
        assert cell(row(page, "positions", "EUR-USD"), "Quantity").inner_text().replace(",", "") == str(held)
    else:
        expect(page.locator("#positions tbody")).to_have_text("Everything is flat.")


def test_a_bar_is_as_long_as_its_number_says(shown_once: Desk, look: Open) -> None:
    page = look(address(shown_once))
    limit = row(page, "limits", "maxPositionQuantity")
    expect(cell(limit, "Highest use")).to_have_text(re.compile(r"[1-9]\d*%"))
    text, width, track = limit.evaluate(
        "tr => [tr.querySelector('[data-kind=share] span').textContent,"
        " tr.querySelector('.track span').getBoundingClientRect().width,"
        " tr.querySelector('.track').getBoundingClientRect().width]"
    )
    assert float(text.rstrip("%")) == pytest.approx(100 * width / track, abs=1)
    used, allowed = (Decimal(cell(limit, name).inner_text().replace(",", "")) for name in ("Used", "Allowed"))
    assert allowed == Decimal(LIMIT["spec"]["limits"]["maxPositionQuantity"])
    assert used <= allowed


def test_a_second_tab_has_the_curve_from_its_beginning(shown_once: Desk, look: Open) -> None:
    first = look(address(shown_once))
    curve_grows(first, beyond=10)
    second = look(address(shown_once))
    live(second)
    assert curve_points(second) >= curve_points(first) - 1
    live(first)


def assert_all_fits(page: Page) -> None:
    """Nothing is wider than the screen or than the card around it."""
    assert (
        page.evaluate(
            "() => [document.documentElement, ...document.querySelectorAll('section')]"
            ".filter(box => box.scrollWidth > box.clientWidth).map(box => box.textContent.slice(0, 50))"
        )
        == []
    )


@pytest.mark.parametrize("width", [360, 600, 900, 901, 1100, 1101, 1280, 1920])
def test_nothing_is_wider_than_the_screen(shown_once: Desk, look: Open, width: int) -> None:
    page = look(address(shown_once), ViewportSize(width=width, height=800))
    expect(page.locator("#fills tbody")).to_contain_text(re.compile("Buy|Sell"))
    expect(row(page, "positions", "EUR-USD")).to_be_visible()
    assert_all_fits(page)


def test_what_it_says_fits_a_phone(shown: Desk, look: Open) -> None:
    page = look(address(shown), PHONE)
    live(page)
    expect(page.locator("#message")).to_be_hidden()
    assert shown.interrupt() == 0
    expect(page.locator("#message")).to_contain_text("positions are kept")
    assert_all_fits(page)


def test_a_line_is_hidden_and_shown_by_its_button_and_read_at_the_pointer(shown_once: Desk, look: Open) -> None:
    page = look(address(shown_once))
    button, line = page.get_by_role("button", name="ema"), page.locator('[data-series="desk/ema"]')
    expect(line).to_have_count(1)
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(line).to_have_count(0)
    button.press("Enter")
    expect(line).to_have_count(1)
    chart = page.get_by_role("img", name="Profit and loss in USD")
    chart.hover(position={"x": 5, "y": 50})
    begins = page.locator(".chart text[text-anchor=start]").text_content()
    expect(page.locator(".legend .note")).to_have_text(f"USD at {begins}")


def test_tables_keep_their_meaning_for_readers_on_a_phone(shown_once: Desk, look: Open) -> None:
    page = look(address(shown_once), PHONE)
    table = page.get_by_role("table", name="Strategies")
    expect(table.get_by_role("row").get_by_role("rowheader")).to_have_text("ema")
    expect(table.get_by_role("cell").first).to_contain_text("Trading")


RAISES = """
from crowetrade_agents.sdk import Model

class Raises(Model):
    def __init__(self, parameters, instruments):
        raise ValueError("<img src=x onerror=alert(1)> & <b>bold</b>")
"""


def test_what_a_run_says_is_text_and_never_markup(desk: Desk, look: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.folder / "raising.py").write_text(RAISES)
    monkeypatch.setenv("PYTHONPATH", str(desk.folder))
    image = "registry.example.com/desk/models@sha256:" + "0" * 64
    desk.write(change(change(STRATEGY, "spec.model", {"entryPoint": "raising:Raises"}), "spec.agents.image", image))
    desk.start("--plain", "--web", "--web-port", "0")
    page = look(address(desk), PHONE)
    strategy = row(page, "strategies", "ema")
    expect(cell(strategy, "State")).to_have_text("Failed")
    expect(cell(strategy, "Why")).to_contain_text("<img src=x onerror=alert(1)> & <b>bold</b>")
    assert page.locator("img, b b").count() == 0
    assert_all_fits(page)


def test_a_run_that_is_killed_is_noticed_and_the_next_one_at_the_port_is_shown(shown: Desk, look: Open) -> None:
    url = address(shown)
    page = look(url, complains=True)  # a browser writes to the console that it cannot connect
    live(page)
    shown.end()
    expect(page.locator("#connection")).to_have_text("The connection to the run is lost. Trying again.")
    shown.start("--plain", "--web", "--web-port", url.rstrip("/").rpartition(":")[2])
    live(page)
    expect(row(page, "strategies", "ema")).to_contain_text("Trading")


def test_a_run_that_stands_still_is_not_called_live(shown: Desk, look: Open) -> None:
    page = look(address(shown))
    live(page)
    assert shown.process is not None
    shown.process.send_signal(signal.SIGSTOP)
    expect(page.locator("#connection")).to_have_text(re.compile(r"^The run has sent nothing for [5-9] s$"))
    shown.process.send_signal(signal.SIGCONT)
    live(page)


def test_a_port_that_is_taken_ends_it_before_anything_trades(shown: Desk, tmp_path: Path) -> None:
    port = address(shown).rstrip("/").rpartition(":")[2]
    elsewhere = desk_of_waves(tmp_path / "elsewhere")
    elsewhere.start("--plain", "--web", "--web-port", port)
    assert elsewhere.process is not None
    assert elsewhere.process.wait(PATIENCE_SECONDS) == 1
    elsewhere.until(f"^Error: the page cannot be served at 127.0.0.1:{port}.*: name another port with --web-port")
    assert not elsewhere.journal.exists()


def test_json_stays_json_beside_the_page(desk: Desk) -> None:
    desk.start("--json", "--web", "--web-port", "0")
    address(desk)
    looked = json.loads(desk.until(r'"positions": \[{'))["desk"]
    assert looked["positions"][0]["symbol"] == "EUR-USD"
    assert desk.interrupt() == 0
    assert [line for line in desk.lines if not line.startswith("{")] == [line for line in desk.lines if "http" in line]


def test_a_port_without_a_page_is_refused(run: Run) -> None:
    ended = run("run", "manifests", "--web-port", "8000")
    assert ended.code == 2
    assert ended.err == "Error: --web-port is the port of the page, which is not asked for: add --web\n"


def test_a_killswitch_is_shown_while_it_is_engaged(desk: Desk, look: Open) -> None:
    metadata = {"name": "all", "namespace": "desk"}
    switch = {"apiVersion": "trading.crowetrade.io/v1alpha1", "kind": "KillSwitch", "metadata": metadata}
    desk.write({**switch, "spec": {"engaged": True, "reason": "drill"}})
    desk.start("--plain", "--web", "--web-port", "0")
    page = look(address(desk))
    live(page)
    expect(row(page, "stops", "KillSwitch all")).to_contain_text("set spec.engaged to false in its manifest")
    expect(row(page, "strategies", "ema")).to_contain_text("Halted")
    desk.write({**switch, "spec": {"engaged": False}})
    expect(page.locator("#stops-section")).to_be_hidden()
