"""What the gate is asked and what it knows: all of it is passed in, so that a decision can be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.numbers import ZERO
from crowetrade_agents.domain.orders import OrderTerms
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.reasons import Refusal
from crowetrade_agents.risk.recent import RecentOrders
from crowetrade_agents.risk.rules import RuleSet
from crowetrade_agents.risk.shares import Shares
from crowetrade_agents.risk.standing import Standing
from crowetrade_agents.risk.valuation import Valuation
from crowetrade_agents.risk.windows import MessageWindows
from crowetrade_agents.risk.working import WorkingOrders


@dataclass(slots=True)
class Exposure:
    """Position and open orders of one owner in one instrument, in units; open quantities are positive.

    The gateway's state keeps it current with every event, so a decision adds nothing up. An order whose replacement is
    under way counts with the larger of both quantities; one of unknown fate counts in full.
    """

    position: Decimal = ZERO
    open_buy: Decimal = ZERO
    open_sell: Decimal = ZERO
    open_orders: int = 0


@dataclass(slots=True)
class Account:
    """What all owners together hold and work in one instrument, and who they are; kept current like the exposures.

    It answers for a rule that counts many owners without touching each of them.
    """

    total: Exposure
    owners: frozenset[str]


@dataclass(slots=True)
class Proposal:
    """What is judged: terms that want to be at the venue.

    `leaves` is what would be open: the whole quantity less what is executed. `counted_leaves` is what `Facts.exposures`
    already holds for the same order, on the same side (0 for a new order; for a replacement or a resting order that is
    judged again, what it counts there).
    """

    terms: OrderTerms
    leaves: Decimal
    counted_leaves: Decimal = ZERO


@dataclass(slots=True)
class Facts:
    """What the gateway knows at the moment of the decision. Times in nanoseconds since the Unix epoch, wall clock.

    `exposures` is keyed by owner and instrument and holds everything on the account, whoever owns it (the owner of the
    suspense account is the empty string); `account` holds their sums by instrument, and nothing where nobody keeps
    them. `members` says for each rule that counts strategies together whom it counts. `trading_state` is the joined
    state of the proposal's strategy, `control_refusal` the refusal that it means (None when ACTIVE). `tradable` are by
    strategy the symbols in which it may open positions. `required_limits` are groups of limits without which nothing is
    sent, `capital` is by strategy, `shares` what this gateway holds of limits that several gateways share. `valuation`
    keeps the exposures in money; None where nobody does, and they are summed up.
    """

    now_ns: int
    trading_state: TradingState
    control_refusal: Refusal | None
    tradable: Mapping[str, frozenset[str]]
    rules: RuleSet
    instruments: Mapping[InstrumentId, Instrument]
    marks: Mapping[InstrumentId, Mark]
    feed_alive_ns: int
    session_ready: bool
    exposures: Mapping[tuple[str, InstrumentId], Exposure]
    messages: MessageWindows
    members: Mapping[str, frozenset[str]]
    account: Mapping[InstrumentId, Account] = field(default_factory=dict)
    required_limits: frozenset[str] = frozenset()
    capital: Mapping[str, Money] = field(default_factory=dict)
    shares: Shares = field(default_factory=dict)
    working: WorkingOrders = field(default_factory=WorkingOrders)
    recent: RecentOrders = field(default_factory=RecentOrders)
    valuation: Valuation | None = None
    standing: Standing = field(default_factory=Standing)
