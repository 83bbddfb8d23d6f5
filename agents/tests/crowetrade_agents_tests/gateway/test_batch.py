"""Group commit: what waits becomes one record, and nothing leaves before it but what reduces risk."""

from __future__ import annotations

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import batch, commands, effects
from crowetrade_agents_tests.gateway.scenario import EUR, Scenario, cl_ord_id, configuration, rule, terms

HALTED = configuration({"alpha": TradingState.HALTED, "beta": TradingState.ACTIVE}, revision="r2")


def _order(scenario: Scenario, number: int) -> commands.NewOrder:
    return commands.NewOrder(terms(number), scenario.now + 1, 0, scenario.now)


def test_a_burst_of_orders_is_one_record() -> None:
    scenario = Scenario()

    taken = batch.take(scenario.state, [_order(scenario, number) for number in range(1, 51)], scenario.now)

    assert [event.WhichOneof("event") for event in taken.events] == ["order_submitted"] * 50
    assert sum(isinstance(effect, effects.SendOrder) for effect in taken.after) == 50
    assert not taken.urgent


def test_each_order_in_a_batch_is_judged_with_those_before_it() -> None:
    scenario = Scenario()
    limits = configuration(None, rule(maxPositionQuantity="25000"), revision="r2")
    scenario.do(commands.Configure(limits))

    taken = batch.take(scenario.state, [_order(scenario, number) for number in (1, 2, 3)], scenario.now)

    assert sum(isinstance(effect, effects.SendOrder) for effect in taken.after) == 2


def test_cancels_of_a_halt_leave_before_the_append() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)

    taken = batch.take(scenario.state, [commands.Configure(HALTED)], scenario.now)

    assert [cancel.cancel.orig_cl_ord_id for cancel in taken.urgent] == [cl_ord_id(1)]
    assert [event.WhichOneof("event") for event in taken.events] == ["configuration_applied", "cancel_submitted"]
    assert not any(isinstance(effect, effects.SendCancel) for effect in taken.after)


def test_the_cancel_of_an_order_of_the_same_batch_follows_its_order() -> None:
    scenario = Scenario()

    taken = batch.take(scenario.state, [_order(scenario, 1), commands.Configure(HALTED)], scenario.now)

    assert not taken.urgent
    sent = [
        type(effect).__name__ for effect in taken.after if isinstance(effect, effects.SendOrder | effects.SendCancel)
    ]
    assert sent == ["SendOrder", "SendCancel"]


def test_a_gateway_without_a_journal_cancels_everything_that_is_open() -> None:
    """Finding G4: without the bus one order of ten could be cancelled."""
    scenario = Scenario()
    for number in range(1, 11):
        scenario.order(number)
        scenario.accepted(number)
    scenario.cancel(3, 20)

    cancels = batch.emergency_cancels(scenario.state)

    assert {item.cancel.orig_cl_ord_id for item in cancels} == {cl_ord_id(number) for number in range(1, 11)}
    assert len({item.cancel.cl_ord_id for item in cancels}) == 10
    assert all(item.urgent for item in cancels)
    first = cancels[0].cancel
    assert (first.cl_ord_id, first.order_id, first.instrument, first.side, first.reason) == (
        "alpha-g1-1",
        "v1",
        EUR,
        Side.BUY,
        "GatewayStopping",
    )
