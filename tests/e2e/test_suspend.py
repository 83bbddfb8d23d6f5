"""suspend stops the orders of one strategy, restarts nothing, and can be taken back."""

from __future__ import annotations

from tests.e2e import manifests
from tests.e2e.journal import read_journal
from tests.e2e.namespaces import Namespace, of_strategy


def test_a_suspended_strategy_sends_no_order(namespace: Namespace) -> None:
    namespace.apply(
        manifests.risk_limit(), manifests.venue(), manifests.strategy("stopped"), manifests.strategy("other")
    )
    namespace.until_trading("stopped", "other")
    namespace.until_filled("stopped")
    lives = namespace.lives(of_strategy("stopped"))
    assert len(lives) == 1

    namespace.patch("strategy", "stopped", {"spec": {"suspend": True}})
    namespace.until_condition("strategy", "stopped", "Trading", "False", "Suspended")
    before = read_journal(namespace, manifests.VENUE)
    position = before.position("stopped")
    # The market goes on: the other strategy trades what this one would have traded.
    namespace.until_filled("other", more_than=namespace.filled("other") + 10)
    after = read_journal(namespace, manifests.VENUE)
    assert len(after.orders("other")) > len(before.orders("other"))
    assert len(after.orders("stopped")) == len(before.orders("stopped"))
    assert after.position("stopped") == position
    assert namespace.lives(of_strategy("stopped")) == lives, "its agents have restarted"

    filled = namespace.filled("stopped")
    namespace.patch("strategy", "stopped", {"spec": {"suspend": False}})
    namespace.until_trading("stopped")
    namespace.until_filled("stopped", more_than=filled)
    assert namespace.lives(of_strategy("stopped")) == lives, "its agents have restarted"
