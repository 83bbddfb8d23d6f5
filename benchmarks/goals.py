"""What is asked of each figure: its value under which key may be at most, or at least, so much."""

from __future__ import annotations

from typing import NamedTuple


class Goal(NamedTuple):
    """A bound of one value of a figure, in the figure's unit; where `strategies` is not 0, for a fleet of so many."""

    figure: str
    key: str
    bound: float
    at_least: bool = False
    strategies: int = 0

    def met(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g}"


LARGE = 10_000
GOALS = (
    Goal("engine.order", "p50", 80),
    Goal("engine.order", "p99", 200),
    # The same under all limits.
    Goal("risk.engine_order", "p50", 80),
    Goal("risk.engine_order", "p99", 200),
    Goal("gateway.order", "p50", 0.6),
    Goal("gateway.order", "p99", 1.2),
    Goal("gateway.burst50", "p50", 5),
    Goal("gateway.burst50", "p99", 10),
    Goal("gateway.events_per_second", "p50", 5_000, at_least=True),
    Goal("gateway.renewal_lost", "max", 0),
    Goal("gateway.authority_lost", "max", 0),
    Goal("gateway.recover_1m.seconds", "p50", 3),
    Goal("gateway.recover_1m.rss_mib", "p50", 150),
    Goal("gateway.growth_mib", "p50", 2),
    Goal("agents.strategy.rss_mib", "p50", 45),
    Goal("agents.strategy.start_cpu_seconds", "p50", 1.0),
    Goal("simulate.commands_per_second", "p50", 20_000, at_least=True),
    Goal("backtest.quotes_per_second", "p50", 40_000, at_least=True),
    Goal("backtest.bars_per_second", "p50", 30_000, at_least=True),
    Goal("backtest.vs_backtrader", "p50", 4, at_least=True),
    Goal("backtest.vs_backtestingpy", "p50", 0.5, at_least=True),
    Goal("backtest.vs_nautilus", "p50", 0.3, at_least=True),
    Goal("backtest.sweep.efficiency", "p50", 0.9, at_least=True),
    Goal("risk.all", "p50", 30),
    Goal("risk.all", "p99", 60),
    Goal("risk.revalue", "p99", 500),
    Goal("risk.inforce", "p99", 1_000),
    Goal("risk.shares.usable", "p50", 0.9, at_least=True),
    Goal("kill.block", "p99", 5),
    Goal("kill.fleet", "p99", 1_000),
    Goal("kill.cancel_1000", "p50", 500),
    Goal("kill.orders_after_ack", "max", 0),
    Goal("operator.cold.share_of_raw", "p50", 0.8, at_least=True, strategies=LARGE),
    Goal("operator.cold.requests_per_child", "p50", 1.3, strategies=LARGE),
    Goal("operator.cold.growth", "p50", 1.2, strategies=LARGE),
    Goal("operator.cold.growth_one_namespace", "p50", 1.2, strategies=LARGE),
    Goal("operator.idle.requests", "p50", 0, strategies=LARGE),
    Goal("operator.restart.seconds", "p50", 20, strategies=LARGE),
    Goal("operator.restart.writes", "p50", 0, strategies=LARGE),
    Goal("operator.edit.p50_ms", "p50", 20, strategies=LARGE),
    Goal("operator.edit.p99_ms", "p99", 250, strategies=LARGE),
    Goal("operator.speaking.cpu_cores", "p50", 0.6, strategies=LARGE),
    Goal("operator.status.writes_per_second", "p50", 20, strategies=LARGE),
    Goal("operator.status.significant_p99_s", "p99", 2, strategies=LARGE),
    Goal("operator.rss_mib", "p50", 250, strategies=LARGE),
    Goal("operator.drift.deleted_ms", "max", 200, strategies=LARGE),
    Goal("operator.drift.edited_ms", "max", 1_000, strategies=LARGE),
    Goal("operator.failover.kill_seconds", "p50", 17, strategies=LARGE),
    Goal("operator.failover.graceful_seconds", "p50", 1, strategies=LARGE),
    Goal("demo.first_fill_seconds", "p50", 90),
    Goal("demo.first_fill_warm_seconds", "p50", 15),
)
