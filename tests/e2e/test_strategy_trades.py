"""A strategy trades whether it is there before its venue or after."""

from __future__ import annotations

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace


def test_strategy_after_its_venue(namespace: Namespace) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue())
    namespace.until_condition("venueconnection", manifests.VENUE, "Ready")
    namespace.apply(manifests.strategy("ema"))
    namespace.until_trading("ema")
    namespace.until_filled("ema")


def test_strategy_before_its_venue_and_its_limit(namespace: Namespace) -> None:
    namespace.apply(manifests.strategy("ema"))
    namespace.until_condition("strategy", "ema", "VenueConnected", "False", "VenueNotFound")
    namespace.apply(manifests.venue())
    namespace.until_condition("strategy", "ema", "VenueConnected")
    namespace.until_condition("strategy", "ema", "RiskBound", "False", "NoLimitInForce")
    assert namespace.filled("ema") == 0, "it traded without a limit in force"
    namespace.apply(manifests.risk_limit())
    namespace.until_trading("ema")
    namespace.until_filled("ema")
