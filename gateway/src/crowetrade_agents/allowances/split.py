"""How much of a limit one gateway should have: decided by each gateway for itself, from the ledger and its own need.

Pure. Numbers are millionths of the whole limit.

A gateway takes only what nobody holds. What it wants beyond that it writes down as `wanted`, and whoever holds more
than it needs gives the difference back, so that it can be taken. A gateway never gives what it needs: what it uses,
what it was asked for and had to refuse, and some headroom. So shares follow demand, and rest while it does not change.

While all that is wanted together is more than there is, whoever has less than its part (the whole by the number of
gateways) takes first. Where use ends by itself, a gateway that has more than its part also gives up what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from crowetrade_agents.allowances.ledger import WHOLE, Shares

RESERVE = 50_000
"""What all gateways together keep though they do not use it, so that a first small order need not wait for a share."""
HEADROOM = 4
"""A gateway wants a quarter more than it uses."""
STEP = 5_000
"""What is wanted is rounded up to these, so that a use that moves a little changes no ledger."""


class Yield(Enum):
    """What a gateway with more than its part gives up when one with less wants some."""

    EXCESS = "what it does not need"
    """Use moves by itself, as a loss does: a share without headroom would be breached by a quote."""
    UNUSED = "what it does not use"
    """Use rises by orders alone, which are refused: open orders."""
    ALL = "what it uses, too, once that is over"
    """Use ends by itself: messages in a window."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one gateway needs of a limit.

    `used` is what it uses now. `demanded` is what it would use if it had not refused orders lately for lack of a share.
    `count` is the whole limit where it counts whole things, 0 where it is an amount. `known` False: what it uses is not
    known, so that nothing can be given back. `leaving`: it takes nothing more, and gives back whatever is over.
    """

    used: int = 0
    demanded: int = 0
    count: int = 0
    yields: Yield = Yield.EXCESS
    known: bool = True
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What the gateway should hold and still wants. What it uses may be more than it should hold: it then holds that
    until the use is over, and uses no more."""

    held: int
    wanted: int


def decide(shares: Shares, venue: str, need: Need, gateways: int) -> Wish:
    """What the gateway `venue`, one of so many, should have of the limit that is split like this."""
    before = own = shares[venue].held if venue in shares else 0
    if need.leaving:
        return Wish(min(own, need.used) if need.known else own, 0)
    others = [share for name, share in shares.items() if name != venue]
    free = max(0, WHOLE - own - sum(share.held for share in others))
    part = WHOLE // max(1, gateways)
    aim = _aim(need, part, gateways)
    wanted = sum(share.wanted for share in others)
    # Of what others want, what brings them up to their part.
    owed = sum(min(share.wanted, max(0, part - share.held)) for share in others)
    goal = aim if wanted else max(aim, part)
    if own < goal:
        first = min(free, max(0, min(goal, part) - own))
        own = min(goal, own + first + max(0, free - first - owed))
    else:
        own = max(aim, own - max(0, wanted - free))
    if own > part and owed > free and need.yields is not Yield.EXCESS:
        kept = part if need.yields is Yield.ALL else max(part, need.used)
        own = min(own, max(kept, own - (owed - free)))
    own = _down(own, need.count) if need.known else max(own, before)
    return Wish(own, max(0, aim - own))


def _aim(need: Need, part: int, gateways: int) -> int:
    """What the gateway wants to have: its demand and headroom."""
    demand = max(need.used, need.demanded)
    headroom = max(min(part, RESERVE // max(1, gateways)), demand // HEADROOM)
    if not demand:
        return _down(headroom, need.count)
    return min(WHOLE, _up(-(-(demand + headroom) // STEP) * STEP, need.count))


def units(count: int, number: int) -> int:
    """The share that is worth `number` of `count` whole things."""
    return number * WHOLE // count


def _up(share: int, count: int) -> int:
    return units(count, -(-share * count // WHOLE)) if count else share


def _down(share: int, count: int) -> int:
    return units(count, ((share + 1) * count - 1) // WHOLE) if count else share
