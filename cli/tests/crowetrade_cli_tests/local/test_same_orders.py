"""A market maker sends the same orders, and gets the same executions, from `crowetrade run` in lock step and from a
backtest: the same fills move its quotes, and each cancel is answered before what replaces it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.backtests import journaled

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.journal.sqlite import SqliteReader
from crowetrade_api.files import EnvName
from crowetrade_api_tests.samples import change
from crowetrade_cli.samples import INSTALLED_SAMPLES, sample_manifests
from crowetrade_cli_tests.desk import Desk

MAKER = "eurusd-maker"
BARS = 200


def _manifests() -> list[dict[str, Any]]:
    """The market maker of the samples, over the first bars of a file, as fast as it goes."""
    given = {path.stem: yaml.safe_load(path.read_text()) for path in sample_manifests()}
    recording = [{"symbol": "EUR-USD", "configMap": {"name": "bars", "key": "first.csv"}, "quoteQuantity": "5000"}]
    venue = change(given["venue-sim-fx"], "spec.simulated.data", recording)
    venue = change(venue, "spec.simulated.replay", {"speed": "max", "loop": False})
    # Rates are of the wall clock, so they differ between the two.
    venue = change(venue, "spec.rateLimits", {"ordersPerSecond": 10_000, "burst": 10_000, "cancelsPerSecond": 10_000})
    limit = change(given["risklimit-fx-desk"], "spec.limits.maxOrderRate", {"count": 10_000, "perSeconds": 1})
    return [venue, limit, given[f"strategy-{MAKER}"]]


def _of_run(desk: Desk, manifests: Sequence[dict[str, Any]]) -> list[journal_pb2.JournalEvent]:
    desk.write(*manifests)
    desk.start("--plain")
    desk.until("venue sim-fx: Ended")
    assert desk.interrupt() == 0
    journal = SqliteReader(desk.folder / "state" / "default" / "sim-fx.journal")
    records = [journal_pb2.JournalRecord.FromString(payload) for payload in journal.records()]
    return [event for record in records for event in record.events]


def _orders(events: Sequence[journal_pb2.JournalEvent]) -> list[tuple[object, ...]]:
    orders = [event.order_submitted for event in events if event.HasField("order_submitted")]
    return [(order.side, order.order_quantity, order.price, order.post_only, order.origin_sequence) for order in orders]


def _fills(events: Sequence[journal_pb2.JournalEvent]) -> list[tuple[object, ...]]:
    fills = [event.order_executed for event in events if event.HasField("order_executed")]
    return [(fill.side, fill.quantity, fill.price, fill.fee, fill.transact_unix_ns) for fill in fills]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_market_maker_sends_the_same_orders_in_lock_step_and_in_a_backtest(desk: Desk) -> None:
    bars = desk.folder / "data" / "bars" / "first.csv"
    bars.parent.mkdir(parents=True)
    recorded = (INSTALLED_SAMPLES / "eurusd-1h.csv").read_text().splitlines(keepends=True)
    bars.write_text("".join(recorded[: BARS + 1]))
    manifests = _manifests()
    run, backtest = _of_run(desk, manifests), journaled(manifests, {EnvName.DATA_DIRECTORY: str(desk.folder / "data")})
    assert _orders(run) == _orders(backtest)
    assert _fills(run) == _fills(backtest)
    assert len(_orders(run)) > BARS
    assert {order[3] for order in _orders(run)} == {True}
    # 9000 EUR are quoted, and the market takes 5000 at a time: what is left is quoted again elsewhere.
    assert len(_fills(run)) > BARS / 10
    assert {fill[1] for fill in _fills(run)} == {"5000"}
