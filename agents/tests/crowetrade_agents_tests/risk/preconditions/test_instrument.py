"""What the venue can take: instrument, lots, minimum, ticks, and numbers beyond every range (finding G2)."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrderTerms, Side
from crowetrade_agents.risk.facts import Proposal
from crowetrade_agents.risk.preconditions.instrument import check, in_range
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.values import JPY, D, facts, market, new, order, reason

QUANTITY, PRICE = Reason.INVALID_QUANTITY, Reason.INVALID_PRICE

CASES: dict[str, tuple[OrderTerms, Reason | None]] = {
    "an order on the grid": (order(), None),
    "the minimum": (order(quantity=D(2000)), None),
    "trailing zeros": (order(quantity=D("5000.000"), price=D("1.10000000")), None),
    "a market order has no price": (market(Side.BUY, "5000"), None),
    "another grid": (order(instrument=JPY, quantity=D(1), price=D("150.01")), None),
    "an unknown instrument": (order(instrument=InstrumentId("sim-fx", "GBP-USD")), Reason.UNKNOWN_INSTRUMENT),
    "the symbol at another venue": (order(instrument=InstrumentId("other", "EUR-USD")), Reason.UNKNOWN_INSTRUMENT),
    "quantity NaN": (order(quantity=D("NaN")), QUANTITY),
    "quantity signaling NaN": (order(quantity=D("sNaN")), QUANTITY),
    "quantity infinite": (order(quantity=D("Infinity")), QUANTITY),
    "quantity 0": (order(quantity=D(0)), QUANTITY),
    "quantity negative": (order(quantity=D(-5000)), QUANTITY),
    "quantity below the minimum": (order(quantity=D(1000)), QUANTITY),
    "half a lot": (order(quantity=D(2500)), QUANTITY),
    "hardly more than a lot": (order(quantity=D("2000.000000000000000001")), QUANTITY),
    "quantity beyond the range": (order(quantity=D("1E20")), QUANTITY),
    "quantity far beyond the range": (order(quantity=D("1E999999")), QUANTITY),
    "price NaN": (order(price=D("NaN")), PRICE),
    "price infinite": (order(price=D("Infinity")), PRICE),
    "price 0": (order(price=D(0)), PRICE),
    "price negative": (order(price=D(-1)), PRICE),
    "half a tick": (order(price=D("1.10005")), PRICE),
    "price beyond the range": (order(price=D("1E20")), PRICE),
    "a price that underflows to a multiple of any tick": (order(price=D("1E-999999")), PRICE),
    "a price far below any tick": (order(price=D("1E-19")), PRICE),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1E-18", True),
        ("99999999999999999999.999999999999999999", True),
        ("0.9E-18", False),
        ("1E20", False),
        ("-1", False),
        ("NaN", False),
    ],
)
def test_the_range_of_a_number(text: str, expected: bool) -> None:
    assert in_range(D(text)) is expected


@pytest.mark.parametrize("what", CASES)
def test_order(what: str) -> None:
    terms, expected = CASES[what]
    assert reason(check(new(terms), facts())) is expected


@pytest.mark.parametrize(
    ("leaves", "expected"),
    [("5000", None), ("1", None), ("0", QUANTITY), ("-1", QUANTITY), ("5001", QUANTITY), ("NaN", QUANTITY)],
)
def test_a_replacement_must_leave_something_open(leaves: str, expected: Reason | None) -> None:
    assert reason(check(Proposal(order(), D(leaves)), facts())) is expected


def test_the_text_says_which_grid() -> None:
    refusal = check(new(order(quantity=D(2500))), facts())
    assert refusal is not None
    assert "multiple of lotSize 1000 and at least minQuantity 2000" in refusal.text
