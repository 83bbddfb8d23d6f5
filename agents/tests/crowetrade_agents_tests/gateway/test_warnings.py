"""Uses of limits that rise to warnAt are told once, until they have fallen."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.gateway.status import UTILISATION_KEPT, gateway_status
from crowetrade_agents.gateway.warnings import Warnings
from crowetrade_agents.risk.rule_reading import compile_rule
from crowetrade_agents.risk.rules import Rule
from crowetrade_agents_tests.gateway.breaches import Desk, loss_rule

RULE = compile_rule(loss_rule({"maxDailyLoss": "100"}, warn_at="0.7"))


def _status(*used: str, allowed: str = "100") -> status_pb2.GatewayStatus:
    return status_pb2.GatewayStatus(
        utilisation=[
            status_pb2.Utilisation(risk_limit="loss", limit="maxDailyLoss", key=f"s{number}", used=use, allowed=allowed)
            for number, use in enumerate(used)
        ]
    )


def _told(warnings: Warnings, *used: str, allowed: str = "100", rule: Rule = RULE) -> list[str]:
    return [item.key for item in warnings.crossed(_status(*used, allowed=allowed), [rule])]


@pytest.mark.parametrize(("used", "told"), [("69.99", []), ("70", ["s0"]), ("70.01", ["s0"]), ("250", ["s0"])])
def test_from_the_share_on(used: str, told: list[str]) -> None:
    assert _told(Warnings(), used) == told


def test_a_limit_that_allows_nothing_is_used_up() -> None:
    assert _told(Warnings(), "0.01", allowed="0") == ["s0"]
    assert _told(Warnings(), "0", allowed="0") == []


def test_one_that_hovers_is_told_once() -> None:
    warnings = Warnings()
    assert [_told(warnings, used) for used in ("70", "69", "71", "65", "90", "64.99", "69", "70")] == [
        ["s0"],
        [],
        [],
        [],
        [],
        [],
        [],
        ["s0"],
    ]


def test_one_that_is_not_used_any_more_is_told_again() -> None:
    warnings = Warnings()
    assert [_told(warnings, *used) for used in (("80",), (), ("80",))] == [["s0"], [], ["s0"]]


def test_one_that_the_status_has_no_place_for_is_not_told_again() -> None:
    warnings = Warnings()
    assert len(_told(warnings, *["80"] * UTILISATION_KEPT)) == UTILISATION_KEPT
    full = _status(*["90"] * (UTILISATION_KEPT + 1))
    del full.utilisation[0]
    assert [item.key for item in warnings.crossed(full, [RULE])] == [f"s{UTILISATION_KEPT}"]
    assert _told(warnings, *["80"] * UTILISATION_KEPT) == []


def test_without_warn_at_nothing_is_told() -> None:
    quiet = compile_rule(loss_rule({"maxDailyLoss": "100"}))
    assert _told(Warnings(), "99", rule=quiet) == []


def test_a_loss_that_grows_is_told_by_the_status_of_its_gateway() -> None:
    desk, warnings = Desk(), Warnings()
    rules = desk.put(loss_rule({"maxDailyLoss": "100"}, warn_at="0.7")).rules
    desk.trade(1, 10_000)
    told = []
    for mid in ("1.0931", "1.093", "1.0929"):
        desk.quote(mid)
        told.append(warnings.crossed(gateway_status(desk.state, 0, 0, (), desk.now), rules))
    assert [[(item.key, Decimal(item.used)) for item in items] for items in told] == [[], [("alpha", Decimal(70))], []]
