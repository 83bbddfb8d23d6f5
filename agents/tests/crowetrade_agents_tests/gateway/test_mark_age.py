"""How old quotes may be by which positions are valued. Alpha holds EUR-USD, whose quotes stopped an hour ago; those of
GBP-USD keep the feed alive."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.orders import OrdStatus
from crowetrade_agents.venues import port

from .breaches import Desk, loss_rule
from .scenario import GBP, SECOND, book, kinds

LOSSES = {"maxDailyLoss": "100", "maxDrawdown": "0.001", "maxLossPerMinute": "0.001"}
VALUES = {"maxGrossNotional": "100000", "maxNetNotional": "100000"}
LEAVES = f"< {OrdStatus.PENDING_NEW.name}"


def answer(limit: str, age: str = "", *, beside: bool = True) -> str:
    """To an order in GBP-USD."""
    desk = Desk()
    rules = [{limit: {**LOSSES, **VALUES}[limit]}]
    if age and beside:
        rules[0]["maxDataAgeSeconds"] = age
    elif age:
        rules.append({"maxDataAgeSeconds": age})
    desk.put(*(loss_rule(values, f"rule-{number}") for number, values in enumerate(rules)))
    desk.trade(1, 10_000)
    desk.now += 3600 * SECOND
    desk.venue(port.QuoteChanged(9, book(GBP)))
    desk.order(2, instrument=GBP)
    return kinds(desk.last)[-1]


@pytest.mark.parametrize("limit", LOSSES)
def test_losses_go_by_quotes_of_any_age_unless_the_same_risk_limit_says_which(limit: str) -> None:
    assert answer(limit) == LEAVES
    assert answer(limit, "60", beside=False) == LEAVES
    assert answer(limit, "3601") == LEAVES
    assert answer(limit, "60").startswith("< REJECTED")


@pytest.mark.parametrize("limit", VALUES)
def test_notionals_go_by_quotes_of_any_age(limit: str) -> None:
    assert answer(limit) == answer(limit, "60") == LEAVES
