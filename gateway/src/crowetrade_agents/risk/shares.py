"""What this gateway may use of limits that count over several gateways.

Such a limit (SPLIT) is split among the gateways that the rule names; each holds a share of it and spends that on its
own, and the shares never add up to more than the whole. A share that is not known admits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import CONTEXT, REPEATED, ZERO
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.standing import identity

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

Shares = Mapping[tuple[str, str], Decimal]
"""Share from 0 to 1 by identity of the rule (uid of the RiskLimit) and name of the limit; what is missing is not
known."""

SPLIT = frozenset(
    {
        "maxOrderRate",
        "maxOpenOrders",
        "maxGrossNotional",
        "maxNetNotional",
        "maxDailyLoss",
        "maxDrawdown",
        "maxLossPerMinute",
    }
)
"""Limits of which each gateway holds a share. Of the others some look at one order, some at one instrument, which is
traded at one gateway. maxConsecutiveRejects is divided evenly: a share that followed demand would come after the reject
that is one too many, and that is latched. maxOrderToTradeRatio holds at each gateway, and so for all together."""

COUNTED = frozenset({"maxOrderRate", "maxOpenOrders"})
"""Those that count whole things."""
WHOLE = Decimal(1)
_TOWARD_ZERO = Context(prec=38, rounding=ROUND_DOWN)


def gateways_of(rule: Rule) -> int:
    """How many gateways count what the rule counts together; 1 for a rule that counts at each one alone."""
    return max(len(rule.gateways), 1) if rule.total else 1


def is_split(rule: Rule, limit: str) -> bool:
    """Whether several gateways may share the limit. A rule that names no gateway is this one's alone."""
    return rule.total and bool(rule.gateways) and limit in SPLIT


def share_of(rule: Rule, limit: str, shares: Shares) -> Decimal | None:
    """This gateway's share of the limit, 1 where it is not split; None when it is not known."""
    return shares.get((identity(rule), limit)) if is_split(rule, limit) else WHOLE


def allowed(rule: Rule, limit: str, value: Decimal, shares: Shares) -> Decimal | None:
    """What this gateway may use of `value`, rounded down; None when its share is not known."""
    if not is_split(rule, limit):
        return value
    share = shares.get((identity(rule), limit))
    if share is None:
        return None
    if not share.is_finite() or share <= 0:
        return ZERO
    return _whole_things(value, share) if limit in COUNTED else _TOWARD_ZERO.multiply(value, share)


@lru_cache(REPEATED)
def _whole_things(count: Decimal, share: Decimal) -> Decimal:
    """So many of `count`. Shares are rounded down to millionths, so that a third is a little less than one of three: it
    is one all the same. Fewer than 1,000 gateways together never get one too many by that."""
    rounding = min(count.scaleb(-6), Decimal("0.001"))
    return CONTEXT.add(CONTEXT.multiply(count, share), rounding).to_integral_value(ROUND_DOWN)


def unknown_share(rule: Rule, limit: str) -> Refusal:
    """The refusal of an order that would use a share of which nothing is known."""
    text = (
        f"the gateway does not know its share of {limit} of {rule.name}, which is split over {len(rule.gateways)} "
        "gateways: wait until it has one"
    )
    return Refusal(Reason.SHARE_UNKNOWN, text, rule.name)
