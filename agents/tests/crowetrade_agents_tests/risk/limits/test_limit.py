"""How the values of limits are read."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.limits import KNOWN
from crowetrade_agents.risk.limits.limit import parse_amount, parse_count
from crowetrade_api.v1alpha1.risklimit import LIMIT_NAMES


@pytest.mark.parametrize("text", ["0", "200000", "0.000000000000000001", "99999999999999999999"])
def test_an_amount(text: str) -> None:
    assert parse_amount({"value": text}) == Decimal(text)


AMOUNTS = {
    "nothing": ({}, "no value"),
    "empty": ({"value": ""}, "not a decimal"),
    "negative": ({"value": "-1"}, "negative"),
    "NaN": ({"value": "NaN"}, "not a decimal"),
    "infinity": ({"value": "Infinity"}, "not a decimal"),
    "an exponent": ({"value": "1E5"}, "not a decimal"),
    "a separator": ({"value": "1_000"}, "not a decimal"),
    "full-width digits": ({"value": "１０"}, "not a decimal"),
    "values that are not known": ({"value": "1", "unit": "lots", "per": "day"}, "know: per, unit$"),
    "a value that is not known": ({"value": "1", "unit": "lots"}, "unit"),
}


@pytest.mark.parametrize("what", AMOUNTS)
def test_no_amount(what: str) -> None:
    values, said = AMOUNTS[what]
    with pytest.raises(InvalidLimit, match=said):
        parse_amount(values)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("86400", 86_400), ("007", 7)])
def test_a_count(text: str, count: int) -> None:
    assert parse_count("perSeconds", text, 86_400) == count


@pytest.mark.parametrize("text", ["", "0", "86401", "1000000000000", "-1", "1.0", "1e3", " 1", "²", "１"])
def test_no_count(text: str) -> None:
    with pytest.raises(InvalidLimit, match="perSeconds must be a whole number from 1 to 86400"):
        parse_count("perSeconds", text, 86_400)


def test_limits_are_known_by_the_name_that_stands_in_the_resource() -> None:
    judging_orders = {
        "maxOrderQuantity": "MaxOrderQuantity",
        "maxOrderNotional": "MaxOrderNotional",
        "priceCollarBps": "PriceCollar",
        "maxOrderRate": "MaxOrderRate",
        "maxOpenOrders": "MaxOpenOrders",
        "maxPositionQuantity": "MaxPositionQuantity",
        "maxGrossNotional": "MaxGrossNotional",
        "maxNetNotional": "MaxNetNotional",
        "maxConcentration": "MaxConcentration",
        "maxDataAgeSeconds": "StaleMarketData",
        "duplicateWindowMillis": "DuplicateOrder",
        "selfMatchPrevention": "SelfMatch",
        "restrictedInstruments": "RestrictedInstrument",
        "tradingHours": "OutsideTradingHours",
    }
    assert {name: limit.reason.value for name, limit in KNOWN.items() if name in judging_orders} == judging_orders
    assert set(KNOWN) <= set(LIMIT_NAMES)
