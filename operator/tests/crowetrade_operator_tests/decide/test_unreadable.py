"""What is said of a Strategy or RiskLimit that cannot be read; what stays of its status."""

from __future__ import annotations

from crowetrade_api.conditions import ConditionType
from crowetrade_api.v1alpha1.meta import read
from crowetrade_api.v1alpha1.risklimit import RiskLimit, RiskLimitStatus, UnreadableLimit
from crowetrade_api.v1alpha1.strategy import StrategyStatus
from crowetrade_operator.decide import strategy_deletion
from crowetrade_operator.decide.unreadable import plan_strategy, report_limit, report_strategy
from crowetrade_operator_tests.decide.scenes import NOW, deleting, namespace_view, told
from crowetrade_operator_tests.samples import SETTINGS, change, limit_manifest, stored, unreadable_strategy

KNOWN = StrategyStatus.model_validate(
    {"phase": "Trading", "position": [{"symbol": "EUR-USD", "venue": "sim-fx", "quantity": "7000"}]}
)


def test_a_strategy_says_what_is_wrong_and_keeps_its_figures() -> None:
    odd = unreadable_strategy(generation=3)
    status = report_strategy(odd, KNOWN, NOW)
    assert (status.phase, status.observed_generation) == ("Halted", 3)
    assert [item.quantity for item in status.position] == ["7000"]
    for type_ in (ConditionType.READY, ConditionType.TRADING):
        found = told(status.conditions, type_)
        assert (found.status, found.reason, found.observed_generation) == ("False", "StrategyUnreadable", 3)
        assert "(spec.mode: Input should be 'Paper')" in found.message
        assert "upgrade the operator, or correct or delete the Strategy" in found.message


def test_its_children_stay_and_its_end_is_safe() -> None:
    odd = unreadable_strategy()
    plan = plan_strategy(strategy_deletion.Observed(odd, namespace_view([odd]), NOW), SETTINGS)
    assert (list(plan.apply), list(plan.delete), plan.finalizer) == ([], [], True)
    gone = unreadable_strategy(**deleting())
    ending = plan_strategy(strategy_deletion.Observed(gone, namespace_view([gone]), NOW), SETTINGS)
    assert ending.finalizer is None, "its gateway has not stopped it"
    assert report_strategy(gone, KNOWN, NOW).phase == "Stopping"


def test_a_limit_says_that_it_halts_its_namespace() -> None:
    odd = read(stored(change(limit_manifest(), "spec.onBreach", "Explode")), RiskLimit, UnreadableLimit)
    assert isinstance(odd, UnreadableLimit)
    found = told(report_limit(odd, RiskLimitStatus(), NOW).conditions, ConditionType.ENFORCED)
    assert (found.status, found.reason) == ("False", "LimitUnreadable")
    assert "spec.onBreach" in found.message
    assert "all venues of the namespace are halted" in found.message
