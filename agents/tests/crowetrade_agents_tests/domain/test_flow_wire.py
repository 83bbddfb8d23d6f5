"""What the roles hand on survives the bus unchanged, and what a message lacks is refused in it alone."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents.domain import flow_wire
from crowetrade_agents.domain.flow import (
    FeatureVector,
    InstrumentQuotes,
    MarketEvent,
    Origin,
    Signal,
    TargetPosition,
    TargetQuotes,
    Weight,
)
from crowetrade_agents.domain.hold_reasons import NOT_READY
from crowetrade_agents.domain.market import Bar, TopOfBook, Trade
from crowetrade_agents.domain.orders import Side

from ..messages import BTC, EUR, EUR_B, START_NS, origin, quote, wire

prices = st.decimals("0.000000000000000001", "99999999999999999999", places=18).filter(lambda value: value > 0)
unsigned = st.decimals("0", "99999999999999999999", places=18)
quantities = st.decimals("-99999999999999999999", "99999999999999999999", places=18)
origins = st.builds(Origin, st.sampled_from([EUR, BTC]), st.integers(1, 2**63), st.integers(1, 2**62))
finite = st.floats(allow_nan=False, allow_infinity=False)
reasons = st.sampled_from(sorted(str(reason) for reason in NOT_READY))


@given(st.builds(FeatureVector, origins, st.none() | prices, st.just(""), st.dictionaries(st.text(max_size=9), finite)))
def test_a_vector_comes_out_as_it_went_in(vector: FeatureVector) -> None:
    assert flow_wire.feature_vector(flow_wire.feature_vector_to_wire(vector)) == vector


@given(
    st.builds(
        Signal,
        origins,
        st.none() | prices,
        st.just(""),
        finite,
        finite,
        finite,
        st.lists(st.builds(Weight, st.just(EUR_B), finite, st.none() | prices), max_size=3).map(tuple),
        st.lists(
            st.builds(InstrumentQuotes, st.just(EUR_B), finite, finite, finite, finite, st.none() | prices), max_size=3
        ).map(tuple),
    )
)
def test_a_signal_comes_out_as_it_went_in(signal: Signal) -> None:
    assert flow_wire.signal(flow_wire.signal_to_wire(signal)) == signal


@given(origins, reasons)
def test_what_is_not_ready_keeps_its_reason(caused_by: Origin, reason: str) -> None:
    vector, signal = FeatureVector(caused_by, None, reason), Signal(caused_by, None, reason)
    assert flow_wire.feature_vector(flow_wire.feature_vector_to_wire(vector)) == vector
    assert flow_wire.signal(flow_wire.signal_to_wire(signal)) == signal


@pytest.mark.parametrize("reason", ["", "DataGap", "no such reason"])
def test_what_is_not_ready_without_a_known_reason_counts_as_warming_up(reason: str) -> None:
    assert flow_wire.feature_vector(pb.FeatureVector(reason=reason)).reason == "WarmingUp"
    assert flow_wire.signal(pb.Signal(reason=reason)).reason == "WarmingUp"


@given(
    st.builds(
        TargetPosition,
        origins,
        st.dictionaries(st.sampled_from([EUR, BTC]), quantities),
        st.text(),
        st.dictionaries(
            st.sampled_from([EUR, BTC]), st.builds(TargetQuotes, prices, prices, unsigned, unsigned, unsigned)
        ),
    )
)
def test_a_target_comes_out_as_it_went_in(target: TargetPosition) -> None:
    assert flow_wire.target(flow_wire.target_to_wire(target)) == target


def test_a_target_of_which_one_quantity_cannot_be_read_is_none() -> None:
    wrong = pb.TargetPosition(
        origin=origin(2),
        targets=[
            pb.Target(instrument=wire(BTC), quantity="1"),
            pb.Target(instrument=wire(EUR), quantity="1e9999999"),
        ],
    )
    target = flow_wire.target(wrong)
    assert (target.origin.sequence, target.targets, target.hold_reason) == (2, {}, "InvalidTarget")


@pytest.mark.parametrize(
    "field",
    [
        {"fair_price": "0"},
        {"fair_price": ""},
        {"half_spread": "0"},
        {"half_spread": "-0.1"},
        {"skew": "-0.1"},
        {"quantity": "-1"},
        {"max_position": "1e9"},
    ],
    ids=str,
)
def test_quotes_of_which_one_number_is_wrong_are_none(field: dict[str, str]) -> None:
    right = {"fair_price": "1.1", "half_spread": "0.1", "skew": "0", "quantity": "1000", "max_position": "5000"}
    message = pb.TargetQuotes(instrument=wire(EUR), **right)
    assert flow_wire.target(pb.TargetPosition(origin=origin(2), quotes=[message])).quotes[EUR].quantity == 1000
    wrong = pb.TargetQuotes(instrument=wire(EUR), **{**right, **field})
    target = flow_wire.target(pb.TargetPosition(origin=origin(2), quotes=[message, wrong]))
    assert (target.origin.sequence, target.quotes, target.hold_reason) == (2, {}, "InvalidTarget")


@pytest.mark.parametrize("text", ["", "nan", "0", "-1", "1e5"])
def test_a_mid_price_that_is_no_price_is_unknown(text: str) -> None:
    assert flow_wire.feature_vector(pb.FeatureVector(mid_price=text)).mid is None
    assert flow_wire.signal(pb.Signal(weights=[pb.Weight(mid_price=text)])).weights[0].mid is None


BOOK = TopOfBook(EUR, Decimal("1.1"), Decimal(5), Decimal("1.2"), None, START_NS)
TRADE = Trade(EUR, START_NS, Decimal("1.1"), Decimal(5), Side.SELL)


@pytest.mark.parametrize("body", [BOOK, TRADE, Trade(EUR, START_NS, Decimal("1.1"), Decimal(5), None)])
def test_market_data_comes_out_as_it_went_in(body: TopOfBook | Trade) -> None:
    event = MarketEvent(3, START_NS, EUR, body)
    assert flow_wire.market_event(flow_wire.market_event_to_wire(event, START_NS + 1)) == event


def test_a_bar_is_read() -> None:
    bar = pb.Bar(instrument=wire(EUR), open="1", high="3", low="0.5", close="2", interval_ns=60)
    event = flow_wire.market_event(pb.MarketData(sequence=3, event_unix_ns=START_NS, bar=bar))
    assert event.event == Bar(EUR, START_NS, Decimal(1), Decimal(3), Decimal("0.5"), Decimal(2), None, 60)


@pytest.mark.parametrize(
    "message",
    [
        quote(1, "nan", "1.1"),
        quote(1, "1.1", "0"),
        quote(1, "1.1", "1.2", quantity="-"),
        pb.MarketData(trade=pb.Trade(instrument=wire(EUR), price="1.1")),
        pb.MarketData(bar=pb.Bar(instrument=wire(EUR), open="1", high="3", low="-0.5", close="2")),
    ],
    ids=["price", "offer", "quantity", "trade", "bar"],
)
def test_an_event_with_a_wrong_number_is_none_of_its_instrument(message: pb.MarketData) -> None:
    event = flow_wire.market_event(message)
    assert (event.instrument, event.event) == (EUR, None)


def test_an_unset_event_is_of_no_instrument() -> None:
    event = flow_wire.market_event(pb.MarketData(sequence=7))
    assert (event.sequence, event.instrument, event.event) == (7, ("", ""), None)
