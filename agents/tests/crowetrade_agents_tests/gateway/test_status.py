"""GatewayStatus: rounded, bounded, each position marked by its own instrument, and what blocks named."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from decimal import Decimal

from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.numbers import MONEY_PLACES
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.books import FORMER
from crowetrade_agents.gateway.order import Counters, LastReject
from crowetrade_agents.gateway.state import GatewayState, Settings
from crowetrade_agents.gateway.status import MAX_STATUS_BYTES, gateway_status, shorten, status_pieces
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    GBP,
    INSTRUMENTS,
    VENUE,
    Scenario,
    book,
    cl_ord_id,
    configuration,
    kinds,
    rule,
    rule_of,
    terms,
)

IN_FULL = """
namespace: "cl-research"
venue: "sim-fx"
pod: "pod-1"
sent_unix_ns: 1700000001000000000
session: SESSION_STATE_ENDED
session_since_unix_ns: 1700000001000000000
session_message: "the recording is over"
fencing_token: 1
journal_sequence: 123
config_revision: "r3"
risk_acknowledgements { risk_limit: "desk" uid: "uid-desk" hash: "HASH" }
accounts { strategy: "alpha" positions { instrument { venue: "sim-fx" symbol: "EUR-USD" } quantity: "9000"
  average_price: "1.1" mark_price: "1.10005" mark_unix_ns: 1700000000000000000 realized_pnl: "0" unrealized_pnl:
  "0.45" fees: "0.5" } open_orders: 3 unknown_orders: 1 sent_total: 3 rejected_total: 1 last_reject { reason:
  "VenueRateLimit" count: 1 since_unix_ns: 1700000001000000000 last_unix_ns: 1700000001000000000 text:
  "spec.rateLimits.ordersPerSecond of the venue is reached" } connected: true remaining { instrument { venue: "sim-fx"
  symbol: "EUR-USD" } quantity: "9000" reason: "VenueHalted" text: "VenueSuspended: spec.suspend is true" }
  risk_limits: "desk" }
accounts { strategy: "beta" rejected_total: 1 last_reject { reason: "MaxPositionQuantity" risk_limit: "desk" count: 1
  since_unix_ns: 1700000001000000000 last_unix_ns: 1700000001000000000 text: "position with working orders would be
  60000, beyond maxPositionQuantity 50000 of desk: reduce it or cancel working orders" } stopped: true risk_limits:
  "desk" }
positions { instrument { venue: "sim-fx" symbol: "EUR-USD" } quantity: "9000" unattributed: "0" }
utilisation { risk_limit: "desk" limit: "maxPositionQuantity" key: "alpha/sim-fx/EUR-USD" used: "20000" allowed:
  "50000" }
utilisation { risk_limit: "desk" limit: "maxPositionQuantity" key: "alpha/sim-fx/GBP-USD" used: "10000" allowed:
  "50000" }
utilisation { risk_limit: "desk" limit: "maxOrderRate" key: "alpha" used: "4" allowed: "100" }
utilisation { risk_limit: "desk" limit: "maxOrderRate" key: "beta" used: "1" allowed: "100" }
throttled_total: 1
latency_p99_micros: 4567
blocked_reason: "VenueSuspended"
blocked_message: "VenueSuspended: spec.suspend is true"
market_data_sequence: 2
waiting_for: "gamma"
"""


def _status(scenario: Scenario) -> status_pb2.GatewayStatus:
    return gateway_status(scenario.state, len(scenario.events), 1_500, ("gamma",), scenario.now)


def _account(status: status_pb2.GatewayStatus, strategy: str) -> status_pb2.StrategyAccount:
    return next(account for account in status.accounts if account.strategy == strategy)


@given(
    st.lists(
        st.tuples(st.integers(1, 10**9), st.integers(1, 10**9), st.decimals("0", "9", places=18)),
        min_size=1,
        max_size=6,
    )
)
def test_no_number_is_longer_than_a_status_takes(fills: list[tuple[int, int, Decimal]]) -> None:
    """Finding G21: an average price of 41 characters froze the status for as long as the position lived."""
    scenario = Scenario()
    for number, (quantity, price, fee) in enumerate(fills, start=1):
        scenario.executed(
            number, str(Decimal(quantity).scaleb(-6)), f"e{number}", str(Decimal(price).scaleb(-9)), fee=fee
        )

    for account in _status(scenario).accounts:
        for position in account.positions:
            for text in (position.average_price, position.realized_pnl, position.unrealized_pnl, position.fees):
                places = text.partition(".")[2]
                assert len(text) <= 40
                assert len(places) <= max(MONEY_PLACES, 5 + 4)


def test_the_journal_stays_exact_where_the_status_is_rounded() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "3000", "e1", "1.1", fee=Decimal("0.000000000123456789"))
    scenario.executed(1, "4000", "e2", "1.10001")

    (position,) = _account(_status(scenario), "alpha").positions
    assert position.average_price == "1.100005714"
    assert position.fees == "0"
    exact = scenario.books.positions["alpha", EUR]
    assert exact.fees == Decimal("0.000000000123456789")
    assert exact.average_price != Decimal(position.average_price)


def test_each_position_is_marked_by_its_own_instrument_with_the_time_of_the_mark() -> None:
    """Finding G22: a position in EUR-USD was marked with the price of another instrument."""
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000", "e1")
    scenario.order(terms(2, instrument=GBP, side=Side.SELL))
    scenario.executed(2, "10000", "e2", instrument=GBP, side=Side.SELL)
    marked = scenario.now
    scenario.now += 5_000_000_000
    scenario.venue(port.QuoteChanged(3, book(GBP, "1.3", "1.3002")))

    euro, pound = _account(_status(scenario), "alpha").positions

    assert (euro.instrument.symbol, euro.mark_price, euro.mark_unix_ns) == ("EUR-USD", "1.10005", marked)
    assert (pound.instrument.symbol, pound.mark_price, pound.mark_unix_ns) == ("GBP-USD", "1.3001", scenario.now)
    assert (euro.unrealized_pnl, pound.unrealized_pnl) == ("0.5", "-2001")


def test_profit_counts_the_contract_multiplier() -> None:
    contract = replace(INSTRUMENTS[EUR], multiplier=Decimal(50))
    settings = Settings(
        "cl-research", VENUE, "pod-1", {**INSTRUMENTS, EUR: contract}, orders_per_second=1000, order_burst=1000
    )
    scenario = Scenario(settings)
    scenario.order(1)
    scenario.executed(1, "10000", "e1", "1.1", fee=Decimal(2))
    scenario.order(terms(2, side=Side.SELL, quantity=Decimal(4000)))
    scenario.executed(2, "4000", "e2", "1.2", side=Side.SELL)
    scenario.venue(port.QuoteChanged(3, book(EUR, "1.15", "1.15")))

    (position,) = _account(_status(scenario), "alpha").positions

    # 4000 x 0.1 x 50 and 6000 x 0.05 x 50.
    assert (position.realized_pnl, position.unrealized_pnl, position.fees) == ("20000", "15000", "2")


def test_a_position_without_a_quote_has_no_mark() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000", "e1")
    scenario.state.live.marks.clear()

    (position,) = _account(_status(scenario), "alpha").positions

    assert (position.mark_price, position.mark_unix_ns, position.unrealized_pnl) == ("", 0, "")


def test_a_position_in_what_the_venue_does_not_list_is_shown() -> None:
    scenario = Scenario()
    scenario.executed(77, "3000", "e2", instrument=InstrumentId(VENUE, "CHF-USD"))

    (position,) = _account(_status(scenario), "").positions

    assert (position.instrument.symbol, position.quantity, position.average_price) == ("CHF-USD", "3000", "1.1")


def test_what_the_account_holds_for_nobody_is_named() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000", "e1")
    scenario.executed(77, "3000", "e2")

    (position,) = _status(scenario).positions

    assert (position.quantity, position.unattributed) == ("13000", "3000")


def test_whoever_is_bound_holds_or_works_something_has_an_account_and_all_others_have_one_together() -> None:
    scenario = Scenario()
    names = ("works", "holds", "flat", "refused")
    source = config_pb2.GatewayConfig(strategies=[config_pb2.StrategyBinding(strategy=name) for name in names])
    bindings = dict.fromkeys(names, TradingState.ACTIVE)
    scenario.do(commands.Configure(configuration(bindings, rule(strategies=names), revision="r1", source=source)))
    for name in names[:3]:
        scenario.order(1, strategy=name)
    for name in ("holds", "flat"):
        scenario.executed(1, "10000", f"bought-{name}", cl_ord_id=cl_ord_id(1, name))
    scenario.order(2, strategy="flat", side=Side.SELL)
    scenario.executed(2, "10000", "sold", cl_ord_id=cl_ord_id(2, "flat"), side=Side.SELL)
    scenario.order(1, strategy="refused", quantity=Decimal(2_000_000))
    scenario.later(1)

    def accounts(state: GatewayState = scenario.state) -> dict[str, tuple[int, int, int]]:
        status = gateway_status(state, 1, 0, (), scenario.now)
        return {item.strategy: (item.sent_total, item.filled_total, item.rejected_total) for item in status.accounts}

    while_bound = accounts()
    assert while_bound == {"flat": (2, 2, 0), "holds": (1, 1, 0), "refused": (0, 0, 1), "works": (1, 0, 0)}
    # Its successor has had no configuration yet: who was bound last is shown.
    successor = Scenario(books=scenario.folded(), ready=False)
    assert accounts(successor.state) == while_bound

    scenario.do(commands.Configure(configuration({"alpha": TradingState.ACTIVE}, revision="r2")))

    assert accounts() == {FORMER: (2, 2, 1), "alpha": (0, 0, 0), "holds": (1, 1, 0), "works": (1, 0, 0)}


def test_a_status_does_not_grow_with_who_ever_traded() -> None:
    """Ten thousand deleted strategies made a message that the bus did not take: no start survived it."""
    scenario = Scenario()
    refused = LastReject("MaxOrderQuantity", "desk", "quantity above what the limit admits " * 5, 1, 1, 1)
    for number in range(10_000):
        scenario.books.counters[f"gone-{number}"] = Counters(sent=2, rejected=1, last_reject=refused)

    status = _status(scenario)

    sent = [(item.strategy, item.sent_total) for item in status.accounts]
    assert sent == [("alpha", 0), ("beta", 0), (FORMER, 20_000)]
    assert status.ByteSize() < 1000
    assert not shorten(status)


def test_a_status_that_is_too_large_leaves_out_nothing_that_anybody_decides_by() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "9000", "e1")
    status = _status(scenario)
    (account,) = (item for item in status.accounts if item.strategy == "alpha")
    account.last_reject.text = "x" * 900
    for number in range(10_500):
        status.accounts.add().CopyFrom(account)
        status.accounts[-1].strategy = f"bound-{number}"
    status.utilisation.add(risk_limit="desk", limit="maxDrawdown", used="1")
    accounts = [
        (item.strategy, item.open_orders, item.positions[0].quantity) for item in status.accounts if item.positions
    ]

    left_out = shorten(status)

    assert left_out == [*status.left_out] == ["texts of refusals", "use of limits", "prices of positions"]
    assert status.ByteSize() <= MAX_STATUS_BYTES
    kept = [(item.strategy, item.open_orders, item.positions[0].quantity) for item in status.accounts if item.positions]
    assert kept == accounts
    assert {item.positions[0].unrealized_pnl for item in status.accounts if item.positions} == {""}


def test_what_is_acknowledged_is_the_hash_of_each_rule_and_of_everything() -> None:
    """Finding K4: a RiskLimit that was deleted and made again was "enforced" with its old values."""
    scenario = Scenario()
    old, new = rule(maxOrderQuantity="10"), rule(maxOrderQuantity="20")
    scenario.do(commands.Configure(configuration(None, old, revision="r2")))
    before = _status(scenario)
    scenario.do(commands.Configure(configuration(None, new, rule("odd", maxMystery="1"), revision="r3")))
    after = _status(scenario)

    assert (before.config_revision, after.config_revision) == ("r2", "r3")
    first, second = before.risk_acknowledgements[0], after.risk_acknowledgements[0]
    assert (first.risk_limit, first.uid) == (second.risk_limit, second.uid)
    assert first.hash != second.hash
    assert not first.problem
    assert "maxMystery" in after.risk_acknowledgements[1].problem
    assert _account(after, "alpha").risk_limits == ["desk"]


def test_the_last_refusal_is_named_with_its_limit_and_how_often_it_came() -> None:
    scenario = Scenario()
    for number in range(1, 4):
        scenario.order(number, quantity=Decimal(2_000_000))
    scenario.later(1)

    last = _account(_status(scenario), "alpha").last_reject

    assert (last.reason, last.risk_limit, last.count) == ("MaxOrderQuantity", "desk", 3)
    scenario.order(4, quantity=Decimal(2_000_000))
    scenario.later(1)
    assert _account(_status(scenario), "alpha").last_reject.count == 4
    assert "maxOrderQuantity" in last.text


def test_what_blocks_everything_is_named() -> None:
    scenario = Scenario()
    assert _status(scenario).blocked_reason == ""
    reasons = []
    for wanted in (
        Configuration(),
        Configuration(unreadable="garbage"),
        configuration(halted_reason="VenueSuspended", halted_message="spec.suspend is true"),
    ):
        scenario.do(commands.Configure(wanted))
        reasons.append(_status(scenario).blocked_reason)

    assert reasons == ["NoConfiguration", "UnreadableConfiguration", "VenueSuspended"]
    assert "spec.suspend is true" in _status(scenario).blocked_message
    assert list(_status(scenario).waiting_for) == ["gamma"]


def test_the_highest_uses_of_each_limit_are_reported() -> None:
    scenario = Scenario()
    strategies = [f"s{number:02d}" for number in range(20)]
    rules = [
        rule(name, strategies=strategies, maxPositionQuantity=most) for name, most in (("a", "100000"), ("b", "0"))
    ]
    scenario.do(commands.Configure(configuration(dict.fromkeys(strategies, TradingState.ACTIVE), *rules[:1])))
    for number, strategy in enumerate(strategies, 1):
        scenario.order(number, strategy=strategy, quantity=Decimal(1000 * number))
    both = configuration(dict.fromkeys(strategies, TradingState.ACTIVE), *rules, revision="r2")
    scenario.state.live.configuration = both

    uses = _status(scenario).utilisation

    assert [(use.risk_limit, use.used) for use in uses] == [
        *(("a", str(1000 * number)) for number in range(20, 4, -1)),
        *(("b", str(1000 * number)) for number in range(1, 17)),
    ]


def test_a_value_that_orders_are_not_judged_by_is_not_shown() -> None:
    """An instrument without a usable quote made the sum look smaller than it is, while every order was refused."""
    scenario = Scenario()
    limits = {"maxGrossNotional": "100000", "maxNetNotional": "100000", "maxConcentration": "1"}
    money = {name: Money(Decimal(100_000), "USD") for name in ("alpha", "beta")}
    scenario.do(commands.Configure(configuration(None, rule_of(limits), capital=money)))
    for number, instrument in enumerate((EUR, GBP), start=1):
        scenario.order(number, instrument=instrument)
        scenario.executed(number, "10000", f"e{number}", instrument=instrument)
    scenario.order(1, strategy="beta")

    def shown() -> list[tuple[str, str]]:
        return sorted((use.limit, use.key) for use in _status(scenario).utilisation)

    notional = [(limit, name) for limit in ("maxGrossNotional", "maxNetNotional") for name in ("alpha", "beta")]
    shares = [("maxConcentration", key) for key in (f"alpha/{EUR}", f"alpha/{GBP}", f"beta/{EUR}")]
    assert shown() == sorted(notional + shares)
    scenario.venue(port.QuoteChanged(3, book(GBP, "1.2", "1.1")))

    assert kinds(scenario.order(3)) == ["< REJECTED MissingMark"]
    assert shown() == sorted([*notional[1::2], shares[0], shares[2]])


def test_commands_may_be_handled_while_a_status_is_made() -> None:
    """What it names first is the oldest: whoever is said to have no order has none under that configuration."""
    scenario = Scenario()
    rules = [rule(name, maxPositionQuantity="100000", maxOrderRate="9/60") for name in ("a", "b")]
    scenario.do(commands.Configure(configuration(None, *rules)))
    scenario.order(1)
    status, revisions, number = status_pb2.GatewayStatus(), ["r1"], 1
    for _ in status_pieces(status, scenario.state, number, 0, (), scenario.now):
        number += 1
        revisions.append(f"r{number}")
        scenario.order(number, strategy="beta", instrument=GBP)
        scenario.executed(number, "10000", f"e{number}", instrument=GBP, cl_ord_id=cl_ord_id(number, "beta"))
        scenario.do(commands.Configure(configuration(None, *rules, revision=revisions[-1])))

    alpha, beta = status.accounts
    assert (status.config_revision, status.journal_sequence) == ("r1", 1)
    assert (alpha.open_orders, len(alpha.positions)) == (1, 0)
    assert (beta.open_orders, len(beta.positions), beta.filled_total) == (0, 1, 2)
    assert {use.risk_limit for use in status.utilisation} == {"a", "b"}
    assert number > len(status.accounts)


def test_a_status_in_full() -> None:
    """Alpha holds something and works three orders, one of unknown fate; the venue is suspended and has ended."""
    settings = Settings("cl-research", VENUE, "pod-1", INSTRUMENTS, orders_per_second=1, order_burst=3)
    scenario = Scenario(settings)
    limits = rule(maxPositionQuantity="50000", maxOrderRate="100/60")
    scenario.do(commands.Configure(configuration(None, limits, revision="r2")))
    scenario.order(1)
    scenario.executed(1, "9000", "e1", fee=Decimal("0.5"))
    scenario.order(terms(2, instrument=GBP, side=Side.SELL))
    scenario.venue(port.Replaced(cl_ord_id(3), cl_ord_id(2), "v2", scenario.now))
    scenario.order(1, strategy="beta", quantity=Decimal(60_000))
    scenario.order(3)
    scenario.order(4)
    scenario.later(1)
    scenario.do(commands.SessionLost("beta", 2))
    scenario.venue(port.SessionChanged(port.SessionState.ENDED, "the recording is over"))
    bindings = {"alpha": TradingState.FLATTEN, "beta": TradingState.ACTIVE}
    suspended = {"halted_reason": "VenueSuspended", "halted_message": "spec.suspend is true"}
    scenario.do(commands.Configure(configuration(bindings, limits, revision="r3", **suspended)))

    message = gateway_status(scenario.state, 123, 4_567_899, ("gamma",), scenario.now)

    digest = hashlib.sha256(limits.SerializeToString(deterministic=True)).hexdigest()
    assert text_format.MessageToString(message).split() == IN_FULL.replace("HASH", digest).split()
