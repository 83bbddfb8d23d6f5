"""Combined and Split are two ways to run the same strategy, and a backtest is a third: in lock step all send the same
orders and get the same executions."""

from __future__ import annotations

from typing import Any

from crowetrade.bus.v1.journal_pb2 import JournalRecord
from tests.backtests import journaled
from tests.e2e import manifests
from tests.e2e.journal import Journal, read_journal, signed_quantity
from tests.e2e.namespaces import Namespace, of_strategy


def _orders(journal: Journal, strategy: str) -> list[tuple[Any, ...]]:
    return [
        (order.origin_sequence, order.symbol, order.side, order.order_quantity, order.price, order.time_in_force)
        for order in journal.orders(strategy)
    ]


def _fills(journal: Journal, strategy: str) -> list[tuple[Any, ...]]:
    fills = journal.fills(strategy)
    return [(fill.transact_unix_ns, signed_quantity(fill), fill.price, fill.fee) for fill in fills]


def test_combined_and_split_and_a_backtest_send_the_same_orders(namespace: Namespace) -> None:
    combined = manifests.strategy("combined", "one", "Combined")
    namespace.apply(
        manifests.risk_limit(),
        manifests.venue("one", manifests.LOCK_STEP),
        manifests.venue("two", manifests.LOCK_STEP),
    )
    namespace.until_condition("venueconnection", "one", "Ready")
    namespace.until_condition("venueconnection", "two", "Ready")
    namespace.apply(combined, manifests.strategy("split", "two", "Split"))
    namespace.until_ended("one")
    namespace.until_ended("two")
    assert len(namespace.pods(of_strategy("combined"))) == 1
    assert len(namespace.pods(of_strategy("split"))) == 4
    one, two = read_journal(namespace, "one"), read_journal(namespace, "two")
    assert len(_orders(one, "combined")) > 100
    assert _orders(one, "combined") == _orders(two, "split")
    assert _fills(one, "combined") == _fills(two, "split")
    venue = manifests.venue("one", manifests.LOCK_STEP)
    alone = Journal([], [JournalRecord(events=journaled([manifests.risk_limit(), venue, combined], {}))])
    assert _orders(one, "combined") == _orders(alone, "combined")
    assert _fills(one, "combined") == _fills(alone, "combined")
