"""Orders walk the recorded book, and what is taken of a level is gone until the level is shown again."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.orders import Side, TimeInForce
from crowetrade_agents.venues.adapters.simulated.exchange import Exchange, VenueReason
from crowetrade_agents.venues.adapters.simulated.queue import QueueModel
from crowetrade_agents.venues.adapters.simulated.requests import NewOrder, Replace
from crowetrade_agents.venues.adapters.simulated.spec import Fees
from crowetrade_agents.venues.port import Ended, OrderEvent

from ...values import EUR, D, terms
from .recorded_depth import Recorded, X, fills

BIDS, OFFERS = {99: 5, 98: 10, 96: 20}, {101: 4, 102: 8, 105: 100}
IOC, FOK, GTC = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTC


@pytest.fixture
def market() -> Recorded:
    """BIDS and OFFERS are shown."""
    made = Recorded(Exchange({EUR: X}, Fees(D(1), D(2))))
    made.show(BIDS, OFFERS)
    return made


def order(
    market: Recorded,
    side: Side,
    quantity: int,
    price: int | None,
    time_in_force: TimeInForce = IOC,
    name: str = "a",
    *,
    post_only: bool = False,
) -> list[OrderEvent]:
    wanted = terms(name, side, str(quantity), None if price is None else str(price), time_in_force, post_only=post_only)
    market.exchange.send(NewOrder(wanted), market.exchange.now_ns)
    return market.exchange.advance(market.exchange.now_ns)


@pytest.mark.parametrize(
    ("side", "quantity", "price", "time_in_force", "expected"),
    [
        (Side.BUY, 3, 101, IOC, [(3, 101)]),
        (Side.BUY, 10, 101, IOC, [(4, 101)]),
        (Side.BUY, 10, 103, IOC, [(4, 101), (6, 102)]),
        (Side.BUY, 20, None, GTC, [(4, 101), (8, 102), (8, 105)]),
        (Side.BUY, 200, None, GTC, [(4, 101), (8, 102), (100, 105)]),
        (Side.BUY, 12, 102, FOK, [(4, 101), (8, 102)]),
        (Side.BUY, 13, 102, FOK, []),
        (Side.BUY, 9, 100, IOC, []),
        (Side.SELL, 12, 97, IOC, [(5, 99), (7, 98)]),
        (Side.SELL, 40, None, GTC, [(5, 99), (10, 98), (20, 96)]),
    ],
)
def test_a_taker_walks_the_levels_up_to_its_limit(
    market: Recorded,
    side: Side,
    quantity: int,
    price: int | None,
    time_in_force: TimeInForce,
    expected: list[tuple[int, int]],
) -> None:
    events = order(market, side, quantity, price, time_in_force)
    assert [(taken, paid) for _, taken, paid in fills(events)] == expected


def test_what_was_taken_is_gone_until_its_level_is_shown_again(market: Recorded) -> None:
    order(market, Side.BUY, 6, 102)
    assert fills(order(market, Side.BUY, 99, 102, name="b")) == [("b", 6, 102)]
    market.show({99: 6}, {105: 90})
    assert not fills(order(market, Side.BUY, 99, 102, name="c"))
    market.show({}, {102: 3})
    assert fills(order(market, Side.BUY, 99, 102, name="d")) == [("d", 3, 102)]
    market.show(BIDS, OFFERS, resets=True)
    assert fills(order(market, Side.BUY, 5, 102, name="e")) == [("e", 4, 101), ("e", 1, 102)]


@pytest.mark.parametrize(
    ("price", "aggressor", "left"),
    [(101, Side.BUY, 1), (101, None, 1), (101, Side.SELL, 4), (102, Side.BUY, 4), (99, None, 4)],
)
def test_what_others_traded_at_a_level_is_gone_too(
    market: Recorded, price: int, aggressor: Side | None, left: int
) -> None:
    market.trade(price, 3, aggressor)
    assert [quantity for _, quantity, _ in fills(order(market, Side.BUY, 9, 101))] == [left]


def test_a_level_that_is_gone_offers_nothing(market: Recorded) -> None:
    market.show({}, {101: 0})
    assert fills(order(market, Side.BUY, 9, 102)) == [("a", 8, 102)]


def test_a_resting_order_fills_when_the_other_side_reaches_it_at_its_price_in_one_execution(market: Recorded) -> None:
    assert not fills(order(market, Side.BUY, 20, 100, GTC))
    assert fills(market.show({99: 0}, {98: 2, 100: 7})) == [("a", 9, 100)]
    assert not fills(market.show({}, {101: 4}))
    assert fills(market.show({}, {100: 30})) == [("a", 11, 100)]


def test_a_post_only_order_does_not_take(market: Recorded) -> None:
    ended = order(market, Side.BUY, 1, 101, GTC, post_only=True)[-1]
    assert isinstance(ended, Ended)
    assert ended.reason == VenueReason.POST_ONLY
    assert len(order(market, Side.BUY, 1, 100, GTC, "b", post_only=True)) == 1


PRICE_TIME, PROBABILISTIC = QueueModel.PRICE_TIME, QueueModel.PROBABILISTIC


def queued(model: QueueModel = PRICE_TIME) -> Recorded:
    """BIDS and OFFERS are shown, and resting orders have a place in the queue."""
    made = Recorded(Exchange({EUR: X}, Fees(D(1), D(2)), queue_model=model))
    made.show(BIDS, OFFERS)
    return made


def test_a_resting_order_waits_until_what_stood_ahead_has_traded() -> None:
    market = queued()
    order(market, Side.BUY, 6, 99, GTC)
    assert not fills(market.trade(99, 5))
    assert fills(market.trade(99, 2)) == [("a", 2, 99)]
    assert fills(market.trade(99, 9)) == [("a", 4, 99)]
    assert not fills(market.trade(99, 9))


def test_sells_wait_in_the_queue_of_the_offers() -> None:
    market = queued()
    order(market, Side.SELL, 6, 101, GTC)
    assert not fills(market.trade(101, 30, Side.SELL))
    assert not fills(market.trade(101, 4, Side.BUY))
    assert fills(market.trade(101, 2, Side.BUY)) == [("a", 2, 101)]


def test_without_a_queue_model_trades_fill_nothing(market: Recorded) -> None:
    order(market, Side.BUY, 6, 99, GTC)
    assert not fills(market.trade(98, 50))


@pytest.mark.parametrize(("model", "filled"), [(PRICE_TIME, 0), (PROBABILISTIC, 1)])
def test_cancels_are_behind_in_one_model_and_on_both_sides_in_the_other(model: QueueModel, filled: int) -> None:
    market = queued(model)
    order(market, Side.BUY, 6, 98, GTC)
    market.show({98: 20}, {})
    # Ten ahead and ten behind. Of ten cancels none was ahead, or five were.
    market.show({98: 10, 99: 0, 97: 1}, {})
    assert sum(quantity for _, quantity, _ in fills(market.trade(98, 6))) == filled


def test_trades_are_not_counted_again_as_cancels() -> None:
    market = queued(PROBABILISTIC)
    order(market, Side.BUY, 6, 98, GTC)
    market.show({98: 20, 99: 0}, {})
    market.trade(98, 4)
    market.show({98: 16}, {})
    assert not fills(market.trade(98, 6))
    assert fills(market.trade(98, 1)) == [("a", 1, 98)]


def test_a_trade_through_the_price_fills_what_was_traded_at_the_orders_price() -> None:
    market = queued()
    for name, price in (("a", 98), ("b", 99), ("c", 99)):
        order(market, Side.BUY, 2, price, GTC, name)
    assert fills(market.trade(96, 5)) == [("b", 2, 99), ("c", 2, 99), ("a", 1, 98)]


def test_the_offer_that_comes_down_to_the_price_fills_it_too() -> None:
    market = queued()
    order(market, Side.BUY, 6, 99, GTC)
    assert fills(market.show({99: 0}, {99: 4})) == [("a", 4, 99)]


@pytest.mark.parametrize(
    ("price", "quantity", "filled"), [("99", "5", [("a", 1, 99)]), ("99", "7", []), ("98", "6", [("a2", 1, 98)])]
)
def test_a_replacement_that_asks_for_more_joins_the_queue_again(
    price: str, quantity: str, filled: list[tuple[str, int, int]]
) -> None:
    market = queued()
    order(market, Side.BUY, 6, 99, GTC)
    market.trade(99, 5)
    market.show({99: 5}, {})
    replacing = Replace(terms("a2", Side.BUY, quantity, price), "a", "")
    market.exchange.send(replacing, market.exchange.now_ns)
    market.exchange.advance(market.exchange.now_ns)
    expected = [("a2", taken, paid) for _, taken, paid in filled]
    assert fills(market.trade(int(price), 1 if price == "99" else 11)) == expected


def test_beyond_the_deepest_level_an_order_joins_behind_what_is_shown_there_first() -> None:
    market = queued()
    order(market, Side.BUY, 6, 95, GTC)
    assert not fills(market.trade(95, 50))
    market.show({95: 3, 96: 0, 98: 0, 99: 0, 94: 1}, {})
    assert fills(market.trade(95, 4)) == [("a", 1, 95)]


def test_a_book_that_begins_anew_keeps_places_that_it_shows() -> None:
    market = queued()
    order(market, Side.BUY, 1, 99, GTC)
    order(market, Side.BUY, 6, 96, GTC, "b")
    market.show({99: 3, 98: 1}, {101: 9}, resets=True)
    assert fills(market.trade(99, 4)) == [("a", 1, 99)]
    market.show({96: 7, 98: 0, 99: 0, 90: 1}, {})
    assert fills(market.trade(96, 8)) == [("b", 1, 96)]
