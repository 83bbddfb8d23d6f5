"""nautilus_trader, low-level API, logging off.

A market order fills at the bid or the ask in force when it arrives, but not before the next event of the recording:
without latency at once, with a latency of the distance between two quotes at the second of them. The library's risk
engine checks orders as it does by default. Money is rounded to cents at each execution. `profit` values what is open at
the mid price, as CroweTrade does; the library's own figure has the price at which it could be closed.
"""

from __future__ import annotations

import math
import time
from decimal import Decimal

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import LoggingConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model.currencies import EUR, USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

from benchmarks.backtest.peers.task import LOT, Execution, Task, answer, given, quotes

CASH = 1_000_000_000
SIM = Venue("SIM")


class Crossover(Strategy):
    """Reverses when the averages of the logarithm of the mid price cross."""

    def __init__(self, task: Task, instrument: CurrencyPair) -> None:
        super().__init__()
        self.task = task
        self.instrument = instrument
        self.fast = ExponentialMovingAverage(task.fast)
        self.slow = ExponentialMovingAverage(task.slow)
        self.side = 0
        self.executions: list[Execution] = []

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self.instrument.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        price = math.log((float(tick.bid_price) + float(tick.ask_price)) / 2)
        self.fast.update_raw(price)
        self.slow.update_raw(price)
        if not self.slow.initialized:
            return
        difference = self.fast.value - self.slow.value
        side = (difference > 0) - (difference < 0)
        if side == self.side:
            return
        change = (side - self.side) * LOT
        self.side = side
        self.submit_order(
            self.order_factory.market(
                instrument_id=self.instrument.id,
                order_side=OrderSide.BUY if change > 0 else OrderSide.SELL,
                quantity=Quantity.from_int(abs(change)),
            )
        )

    def on_order_filled(self, event: OrderFilled) -> None:
        quantity = float(event.last_qty) if event.order_side == OrderSide.BUY else -float(event.last_qty)
        self.executions.append(
            Execution(event.ts_event, quantity, float(event.last_px), float(event.commission.as_decimal()))
        )


def pair(task: Task) -> CurrencyPair:
    """EUR/USD as CroweTrade's manifests have it."""
    symbol, fee = Symbol("EUR/USD"), Decimal(task.fee_bps) / 10_000
    return CurrencyPair(
        instrument_id=InstrumentId(symbol, SIM),
        raw_symbol=symbol,
        base_currency=EUR,
        quote_currency=USD,
        price_precision=5,
        size_precision=0,
        price_increment=Price.from_str("0.00001"),
        size_increment=Quantity.from_int(1),
        lot_size=Quantity.from_int(LOT),
        taker_fee=fee,
        maker_fee=fee,
        ts_event=0,
        ts_init=0,
    )


def ticks(task: Task, instrument: CurrencyPair) -> list[QuoteTick]:
    """The rows as objects of the library."""
    quantity = Quantity.from_int(100 * LOT)
    return [
        QuoteTick(
            instrument.id,
            Price.from_str(row.bid_px),
            Price.from_str(row.ask_px),
            quantity,
            quantity,
            row.ts_ns,
            row.ts_ns,
        )
        for row in quotes(task)
    ]


def engine(task: Task, instrument: CurrencyPair, strategy: Strategy) -> BacktestEngine:
    """An engine that has everything, and has not run."""
    made = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    made.add_venue(
        SIM,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(CASH, USD)],
        latency_model=LatencyModel(task.latency_millis * 1_000_000) if task.latency_millis else None,
    )
    made.add_instrument(instrument)
    made.add_data(ticks(task, instrument))
    made.add_strategy(strategy)
    return made


def timed(made: BacktestEngine) -> float:
    """Runs an engine; returns the seconds."""
    begin = time.perf_counter()
    made.run()
    return time.perf_counter() - begin


def main() -> None:
    """Runs the task of this process."""
    task = given()
    instrument = pair(task)
    strategy = Crossover(task, instrument)
    made = engine(task, instrument, strategy)
    seconds = timed(made)
    profit = float(made.portfolio.account(SIM).balance_total(USD).as_decimal() - CASH)
    last = made.cache.quote_tick(instrument.id)
    for position in made.cache.positions_open():
        mid = (float(last.bid_price) + float(last.ask_price)) / 2
        profit += position.signed_qty * (mid - position.avg_px_open)
    answer(made.iteration, seconds, strategy.executions, profit)


if __name__ == "__main__":
    main()
