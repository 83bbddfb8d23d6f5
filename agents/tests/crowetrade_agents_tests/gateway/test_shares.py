"""What the engine does with shares of limits that several gateways share."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.allowances.split import Need, Yield
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.gateway import shares
from crowetrade_agents.gateway.commands import Configure, SharesChanged
from crowetrade_agents.gateway.status import gateway_status
from crowetrade_agents.venues.port import QuoteChanged

from .scenario import EUR, Scenario, book, configuration, kinds, rule_of

UID = "uid-fleet"


def fleet(**limits: str) -> config_pb2.RiskRule:
    """A rule that counts both strategies at three gateways together."""
    rule = rule_of(limits, "fleet", total=True)
    rule.gateways.extend(("sim-fx", "two", "three"))
    return rule


def scenario(**limits: str) -> Scenario:
    """The gateway sim-fx under that rule; it knows no share yet."""
    found = Scenario()
    found.do(Configure(configuration(None, rule_of({"maxOrderQuantity": "1000000"}), fleet(**limits))))
    return found


def hold(gateway: Scenario, limit: str, held: int, kept: int | None = None) -> None:
    """It may use so many millionths, and is to keep so many of them."""
    key = (UID, limit)
    gateway.do(SharesChanged({key: held}, {key: held if kept is None else kept}))


def share(gateway: Scenario, limit: str) -> Decimal:
    return gateway.state.live.shares[UID, limit]


def need(gateway: Scenario, limit: str) -> Need:
    rules = {UID: next(rule for rule in gateway.state.live.configuration.rules if rule.name == "fleet")}
    return shares.needs(gateway.state, rules, gateway.now)[UID].limits[limit]


def refusals(gateway: Scenario) -> list[str]:
    return [word for word in kinds(gateway.last) if word.startswith("<")]


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("maxOrderRate", "10/1", "MaxOrderRate"),
        ("maxOpenOrders", "10", "MaxOpenOrders"),
        ("maxGrossNotional", "30000", "MaxGrossNotional"),
        ("maxNetNotional", "30000", "MaxNetNotional"),
    ],
)
def test_orders_need_a_known_share_and_room_in_it(limit: str, value: str, reason: str) -> None:
    gateway = scenario(**{limit: value})
    gateway.order(1)
    assert refusals(gateway) == ["< REJECTED ShareUnknown"]
    hold(gateway, limit, 0)
    gateway.order(2)
    assert refusals(gateway) == [f"< REJECTED {reason}"]
    hold(gateway, limit, 1_000_000)
    gateway.order(3)
    assert refusals(gateway) == ["< PENDING_NEW"]


@pytest.mark.parametrize(
    ("limit", "value", "demanded"),
    [
        # 10,000 EUR-USD at 1.1001, valued at the mid.
        ("maxGrossNotional", "22001", 500_000),
        ("maxNetNotional", "44002", 250_000),
        ("maxOpenOrders", "8", 125_000),
        ("maxOrderRate", "4/1", 250_000),
    ],
)
def test_an_order_that_is_refused_for_lack_of_a_share_is_wanted_for_two_seconds(
    limit: str, value: str, demanded: int
) -> None:
    gateway = scenario(**{limit: value})
    hold(gateway, limit, 0)
    before = gateway.state.live.demands_noted
    gateway.order(1)
    assert gateway.state.live.demands_noted == before + 1
    assert need(gateway, limit).demanded == demanded
    gateway.later(2)
    assert need(gateway, limit).demanded == 0


def test_what_was_wanted_is_not_any_more_once_an_order_leaves() -> None:
    gateway = scenario(maxOpenOrders="8")
    hold(gateway, "maxOpenOrders", 0)
    gateway.order(1)
    hold(gateway, "maxOpenOrders", 500_000)
    assert need(gateway, "maxOpenOrders").demanded == 125_000
    gateway.order(2)
    assert need(gateway, "maxOpenOrders") == Need(125_000, 0, 8, Yield.UNUSED)


def test_an_order_that_not_even_the_whole_limit_admits_is_not_wanted() -> None:
    gateway = scenario(maxGrossNotional="10000")
    hold(gateway, "maxGrossNotional", 0)
    gateway.order(1)
    assert refusals(gateway) == ["< REJECTED MaxGrossNotional"]
    assert need(gateway, "maxGrossNotional").demanded == 0


def test_what_is_used_is_told_in_millionths_of_the_whole() -> None:
    limits = {"maxOrderRate": "4/1", "maxOpenOrders": "8", "maxGrossNotional": "44002"}
    gateway = scenario(**limits)
    everything = {(UID, limit): 1_000_000 for limit in limits}
    gateway.do(SharesChanged(everything, everything))
    gateway.order(1)
    assert need(gateway, "maxOrderRate") == Need(250_000, 0, 4, Yield.ALL)
    assert need(gateway, "maxOpenOrders") == Need(125_000, 0, 8, Yield.UNUSED)
    assert need(gateway, "maxGrossNotional") == Need(250_000, 0, 0, Yield.EXCESS)


@pytest.mark.parametrize(("limit", "value"), [("maxGrossNotional", "44002"), ("maxNetNotional", "44002")])
def test_what_cannot_be_valued_is_not_known(limit: str, value: str) -> None:
    gateway = scenario(**{limit: value})
    hold(gateway, limit, 1_000_000)
    gateway.order(1)
    gateway.venue(QuoteChanged(9, book(EUR, bid="0", ask="0")))
    assert not need(gateway, limit).known
    # And nothing of it is given back.
    hold(gateway, limit, 1_000_000, kept=100_000)
    assert share(gateway, limit) == 1


def test_a_share_that_is_given_back_leaves_what_is_in_use() -> None:
    gateway = scenario(maxGrossNotional="44002")
    hold(gateway, "maxGrossNotional", 1_000_000)
    gateway.order(1)
    gateway.accepted(1)
    hold(gateway, "maxGrossNotional", 1_000_000, kept=100_000)
    assert share(gateway, "maxGrossNotional") == Decimal("0.25")
    assert "> urgent cancel" not in kinds(gateway.last)
    gateway.order(2)
    assert refusals(gateway) == ["< REJECTED MaxGrossNotional"]


def test_messages_are_over_by_themselves_so_a_share_of_them_is_given_back_at_once() -> None:
    gateway = scenario(maxOrderRate="4/1")
    hold(gateway, "maxOrderRate", 1_000_000)
    gateway.order(1)
    gateway.order(2)
    hold(gateway, "maxOrderRate", 1_000_000, kept=250_000)
    assert share(gateway, "maxOrderRate") == Decimal("0.25")
    assert dict(shares.used(gateway.state, gateway.now))[UID, "maxOrderRate"] == 500_000


def test_of_what_the_ledger_takes_away_nothing_more_is_used_but_what_is_open_stays() -> None:
    gateway = scenario(maxOpenOrders="8")
    hold(gateway, "maxOpenOrders", 1_000_000)
    gateway.order(1)
    gateway.accepted(1)
    gateway.do(SharesChanged({}, {}))
    assert kinds(gateway.last) == []
    gateway.order(2)
    assert refusals(gateway) == ["< REJECTED ShareUnknown"]


def test_a_gateway_whose_venue_is_deleted_needs_no_more_than_it_uses() -> None:
    gateway = scenario(maxOpenOrders="8")
    hold(gateway, "maxOpenOrders", 1_000_000)
    gateway.order(1)
    deleted = configuration(None, fleet(maxOpenOrders="8"), halted_reason="VenueDeleted")
    gateway.do(Configure(deleted))
    assert need(gateway, "maxOpenOrders") == Need(125_000, 0, 8, Yield.UNUSED, leaving=True)


def test_a_third_of_three_orders_is_one() -> None:
    gateway = scenario(maxOpenOrders="3")
    hold(gateway, "maxOpenOrders", 333_333)
    gateway.order(1)
    assert refusals(gateway) == ["< PENDING_NEW"]
    gateway.order(2, side=Side.BUY)
    assert refusals(gateway) == ["< REJECTED MaxOpenOrders"]


def test_the_share_of_a_limit_is_reported_also_when_it_is_not_used() -> None:
    gateway = scenario(maxGrossNotional="44002")
    hold(gateway, "maxGrossNotional", 960_000)
    (told,) = (item for item in gateway_status(gateway.state, 1, 0, [], gateway.now).utilisation)
    assert (told.risk_limit, told.limit, told.used) == ("fleet", "maxGrossNotional", "0")
    assert (told.share, told.total, Decimal(told.allowed)) == ("0.96", "44002", Decimal("42241.92"))
