"""No order that could trade with a working order of the same account, whoever owns that (FIA 2024, self-match
prevention).

A limit order of the other side matches when the prices cross or meet, a market order always. An order works until its
end is known; while it is replaced, the price counts that trades more easily. What rests has not been matched when it
arrived, so it is not judged again. Nor is a closing order: a Flatten must not wait for somebody else's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import ZERO
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.case import Case, Counted
from crowetrade_agents.risk.limits.limit import Check, Limit, only
from crowetrade_agents.risk.reasons import Reason, Refusal

if TYPE_CHECKING:
    pass

NAME = "selfMatchPrevention"


def parse(values: Mapping[str, str]) -> bool:
    """`true` or `false`; raises InvalidLimit."""
    (text,) = only(values, "value")
    if text not in ("true", "false"):
        raise InvalidLimit("value must be true or false")
    return text == "true"


def compile(value: bool, counted: Counted) -> Check:
    """No working order of the other side could trade with this one."""
    rule = counted.rule

    def check(case: Case) -> Refusal | None:
        if not value or not case.facts.working.would_match(case.terms):
            return None
        text = (
            f"it could trade with a working order of the same account ({NAME} of {rule.name}): cancel that one first, "
            "or send a price that does not cross it"
        )
        return Refusal(Reason.SELF_MATCH, text, rule.name)

    return check


def bound(value: bool) -> Decimal:
    """The one that is on is the tighter one."""
    return ZERO if value else Decimal(1)


LIMIT: Limit[bool] = Limit(NAME, Reason.SELF_MATCH, parse, compile, bound, judges_resting=False, judges_closing=False)
