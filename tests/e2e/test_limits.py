"""What a venue requires must be limited, and a breach is latched until a person clears it."""

from __future__ import annotations

from tests.e2e import manifests
from tests.e2e.journal import read_journal
from tests.e2e.namespaces import Namespace

_CLEAR = "trading.crowetrade.io/clear-breach"


def test_nothing_trades_before_what_the_venue_requires_is_limited(namespace: Namespace) -> None:
    venue = manifests.venue()
    limit = manifests.risk_limit()
    rate = limit["spec"]["limits"].pop("maxOrderRate")
    namespace.apply(limit, venue, manifests.strategy("ema"))
    # All that it needs for trading but the limit.
    namespace.until_condition("strategy", "ema", "AgentsAvailable")
    namespace.until_condition("strategy", "ema", "VenueConnected")
    namespace.until_condition("strategy", "ema", "RiskBound", "False", "RequiredLimitMissing")
    assert read_journal(namespace, manifests.VENUE).orders("ema") == [], "it traded without a limit that is required"
    assert namespace.filled("ema") == 0

    namespace.patch("risklimit", "desk", {"spec": {"limits": {"maxOrderRate": rate}}})
    namespace.until_trading("ema")
    namespace.until_filled("ema")


def test_a_loss_stops_a_strategy_until_a_person_clears_the_breach(namespace: Namespace) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("loser"), manifests.strategy("other"))
    namespace.until_trading("loser", "other")
    limit = manifests.risk_limit("losses", maxDailyLoss="0.01")
    limit["spec"] |= {"onBreach": "Cancel", "scope": {"strategySelector": {"matchLabels": {"who": "loser"}}}}
    namespace.apply(limit)
    # It trades with a spread and fees: a cent is lost soon.
    namespace.patch("strategy", "loser", {"metadata": {"labels": {"who": "loser"}}})

    namespace.until_condition("risklimit", "losses", "Breached", "True")
    breach = namespace.status("risklimit", "losses")["breached"][0]
    assert (breach["limit"], breach["strategy"], breach["action"]) == ("maxDailyLoss", "loser", "Cancel")
    namespace.until_condition("strategy", "loser", "Trading", "False", "LimitBreached")
    namespace.until_filled("other", more_than=namespace.filled("other"))

    namespace.patch("risklimit", "losses", {"spec": {"limits": {"maxDailyLoss": "1000000"}}})
    filled = namespace.filled("loser")
    entry = f"{breach['id']}: a test looked at it"
    namespace.patch("risklimit", "losses", {"metadata": {"annotations": {_CLEAR: entry}}})
    namespace.until_trading("loser")
    namespace.until_filled("loser", more_than=filled)
    assert _CLEAR not in namespace.get("risklimit", "losses")["metadata"].get("annotations", {})
