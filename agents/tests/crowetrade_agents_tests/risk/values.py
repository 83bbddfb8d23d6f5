"""Plain values that the tests of the gate start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.domain.orders import OrderTerms, OrdType, Side, TimeInForce
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.case import Case, Counted
from crowetrade_agents.risk.facts import Exposure, Facts, Proposal
from crowetrade_agents.risk.limits.limit import Limit
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.rule_reading import compile_rule
from crowetrade_agents.risk.rules import Rule, RuleSet
from crowetrade_agents.risk.valuation import exactly
from crowetrade_agents.risk.windows import MessageWindows

D = Decimal
SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
EUR = InstrumentId("sim-fx", "EUR-USD")
JPY = InstrumentId("sim-fx", "USD-JPY")
BOOK = TopOfBook(EUR, D("1.1000"), D(10**6), D("1.1002"), D(10**6), NOW)
LIMITS: dict[str, dict[str, str]] = {
    "maxOrderQuantity": {"value": "10000"},
    "maxOrderNotional": {"value": "11000"},
    "maxPositionQuantity": {"value": "20000"},
    "maxOrderRate": {"count": "2", "perSeconds": "1"},
}


def message(limits: Mapping[str, Mapping[str, str]] = LIMITS, **changes: Any) -> config_pb2.RiskRule:
    """RiskLimit desk for strategies ema and other, each counted alone, enforced."""
    given: dict[str, Any] = {
        "risk_limit": "desk",
        "uid": "uid-1",
        "generation": 1,
        "strategies": ["ema", "other"],
        "enforce": True,
        "currency": "USD",
        **changes,
    }
    return config_pb2.RiskRule(
        limits=[config_pb2.Limit(name=name, values=dict(values)) for name, values in limits.items()], **given
    )


def rule(limits: Mapping[str, Mapping[str, str]] = LIMITS, **changes: Any) -> Rule:
    """The same, compiled."""
    return compile_rule(message(limits, **changes))


def only_limit(name: str, value: str, **changes: Any) -> Rule:
    """A rule with one limit of one value."""
    return rule({name: {"value": value}}, **changes)


def rules(*given: Rule) -> RuleSet:
    """Rules in force."""
    return RuleSet(given)


def facts(**changes: Any) -> Facts:
    """An active strategy under RiskLimit desk, with a session, a fresh quote and nothing held."""
    base = Facts(
        now_ns=NOW,
        trading_state=TradingState.ACTIVE,
        control_refusal=None,
        tradable=dict.fromkeys(("ema", "other"), frozenset({EUR.symbol, JPY.symbol})),
        rules=rules(rule()),
        instruments={
            EUR: Instrument(EUR, "USD", D(1), D("0.0001"), D(1000), D(2000)),
            JPY: Instrument(JPY, "JPY", D(10), D("0.01"), D(1), D(1), base_currency="USD"),
        },
        marks={
            EUR: Mark(BOOK, NOW),
            JPY: Mark(TopOfBook(JPY, D("159.99"), None, D("160.01"), None, NOW), NOW),
        },
        feed_alive_ns=NOW,
        session_ready=True,
        exposures={},
        messages=MessageWindows(),
        members={},
    )
    return replace(base, **changes)


def order(**changes: Any) -> OrderTerms:
    """A limit order of strategy ema to buy 5,000 EUR-USD at 1.1000."""
    base = OrderTerms("ema-run-1", "ema", EUR, Side.BUY, D(5000), OrdType.LIMIT, D("1.1000"), TimeInForce.GTC)
    return replace(base, **changes)


def market(side: Side, quantity: str, **changes: Any) -> OrderTerms:
    """A market order of strategy ema in EUR-USD."""
    return order(
        side=side,
        quantity=D(quantity),
        ord_type=OrdType.MARKET,
        price=None,
        time_in_force=TimeInForce.IOC,
        **changes,
    )


def new(terms: OrderTerms) -> Proposal:
    """The proposal of a new order."""
    return Proposal(terms, terms.quantity)


def case(terms: OrderTerms, known: Facts, leaves: str = "", counted: str = "0") -> Case:
    """A new order, unless `leaves` and `counted` say otherwise."""
    return Case(Proposal(terms, D(leaves) if leaves else terms.quantity, D(counted)), known)


def counted(judged: Case, given: Rule) -> Counted:
    """Whom the rule counts for the case."""
    return Counted(given, judged.terms.strategy, judged.facts, judged.valuation)


def check(limit: Limit[Any], value: Any, judged: Case, given: Rule) -> Refusal | None:
    """What the check of this value of the rule's limit says of the case."""
    with exactly():
        return limit.compile(value, counted(judged, given))(judged)


def held(
    position: str, buy: str = "0", sell: str = "0", owner: str = "ema"
) -> dict[tuple[str, InstrumentId], Exposure]:
    """Exposures of one owner in EUR-USD."""
    return {(owner, EUR): Exposure(D(position), D(buy), D(sell), 1)}


def sent(*at_ns: int, strategy: str = "ema", instrument: InstrumentId = EUR) -> MessageWindows:
    """Windows with one message at each time."""
    windows = MessageWindows()
    for at in at_ns:
        windows.add(strategy, instrument, at)
    return windows


def reason(outcome: object) -> Reason | None:
    """The reason of a refusal; None for everything else."""
    return outcome.reason if isinstance(outcome, Refusal) else None
