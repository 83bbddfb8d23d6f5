"""I6: what one strategy sends changes nothing for another one but through shared limits and rates.

One seed is run twice, in a world where every strategy has an instrument and limits of its own and nothing fails: once
as it is, once with one strategy sending nothing but garbage, in floods. The others must get the same reports, one by
one.
"""

from __future__ import annotations

from crowetrade.bus.v1 import orders_pb2
from tests.simulation.broken import expect
from tests.simulation.world import Wanted, World

SECONDS = 15


def check(seed: int) -> int:
    """Runs both; raises Broken, and returns how many reports were compared."""
    as_it_is = _reports(seed, frozenset())
    name = sorted(as_it_is)[seed % len(as_it_is)]
    with_garbage = _reports(seed, frozenset({name}))
    compared = 0
    for other in as_it_is.keys() - {name}:
        mine, theirs = as_it_is[other], with_garbage[other]
        different = next((pair for pair in zip(mine, theirs, strict=False) if pair[0] != pair[1]), None)
        text = f"with garbage from {name}, {other} gets {len(theirs)} reports instead of {len(mine)}: {different}"
        expect(mine == theirs, "I6", text)
        compared += len(mine)
    return compared


def _reports(seed: int, garbage: frozenset[str]) -> dict[str, list[str]]:
    world = World(seed, Wanted(faults=False, apart=True, names=3, garbage=garbage))
    for trader in world.traders.values():
        trader.keeps_reports = True
    world.run_for(SECONDS * 1_000_000_000)
    return {name: [_plain(report) for report in trader.reports] for name, trader in world.traders.items()}


def _plain(report: orders_pb2.ExecutionReport | orders_pb2.CancelReject) -> str:
    """Without the numbers that the venue gives in the order of everybody's orders."""
    plain = type(report)()
    plain.CopyFrom(report)  # type: ignore[arg-type]
    if isinstance(plain, orders_pb2.ExecutionReport):
        plain.order_id = ""
        plain.fill.exec_id = ""
    return str(plain)
