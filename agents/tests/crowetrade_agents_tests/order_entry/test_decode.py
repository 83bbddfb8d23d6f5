"""What a strategy sends: each bound refuses with its reason, and no message raises."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade.bus.v1 import instrument_pb2, market_data_pb2, orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrderTerms, OrdType, Side, TimeInForce
from crowetrade_agents.execution.ids import ClOrdIds
from crowetrade_agents.order_entry.commands import CancelOrder, Malformed, NewOrder, ReplaceOrder
from crowetrade_agents.order_entry.decode import (
    MAX_EXPIRE_NS,
    MAX_REQUEST_BYTES,
    MAX_VALIDITY_NS,
    Bounds,
    Heartbeat,
    Progress,
    Violation,
    decode,
    owns,
)
from crowetrade_agents.order_entry.port import Request
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.clock import SECOND_NS, START_NS
from crowetrade_agents_tests.order_entry import requests
from crowetrade_agents_tests.order_entry.requests import PUBLISHED, RUN, VENUE, cl_ord_id

BOUNDS = Bounds("alpha", VENUE, PUBLISHED, START_NS)
Decoded = NewOrder | CancelOrder | ReplaceOrder | Malformed | Progress | Heartbeat | Violation


def edited(request: Request, **fields: object) -> Request:
    """The request with some of its message's fields changed."""
    message = getattr(request, str(request.WhichOneof("message")))
    for name, value in fields.items():
        if isinstance(value, Message):
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)
    return request


def order(**fields: object) -> Request:
    """A good order with some fields changed."""
    return edited(requests.new_order(), **fields)


def instrument(venue: str = VENUE, symbol: str = "EUR-USD") -> instrument_pb2.InstrumentId:
    """For `order`."""
    return instrument_pb2.InstrumentId(venue=venue, symbol=symbol)


def test_a_good_order_is_what_it_says() -> None:
    terms = OrderTerms(
        cl_ord_id=f"alpha-{RUN}-1",
        strategy="alpha",
        instrument=InstrumentId("sim", "EUR-USD"),
        side=Side.BUY,
        quantity=Decimal("1000"),
        ord_type=OrdType.LIMIT,
        price=Decimal("1.1"),
        time_in_force=TimeInForce.GTC,
    )
    assert decode(requests.new_order(), BOUNDS) == NewOrder(terms, START_NS + 5 * SECOND_NS, 7, START_NS)


def test_a_good_cancel_is_what_it_says() -> None:
    assert decode(requests.cancel(), BOUNDS) == CancelOrder("alpha", f"alpha-{RUN}-2", f"alpha-{RUN}-1")


def test_a_good_replace_is_what_it_says() -> None:
    assert decode(requests.replace(), BOUNDS) == ReplaceOrder(
        "alpha",
        f"alpha-{RUN}-2",
        f"alpha-{RUN}-1",
        Decimal("2000"),
        Decimal("1.2"),
        START_NS + 5 * SECOND_NS,
        8,
        START_NS,
    )


@pytest.mark.parametrize(
    ("wire", "side"), [(market_data_pb2.SIDE_BUY, Side.BUY), (market_data_pb2.SIDE_SELL, Side.SELL)]
)
def test_each_side_is_its_own(wire: int, side: Side) -> None:
    decoded = decode(order(side=wire), BOUNDS)
    assert isinstance(decoded, NewOrder)
    assert decoded.terms.side is side


@pytest.mark.parametrize("time_in_force", list(TimeInForce))
def test_each_time_in_force_is_its_own(time_in_force: TimeInForce) -> None:
    wire = orders_pb2.TimeInForce.Value(f"TIME_IN_FORCE_{time_in_force.value}")
    expire = MAX_EXPIRE_NS if time_in_force is TimeInForce.GTD else 0
    decoded = decode(order(time_in_force=wire, expire_unix_ns=expire), BOUNDS)
    assert isinstance(decoded, NewOrder)
    assert decoded.terms.time_in_force is time_in_force
    assert decoded.terms.expire_ns == (expire or None)


def test_a_market_order_has_no_price() -> None:
    decoded = decode(order(ord_type=orders_pb2.ORD_TYPE_MARKET, price=""), BOUNDS)
    assert isinstance(decoded, NewOrder)
    assert decoded.terms.ord_type is OrdType.MARKET
    assert decoded.terms.price is None


def test_a_resting_limit_order_may_be_post_only() -> None:
    decoded = decode(order(post_only=True), BOUNDS)
    assert isinstance(decoded, NewOrder)
    assert decoded.terms.post_only


@pytest.mark.parametrize("valid_until_ns", [1, START_NS - SECOND_NS, START_NS + MAX_VALIDITY_NS])
def test_a_deadline_may_be_past_or_up_to_a_day_ahead(valid_until_ns: int) -> None:
    """Whether it is too late is the engine's to say, when it gets there."""
    decoded = decode(order(valid_until_unix_ns=valid_until_ns), BOUNDS)
    assert isinstance(decoded, NewOrder)
    assert decoded.valid_until_ns == valid_until_ns


def test_an_origin_of_another_venue_says_nothing_of_this_one() -> None:
    decoded = decode(order(origin=requests.origin(2**64 - 1, venue="other")), BOUNDS)
    assert isinstance(decoded, NewOrder)
    assert decoded.origin_sequence == 0


def test_an_order_without_origin_has_none() -> None:
    request = requests.new_order()
    request.new_order.ClearField("origin")
    decoded = decode(request, BOUNDS)
    assert isinstance(decoded, NewOrder)
    assert decoded.origin_sequence == 0


BAD_DECIMALS = [
    "",
    "1E-2000000",
    "1E-400000000",
    "1E5",
    "1_000",
    "１０００",  # full-width digits
    "١٠٠٠",  # Arabic-Indic digits
    " 1000",
    "1000 ",
    "1000\n",
    "+1000",
    "01000",
    ".5",
    "5.",
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "0x10",
    "1,000",
    "9" * 21,
    "0." + "1" * 19,
    "1" * 600_000,
]
NOT_POSITIVE = ["0", "-1", "0.000", "-0"]
LONG = "A" * 600_000


@pytest.mark.parametrize("text", BAD_DECIMALS + NOT_POSITIVE, ids=lambda text: ascii(text[:24]))
@pytest.mark.parametrize("make", [requests.new_order, requests.replace], ids=["new order", "replace"])
def test_a_quantity_outside_the_grammar_or_not_above_zero_is_refused(make: Callable[[], Request], text: str) -> None:
    expected = Reason.INVALID_ORDER if len(text) > MAX_REQUEST_BYTES else Reason.INVALID_QUANTITY
    assert refused(edited(make(), order_quantity=text)) is expected


@pytest.mark.parametrize("text", BAD_DECIMALS + NOT_POSITIVE, ids=lambda text: ascii(text[:24]))
@pytest.mark.parametrize("make", [requests.new_order, requests.replace], ids=["new order", "replace"])
def test_a_price_outside_the_grammar_or_not_above_zero_is_refused(make: Callable[[], Request], text: str) -> None:
    expected = Reason.INVALID_ORDER if len(text) > MAX_REQUEST_BYTES else Reason.INVALID_PRICE
    assert refused(edited(make(), price=text)) is expected


IOC, FOK, GTD = orders_pb2.TIME_IN_FORCE_IOC, orders_pb2.TIME_IN_FORCE_FOK, orders_pb2.TIME_IN_FORCE_GTD
MARKET = orders_pb2.ORD_TYPE_MARKET


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"side": 0}, Reason.INVALID_ORDER, id="no side"),
        pytest.param({"side": 7}, Reason.INVALID_ORDER, id="side 7, once a sell"),
        pytest.param({"side": -1}, Reason.INVALID_ORDER, id="side -1"),
        pytest.param({"time_in_force": 0}, Reason.INVALID_ORDER, id="no time in force"),
        pytest.param({"time_in_force": 99}, Reason.INVALID_ORDER, id="time in force 99, once resting"),
        pytest.param({"ord_type": 0}, Reason.INVALID_ORDER, id="no order type"),
        pytest.param({"ord_type": 3}, Reason.INVALID_ORDER, id="order type 3"),
        pytest.param({"ord_type": MARKET}, Reason.INVALID_PRICE, id="a market order with a price"),
        pytest.param({"expire_unix_ns": START_NS}, Reason.INVALID_ORDER, id="expiry of a GTC order"),
        pytest.param({"time_in_force": GTD}, Reason.INVALID_ORDER, id="GTD without expiry"),
        pytest.param({"time_in_force": GTD, "expire_unix_ns": -1}, Reason.INVALID_ORDER, id="expiry before 1970"),
        pytest.param(
            {"time_in_force": GTD, "expire_unix_ns": MAX_EXPIRE_NS + 1}, Reason.INVALID_ORDER, id="expiry after 2200"
        ),
        pytest.param({"post_only": True, "time_in_force": IOC}, Reason.INVALID_ORDER, id="post-only IOC"),
        pytest.param({"post_only": True, "time_in_force": FOK}, Reason.INVALID_ORDER, id="post-only FOK"),
        pytest.param(
            {"post_only": True, "ord_type": MARKET, "price": ""}, Reason.INVALID_ORDER, id="post-only market order"
        ),
        pytest.param({"valid_until_unix_ns": 0}, Reason.INVALID_ORDER, id="no deadline"),
        pytest.param({"valid_until_unix_ns": -(2**63)}, Reason.INVALID_ORDER, id="a negative deadline"),
        pytest.param(
            {"valid_until_unix_ns": START_NS + MAX_VALIDITY_NS + 1}, Reason.INVALID_ORDER, id="a deadline days ahead"
        ),
        pytest.param({"origin": requests.origin(PUBLISHED + 1)}, Reason.INVALID_ORDER, id="an event to come"),
        pytest.param({"origin": requests.origin(2**64 - 1)}, Reason.INVALID_ORDER, id="event 2^64-1"),
        pytest.param(
            {"origin": requests.origin(2**64 - 1, venue="")}, Reason.INVALID_ORDER, id="event 2^64-1 of no venue"
        ),
        pytest.param({"strategy": "beta"}, Reason.UNKNOWN_STRATEGY, id="another strategy"),
        pytest.param({"strategy": ""}, Reason.UNKNOWN_STRATEGY, id="no strategy"),
        pytest.param({"instrument": instrument(venue="other")}, Reason.UNKNOWN_INSTRUMENT, id="another venue"),
        pytest.param({"instrument": instrument(venue="")}, Reason.UNKNOWN_INSTRUMENT, id="no venue"),
        pytest.param({"instrument": instrument(symbol="")}, Reason.UNKNOWN_INSTRUMENT, id="no symbol"),
        pytest.param({"instrument": instrument(symbol="eur-usd")}, Reason.UNKNOWN_INSTRUMENT, id="small letters"),
        pytest.param({"instrument": instrument(symbol="EUR USD")}, Reason.UNKNOWN_INSTRUMENT, id="a blank"),
        pytest.param({"instrument": instrument(symbol="EUR-USD\n")}, Reason.UNKNOWN_INSTRUMENT, id="a line feed"),
        pytest.param({"instrument": instrument(symbol="A" * 33)}, Reason.UNKNOWN_INSTRUMENT, id="33 characters"),
        pytest.param({"instrument": instrument(symbol=LONG)}, Reason.INVALID_ORDER, id="a symbol of 600 kB"),
    ],
)
def test_an_order_out_of_bounds_is_refused_with_its_reason(fields: dict[str, object], reason: Reason) -> None:
    assert refused(order(**fields)) is reason


BAD_IDS = [
    "",
    "1",
    "alpha",
    "alpha-1",
    cl_ord_id(strategy="beta"),
    cl_ord_id(strategy="alpha-two"),
    cl_ord_id(strategy="alph"),
    cl_ord_id(run="g12"),  # the gateway's own
    cl_ord_id(run="dmkxbfk8o"),
    cl_ord_id(run="dmkxbfk8oqo123"),
    cl_ord_id(run="DMKXBFK8OQO"),
    cl_ord_id(0),
    f"alpha-{RUN}-01",
    f"alpha-{RUN}--1",
    f"alpha-{RUN}-1234567890123",
    f"alpha-{RUN}-1\n",
    f"alpha-{RUN}-１",
    f"alpha-{RUN}-1-1",
    LONG,
]


@pytest.mark.parametrize("bad", BAD_IDS, ids=lambda text: ascii(text[:24]))
@pytest.mark.parametrize("make", [requests.new_order, requests.cancel, requests.replace])
def test_a_cl_ord_id_that_is_not_the_strategys_own_is_refused_and_not_repeated(
    make: Callable[[], Request], bad: str
) -> None:
    decoded = decode(edited(make(), cl_ord_id=bad), BOUNDS)
    assert isinstance(decoded, Malformed)
    assert decoded.cl_ord_id == ""
    assert decoded.refusal.reason is Reason.INVALID_CL_ORD_ID
    assert len(decoded.refusal.text) < 400


@pytest.mark.parametrize("bad", BAD_IDS, ids=lambda text: ascii(text[:24]))
@pytest.mark.parametrize("make", [requests.cancel, requests.replace])
def test_only_the_strategys_own_orders_can_be_cancelled_or_replaced(make: Callable[[], Request], bad: str) -> None:
    decoded = decode(edited(make(), orig_cl_ord_id=bad), BOUNDS)
    assert isinstance(decoded, Malformed)
    assert decoded.cl_ord_id == cl_ord_id(2)
    assert decoded.orig_cl_ord_id == ""


def test_a_refusal_says_what_it_answers() -> None:
    for request, answers in [
        (requests.new_order(), "NewOrder"),
        (requests.cancel(), "Cancel"),
        (requests.replace(), "CancelReplace"),
    ]:
        decoded = decode(edited(request, strategy="beta"), BOUNDS)
        assert isinstance(decoded, Malformed)
        assert (decoded.strategy, decoded.answers) == ("alpha", answers)


def test_the_ids_that_the_execution_role_makes_are_the_strategys_own() -> None:
    ids = ClOrdIds(START_NS)
    assert owns("alpha", ids.next("alpha"))
    assert not owns("alph", ids.next("alpha"))
    assert owns("alpha.research", ids.next("alpha.research"))
    assert not owns("alpha", ids.next("alpha.research"))


def test_a_request_at_its_size_is_read_and_one_byte_more_is_refused_for_it() -> None:
    request = order(price="1" * 1000)
    request.new_order.price = "1" * (1000 + MAX_REQUEST_BYTES - request.ByteSize())
    assert request.ByteSize() == MAX_REQUEST_BYTES
    assert refused(request) is Reason.INVALID_PRICE
    request.new_order.price += "1"
    assert refused(request) is Reason.INVALID_ORDER


def test_session_messages() -> None:
    assert decode(requests.heartbeat(), BOUNDS) == Heartbeat()
    assert decode(requests.progress(PUBLISHED), BOUNDS) == Progress(PUBLISHED)
    assert isinstance(decode(requests.progress(PUBLISHED + 1), BOUNDS), Violation)
    assert isinstance(decode(Request(logon=requests.logon()), BOUNDS), Violation)
    assert isinstance(decode(Request(), BOUNDS), Violation)


# Invariants, whatever the message.

TEXTS = st.one_of(
    st.text(max_size=50),
    st.sampled_from(
        ["", "alpha", "beta", VENUE, "EUR-USD", "1000", "1.1", *[text for text in BAD_IDS if text != LONG]]
    ),
    st.builds(cl_ord_id, st.integers(0, 10**13), st.sampled_from(["alpha", "beta", "alpha-two"])),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
)
INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
ENUMS = st.one_of(st.integers(0, 6), INT32)
TIMES = st.one_of(st.just(0), st.integers(START_NS, START_NS + MAX_VALIDITY_NS), INT64)
INSTRUMENTS = st.builds(instrument_pb2.InstrumentId, venue=TEXTS, symbol=TEXTS)
ORIGINS = st.builds(
    market_data_pb2.Origin, instrument=INSTRUMENTS, sequence=st.integers(0, 2**64 - 1), event_unix_ns=INT64
)
ORDERS = st.builds(
    orders_pb2.NewOrder,
    cl_ord_id=TEXTS,
    strategy=TEXTS,
    instrument=INSTRUMENTS,
    side=ENUMS,
    order_quantity=TEXTS,
    ord_type=ENUMS,
    price=TEXTS,
    time_in_force=ENUMS,
    expire_unix_ns=TIMES,
    post_only=st.booleans(),
    valid_until_unix_ns=TIMES,
    origin=ORIGINS,
)
CANCELS = st.builds(orders_pb2.Cancel, cl_ord_id=TEXTS, orig_cl_ord_id=TEXTS, strategy=TEXTS)
REPLACES = st.builds(
    orders_pb2.CancelReplace,
    cl_ord_id=TEXTS,
    orig_cl_ord_id=TEXTS,
    strategy=TEXTS,
    order_quantity=TEXTS,
    price=TEXTS,
    valid_until_unix_ns=TIMES,
    origin=ORIGINS,
)
REQUESTS = st.one_of(
    st.builds(Request, new_order=ORDERS),
    st.builds(Request, cancel=CANCELS),
    st.builds(Request, replace=REPLACES),
    st.builds(
        Request, progress=st.builds(gateway_pb2.Progress, sequence=st.one_of(st.integers(0, 200), st.just(2**64 - 1)))
    ),
)
# A good order with up to two fields of another: more than noise gets behind the first checks.
NEARLY_GOOD = st.builds(
    lambda other, names: order(**{name: getattr(other, name) for name in names}),
    ORDERS,
    st.lists(st.sampled_from([field.name for field in orders_pb2.NewOrder.DESCRIPTOR.fields]), max_size=2),
)


@pytest.mark.no_cover
@given(st.one_of(REQUESTS, NEARLY_GOOD))
@settings(max_examples=400, deadline=None)
def test_no_message_raises_or_gets_out_of_its_bounds(request: Request) -> None:
    check(decode(request, BOUNDS), request)


@pytest.mark.no_cover
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda tail: b"\x12" + bytes([len(tail)]) + tail)))
@settings(max_examples=400, deadline=None)
def test_no_bytes_raise(data: bytes) -> None:
    try:
        request = Request.FromString(data)
    except DecodeError:
        return
    check(decode(request, BOUNDS), request)


@pytest.mark.no_cover
@given(st.integers(0, 10_000), st.integers(0, 255))
@settings(max_examples=400, deadline=None)
def test_no_flipped_byte_raises(position: int, byte: int) -> None:
    good = requests.new_order().SerializeToString()
    position %= len(good)
    try:
        request = Request.FromString(good[:position] + bytes([byte]) + good[position + 1 :])
    except DecodeError:
        return
    check(decode(request, BOUNDS), request)


def check(decoded: Decoded, request: Request) -> None:
    """What holds for every message: written again here, independently of the decoder."""
    if isinstance(decoded, NewOrder):
        terms, sent = decoded.terms, request.new_order
        assert terms.strategy == sent.strategy == "alpha"
        assert terms.cl_ord_id == sent.cl_ord_id
        name, run, number = terms.cl_ord_id.rsplit("-", 2)
        assert name == "alpha"
        assert 10 <= len(run) <= 13
        assert 0 < int(number) < 10**12
        assert terms.instrument.venue == VENUE
        assert 0 < len(terms.instrument.symbol) <= 32
        assert 0 < terms.quantity < Decimal(10) ** 20
        assert terms.quantity == Decimal(sent.order_quantity)
        assert (terms.price is None) == (terms.ord_type is OrdType.MARKET)
        assert terms.price is None or 0 < terms.price < Decimal(10) ** 20
        assert (terms.expire_ns is None) == (terms.time_in_force is not TimeInForce.GTD)
        assert 0 < decoded.valid_until_ns <= START_NS + MAX_VALIDITY_NS
        assert 0 <= decoded.origin_sequence <= PUBLISHED
    elif isinstance(decoded, Malformed):
        assert decoded.strategy == "alpha"
        assert decoded.refusal.text
        assert len(decoded.refusal.text) < 400
        assert decoded.refusal.text.isascii()
        for repeated in (decoded.cl_ord_id, decoded.orig_cl_ord_id):
            assert not repeated or repeated.rsplit("-", 2)[0] == "alpha"
    elif isinstance(decoded, Progress):
        assert decoded.sequence <= PUBLISHED


def refused(request: Request) -> Reason:
    """The reason of a refusal that repeats the ClOrdID."""
    decoded = decode(request, BOUNDS)
    assert isinstance(decoded, Malformed)
    assert decoded.cl_ord_id.startswith(f"alpha-{RUN}-")
    assert decoded.refusal.text
    assert len(decoded.refusal.text) < 400
    return decoded.refusal.reason
