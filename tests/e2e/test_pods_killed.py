"""Killed pods come back, trading goes on, and no execution is lost or counted twice."""

from __future__ import annotations

from tests.e2e import manifests
from tests.e2e.journal import read_journal, until_position_agrees
from tests.e2e.namespaces import Namespace, of_strategy, of_venue


def test_killed_pods_lose_and_double_nothing(namespace: Namespace) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema"))
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=3)

    namespace.kill(of_strategy("ema"))
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=namespace.filled("ema") + 3)

    namespace.kill(of_venue(manifests.VENUE))
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=namespace.filled("ema") + 3)

    namespace.patch("strategy", "ema", {"spec": {"suspend": True}})
    namespace.until_condition("strategy", "ema", "Trading", "False", "Suspended")
    journal = read_journal(namespace, manifests.VENUE)
    fills = journal.fills("ema")
    assert journal.broken_link() is None
    assert len({fill.exec_id for fill in fills}) == len(fills)
    assert len({order.cl_ord_id for order in journal.orders("ema")}) == len(journal.orders("ema"))
    tokens = [session.fencing_token for session in journal.sessions()]
    assert len(tokens) >= 2
    assert tokens == sorted(set(tokens))
    until_position_agrees(namespace, "ema", journal)
