"""No order without a session."""

from __future__ import annotations

from crowetrade_agents.risk.preconditions.session import check
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.values import facts, new, order, reason


def test_session() -> None:
    assert check(new(order()), facts()) is None
    assert reason(check(new(order()), facts(session_ready=False))) is Reason.SESSION_NOT_ESTABLISHED
