"""Where a resting order stands in the market's queue at its price, by two models to choose from. Pure, whole numbers.

An order joins behind everything that its level shows. Only the level's total is recorded, so what happens inside the
queue is estimated. Trades at the price take from the front: first what stands ahead, then the order. What else a level
loses was cancelled, and the models differ in where:

PriceTime: behind the order, as long as that can be. So an order moves forward by trades alone, and by cancels only when
    the level shrinks below what stands ahead of it. No order is filled earlier than it would have been.
Probabilistic: ahead and behind, in shares f(ahead) : f(behind) with f(x) = x**3, rounded so that more stays ahead. This
    is the probability queue model of Rigtorp ("Estimating order queue position", 2013) with the power function of
    hftbacktest (PowerProbQueueFunc with n = 3, `queue.rs`).

What a level gains has joined behind. Trades that were printed since a level was shown last are not counted again as
cancels. The account's own orders stand in no recorded level: among themselves the older one of a price comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_POWER = 3


class QueueModel(StrEnum):
    """How the place of a resting order is modelled."""

    NONE = "None"
    PRICE_TIME = "PriceTime"
    PROBABILISTIC = "Probabilistic"


def after_update(model: QueueModel, ahead: int, before: int, after: int) -> int:
    """What stands ahead of an order once its level has been shown again. `before` is what others had there, trades
    since then deducted; `after` is what they have now."""
    cancelled = before - after
    if model is QueueModel.PROBABILISTIC and cancelled > 0:
        behind = max(before - ahead, 0)
        weight_ahead, weight_behind = ahead**_POWER, behind**_POWER
        if weight_ahead:
            ahead -= cancelled * weight_ahead // (weight_ahead + weight_behind)
    return max(min(ahead, after), 0)


@dataclass(frozen=True, slots=True)
class Place:
    """An order in the queue of a price: what stands ahead of it, and what of it still works."""

    ahead: int
    leaves: int


def after_trade(places: Sequence[Place], quantity: int) -> list[Place]:
    """The account's orders at a price after others traded a quantity there; oldest first. What an order lost of its
    leaves it has traded itself, and all of them together never more than the quantity."""
    left, gone = quantity, 0
    filled: list[int] = []
    for place in places:
        passed = min(max(place.ahead - gone, 0), left)
        left, gone = left - passed, gone + passed
        own = min(place.leaves, left) if place.ahead <= gone else 0
        left -= own
        filled.append(own)
    # What is left then takes from those behind the last order.
    return [Place(max(place.ahead - gone, 0), place.leaves - own) for place, own in zip(places, filled, strict=True)]
