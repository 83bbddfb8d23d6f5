"""No order without a price to judge it by (FIA 2015, 1.3: missing, stale or odd market data blocks orders)."""

from __future__ import annotations

from crowetrade_agents.domain.market import MAX_FEED_SILENCE_NS
from crowetrade_agents.risk.case import usable_book
from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal


def check(proposal: Proposal, facts: Facts) -> Refusal | None:
    """A usable quote of the instrument is known, and the market data session is alive.

    A quote is good for as long as the session is alive: in a quiet market no price changes. A last sign of life
    that lies in the future (the clock stepped back) is as bad as an old one.
    """
    if refusal := check_known(proposal, facts):
        return refusal
    silent_ns = abs(facts.now_ns - facts.feed_alive_ns)
    if silent_ns <= MAX_FEED_SILENCE_NS:
        return None
    text = (
        f"the venue's market data has been silent for {silent_ns / 1e9:.1f} s, "
        f"longer than {MAX_FEED_SILENCE_NS / 1e9:g} s: wait until it is back"
    )
    return Refusal(Reason.STALE_MARKET_DATA, text)


def check_known(proposal: Proposal, facts: Facts) -> Refusal | None:
    """A finite, positive, uncrossed quote of the instrument is known, of whatever age."""
    instrument = proposal.terms.instrument
    if usable_book(instrument, facts) is not None:
        return None
    what = "is not usable (crossed, not positive or not finite)" if instrument in facts.marks else "has not arrived yet"
    return Refusal(Reason.MISSING_MARKET_DATA, f"a quote of {instrument} {what}: wait for the next one")
