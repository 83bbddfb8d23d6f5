"""What a gateway may use of a limit that several share."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits import KNOWN
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.shares import SPLIT, allowed, share_of
from crowetrade_agents_tests.risk.limits.exposures import exposure
from crowetrade_agents_tests.risk.values import EUR, NOW, D, case, check, facts, order, reason, rule, sent

SHARED = rule(aggregate_total=True, gateways=["sim-a", "sim-fx"])
WHOLE: dict[str, tuple[str, dict[str, str]]] = {
    # A limit that would admit a buy of 5,000 EUR-USD, or one message, only just.
    "maxGrossNotional": ("5500.5", {"value": "11001"}),
    "maxNetNotional": ("5500.5", {"value": "11001"}),
    "maxOpenOrders": ("1", {"value": "2"}),
    "maxOrderRate": ("1", {"count": "2", "perSeconds": "1"}),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize(
    ("share", "expected"),
    [("1", None), ("0.5", None), ("0.49", "limit"), ("0", "limit"), (None, "share"), ("NaN", "limit")],
)
def test_a_share_is_what_may_be_used(name: str, share: str | None, expected: str | None) -> None:
    limit, (_, values) = KNOWN[name], WHOLE[name]
    shares = {} if share is None else {("uid-1", name): D(share)}
    refusal = check(limit, limit.parse(values), case(order(), facts(shares=shares)), SHARED)
    refused = {None: None, "limit": limit.reason, "share": Reason.SHARE_UNKNOWN}[expected]
    assert reason(refusal) is refused
    if expected == "limit":
        assert refusal is not None
        assert "this gateway's share" in refusal.text


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("changes", [{"aggregate_total": False}, {"gateways": []}])
def test_a_limit_that_is_not_split_needs_none(name: str, changes: dict[str, Any]) -> None:
    given: dict[str, Any] = {"aggregate_total": True, "gateways": ["sim-a", "sim-fx"], **changes}
    whole = rule(**given)
    limit = KNOWN[name]
    assert check(limit, limit.parse(WHOLE[name][1]), case(order(), facts()), whole) is None


def test_the_share_of_another_rule_or_limit_is_none() -> None:
    shares = {("uid-2", "maxGrossNotional"): D(1), ("uid-1", "maxNetNotional"): D(1)}
    assert share_of(SHARED, "maxGrossNotional", shares) is None
    assert allowed(SHARED, "maxGrossNotional", D(9), shares) is None
    assert allowed(SHARED, "maxPositionQuantity", D(9), shares) == 9


def test_an_unknown_share_stops_nothing_that_reduces() -> None:
    known = facts(exposures={("ema", EUR): exposure("9000")}, messages=sent(NOW))
    for name in ("maxGrossNotional", "maxNetNotional"):
        limit = KNOWN[name]
        assert check(limit, D(1), case(order(side=Side.SELL), known), SHARED) is None
        assert reason(check(limit, D(10**12), case(order(), known), SHARED)) is Reason.SHARE_UNKNOWN
    rate = KNOWN["maxOrderRate"]
    value = rate.parse({"count": "1", "perSeconds": "1"})
    assert reason(check(rate, value, case(order(side=Side.SELL), known), SHARED)) is Reason.SHARE_UNKNOWN


def test_use_says_the_share_and_the_whole() -> None:
    held = {("ema", EUR): exposure("1000", orders=1)}
    known = facts(exposures=held, shares={("uid-1", "maxGrossNotional"): D("0.25")}, messages=sent(NOW))
    found = [
        use
        for name, (_, values) in WHOLE.items()
        for use in KNOWN[name].use(KNOWN[name].parse(values), Sums(known), SHARED)
    ]
    assert found == [
        Use("desk", "maxGrossNotional", "", D("1100.1"), D("2750.25"), D(11_001), D("0.25")),
        Use("desk", "maxNetNotional", "", D("1100.1"), D(0), D(11_001), D(0)),
        Use("desk", "maxOpenOrders", "", D(1), D(0), D(2), D(0)),
        Use("desk", "maxOrderRate", "", D(1), D(0), D(2), D(0)),
    ]


def test_limits_of_one_order_or_one_instrument_are_not_split() -> None:
    assert SPLIT & KNOWN.keys() >= set(WHOLE)
    assert not SPLIT & {"maxOrderQuantity", "maxOrderNotional", "maxPositionQuantity", "maxConcentration"}
