"""What stops one strategy and leaves others alone, and what is missing before it may trade."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_api.conditions import ConditionType, find
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import StrategyStatus
from crowetrade_operator.decide.strategy import plan
from crowetrade_operator.decide.strategy_status import report
from crowetrade_operator_tests.decide.scenes import enforcing, fresh, silent, told
from crowetrade_operator_tests.decide.test_strategy_status import EMA, scene
from crowetrade_operator_tests.samples import SETTINGS, change, limit, limit_manifest, venue, venue_manifest

Object = dict[str, Any]


def status_of(*, at: Object | None = None, **gateway: Any) -> StrategyStatus:
    """Of a strategy whose gateway says this as well; `at` are settings of its scene."""
    observed = scene(gateway=gateway, **(at or {}))
    return report(observed, plan(observed, SETTINGS), None, StrategyStatus())


def kill(*strategies: str) -> kill_pb2.KillAcknowledgement:
    return kill_pb2.KillAcknowledgement(
        namespace="risk",
        name="all",
        mode=kill_pb2.KILL_MODE_FLATTEN,
        reason="bad market data",
        strategies=strategies,
    )


def breach(**fields: Any) -> status_pb2.Breach:
    defaults: Object = {
        "breach": "maxDailyLoss/ema@sim-fx-7",
        "risk_limit": "fx-desk",
        "limit": "maxDailyLoss",
        "subject": "ema",
        "action": "Block",
        "text": "lost 21000 of 20000 USD",
        "enforced": True,
    }
    return status_pb2.Breach(**(defaults | fields))


STOPPED: dict[str, tuple[Object, str, str]] = {
    "a KillSwitch": (
        {"kills": [kill("other", "ema")]},
        "KillSwitchEngaged",
        "KillSwitch risk/all stops it at venue sim-fx, mode Flatten: bad market data. How to re-arm says kubectl "
        "describe killswitch all -n risk.",
    ),
    "a breach of its own": (
        {"breaches": [breach()]},
        "LimitBreached",
        "clear-breach=maxDailyLoss/ema@sim-fx-7: REASON",
    ),
    "a breach of all that the limit binds": ({"breaches": [breach(subject="")]}, "LimitBreached", "Block"),
    "a breach with an action that nobody knows": ({"breaches": [breach(action="Freeze")]}, "LimitBreached", "Freeze"),
    "both: the KillSwitch first": (
        {"kills": [kill("ema")], "breaches": [breach()]},
        "KillSwitchEngaged",
        "KillSwitch risk/all",
    ),
    "a halt of the whole venue first": (
        {"kills": [kill("ema")], "blocked_reason": "PositionDifference", "blocked_message": "differs"},
        "PositionDifference",
        "differs",
    ),
}


@pytest.mark.parametrize("case", STOPPED)
def test_it_is_halted_by(case: str) -> None:
    gateway, reason, words = STOPPED[case]
    status = status_of(**gateway)
    assert status.phase == "Halted"
    for type_, truth in (
        (ConditionType.HALTED, "True"),
        (ConditionType.TRADING, "False"),
        (ConditionType.READY, "False"),
    ):
        found = told(status.conditions, type_)
        assert (found.status, found.reason) == (truth, reason)
        assert words in found.message


GOES_ON: dict[str, Object] = {
    "a KillSwitch stops others": {"kills": [kill("other")]},
    "a KillSwitch stops nobody here": {"kills": [kill()]},
    "a breach of another strategy": {"breaches": [breach(subject="other")]},
    "a breach of a limit that does not bind it": {"breaches": [breach(subject="", risk_limit="other")]},
    "a breach that is only told": {"breaches": [breach(action="Alert")]},
    "a breach that slows it down": {"breaches": [breach(action="Slow")]},
    "a breach of a rule that observes": {"breaches": [breach(enforced=False)]},
}


@pytest.mark.parametrize("case", GOES_ON)
def test_it_goes_on_when(case: str) -> None:
    status = status_of(**GOES_ON[case])
    assert status.phase == "Trading"
    assert find(status.conditions, ConditionType.HALTED) is None


def test_what_a_silent_gateway_said_is_not_told_as_if_it_held() -> None:
    said = enforcing(venue(), [EMA], [limit()], kills=[kill("ema")])
    status = status_of(at={"view": silent(said)})
    assert find(status.conditions, ConditionType.HALTED) is None
    assert told(status.conditions, ConditionType.TRADING).status != "True"


# --- limits that the venue requires


def requiring(*groups: str) -> Object:
    """The scene with a venue that requires these, under the sample's limit."""
    at = venue(change(venue_manifest(), "spec.requiredLimits", list(groups)))
    return {"venues": [at], "gateways": {"sim-fx": fresh(enforcing(at, [EMA], [limit()]))}}


def without(*names: str) -> RiskLimit:
    """The sample's limit without these."""
    manifest = limit_manifest()
    for name in names:
        del manifest["spec"]["limits"][name]
    return limit(manifest)


def under(found: RiskLimit) -> Object:
    return {"limits": [found]}


UNCOVERED: dict[str, tuple[Object, str]] = {
    "nothing on the position": (
        under(without("maxPositionQuantity")),
        "Venue sim-fx requires limits of group Position, and no enforced RiskLimit that selects this strategy sets "
        "maxPositionQuantity or maxGrossNotional or maxNetNotional for EUR-USD: all orders are refused. Set one of "
        "them under spec.limits of a RiskLimit, or take Position out of spec.requiredLimits of the VenueConnection.",
    ),
    "nothing on the rate": (under(without("maxOrderRate")), "group OrderRate"),
    "nothing on the size": (under(without("maxOrderQuantity", "maxOrderNotional")), "group OrderSize"),
    "no loss, which the venue requires": (requiring("Loss", "OrderSize"), "maxDailyLoss or maxDrawdown"),
}


@pytest.mark.parametrize("case", UNCOVERED)
def test_a_limit_that_the_venue_requires_is_missing(case: str) -> None:
    at, words = UNCOVERED[case]
    status = status_of(at=at)
    found = told(status.conditions, ConditionType.RISK_BOUND)
    assert (found.status, found.reason) == ("False", "RequiredLimitMissing")
    assert words in found.message
    assert told(status.conditions, ConditionType.TRADING).reason == "RequiredLimitMissing"
    assert status.phase == "Pending"


COVERED: dict[str, Object] = {
    "by the sample's limit": {},
    "one of the size's two is enough": under(without("maxOrderQuantity")),
    "the venue requires nothing": requiring(),
}


@pytest.mark.parametrize("case", COVERED)
def test_what_the_venue_requires_is_covered(case: str) -> None:
    assert told(status_of(at=COVERED[case]).conditions, ConditionType.RISK_BOUND).status == "True"


def test_a_limit_of_one_instrument_covers_no_other() -> None:
    rate = limit(change(limit_manifest("rate"), "spec.scope.instruments", ["GBP-USD"]))
    found = told(status_of(at={"limits": [without("maxOrderRate"), rate]}).conditions, ConditionType.RISK_BOUND)
    assert found.reason == "RequiredLimitMissing"


def test_a_limit_that_only_observes_covers_nothing() -> None:
    manifest = change(limit_manifest("rate"), "spec.enforcement", "Observe")
    found = told(
        status_of(at={"limits": [without("maxOrderRate"), limit(manifest)]}).conditions, ConditionType.RISK_BOUND
    )
    assert found.reason == "RequiredLimitMissing"
