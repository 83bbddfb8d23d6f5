"""backtesting.py. A market order fills at the open of the next bar; averages are computed for all bars at once, by
pandas. `run` ends with the statistics of the run, which cannot be left out."""

from __future__ import annotations

import time

import numpy
import pandas
from backtesting import Backtest, Strategy

from benchmarks.backtest.peers.task import LOT, Execution, Task, answer, bars, given

CASH = 1e9


def average(prices: numpy.ndarray, span: int) -> pandas.Series:
    """EMA of the logarithm, from the first price on."""
    return pandas.Series(numpy.log(prices)).ewm(span=span, adjust=False).mean()


class Crossover(Strategy):
    """Reverses when the averages cross."""

    task: Task

    def init(self) -> None:
        self.fast = self.I(average, self.data.Close, self.task.fast)
        self.slow = self.I(average, self.data.Close, self.task.slow)
        self.side = 0.0

    def next(self) -> None:
        if len(self.data) < self.task.slow:
            return
        side = numpy.sign(self.fast[-1] - self.slow[-1])
        if side == self.side:
            return
        self.side = side
        if side > 0:
            self.buy(size=LOT)
        elif side < 0:
            self.sell(size=LOT)
        else:
            self.position.close()


def main() -> None:
    """Runs the task of this process."""
    Crossover.task = task = given()
    frame = pandas.DataFrame(bars(task)).set_index("ts_ns").rename(columns=str.capitalize)
    frame.index = pandas.to_datetime(frame.index, unit="ns")
    backtest = Backtest(frame, Crossover, cash=CASH, commission=task.fee, exclusive_orders=True)
    begin = time.perf_counter()
    stats = backtest.run()
    seconds = time.perf_counter() - begin
    executions = []
    for trade in [*stats._strategy.closed_trades, *stats._strategy.trades]:
        entry, leaving = trade.entry_price * task.fee * abs(trade.size), trade.exit_price
        executions.append(Execution(frame.index[trade.entry_bar].value, trade.size, trade.entry_price, entry))
        if leaving is not None:
            fee = leaving * task.fee * abs(trade.size)
            executions.append(Execution(frame.index[trade.exit_bar].value, -trade.size, leaving, fee))
    answer(len(frame), seconds, executions, stats["Equity Final [$]"] - CASH)


if __name__ == "__main__":
    main()
