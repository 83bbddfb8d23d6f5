"""backtrader. A market order fills at the open of the next bar. Its EMA is of prices, not of their logarithms, and
begins with their mean over the span instead of the first of them, so a few of its trades differ from those of the
others. No observers, no analyzers. `run` begins with the loading of the DataFrame, as its documentation has it.
"""

from __future__ import annotations

import time

import backtrader
import pandas

from benchmarks.backtest.peers.task import LOT, Execution, Task, answer, bars, given

CASH = 1e9


class Crossover(backtrader.Strategy):
    """Reverses when the averages cross."""

    params = (("task", None),)

    def __init__(self) -> None:
        self.task: Task = self.p.task
        fast = backtrader.ind.EMA(self.data.close, period=self.task.fast)
        slow = backtrader.ind.EMA(self.data.close, period=self.task.slow)
        self.difference = fast - slow
        self.executions: list[Execution] = []
        self.side = 0

    def next(self) -> None:
        difference = self.difference[0]
        side = (difference > 0) - (difference < 0)
        if side != self.side:
            self.side = side
            self.order_target_size(target=side * LOT)

    def notify_order(self, order: backtrader.Order) -> None:
        if order.status == order.Completed:
            done = order.executed
            at_ns = pandas.Timestamp(self.data.num2date(done.dt)).value
            self.executions.append(Execution(at_ns, done.size, done.price, done.comm))


def main() -> None:
    """Runs the task of this process."""
    task = given()
    frame = pandas.DataFrame(bars(task)).set_index("ts_ns")
    frame.index = pandas.to_datetime(frame.index, unit="ns")
    cerebro = backtrader.Cerebro(stdstats=False)
    cerebro.adddata(backtrader.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(Crossover, task=task)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=task.fee)
    begin = time.perf_counter()
    (strategy,) = cerebro.run()
    seconds = time.perf_counter() - begin
    answer(len(frame), seconds, strategy.executions, cerebro.broker.getvalue() - CASH)


if __name__ == "__main__":
    main()
