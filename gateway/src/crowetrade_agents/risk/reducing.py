"""Which orders only reduce what their owner holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import CONTEXT
from crowetrade_agents.domain.orders import Side

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Facts, Proposal


def reduces(proposal: Proposal, facts: Facts) -> bool:
    """Whether the owner's position cannot flip or grow, even if all its working orders on that side fill with this one.

    Working orders on the other side do not count: they may never fill.
    """
    terms = proposal.terms
    owned = facts.exposures.get((terms.strategy, terms.instrument))
    if owned is None:
        return False
    selling = terms.side is Side.SELL
    closable = owned.position if selling else owned.position.copy_negate()
    working = owned.open_sell if selling else owned.open_buy
    others = CONTEXT.subtract(working, proposal.counted_leaves)
    return closable > 0 and CONTEXT.add(others, proposal.leaves) <= closable
