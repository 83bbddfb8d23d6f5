"""I15: what a gateway publishes, and the operator and people read, is what the accounts say: nothing of the engine's
own sums is used."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway.status import gateway_status
from tests.simulation.accounts import Accounts
from tests.simulation.broken import expect
from tests.simulation.limits import ConfigSpec, RuleSpec

if TYPE_CHECKING:
    from tests.simulation.gateway import GatewayProcess
    from tests.simulation.world import World

ZERO = Decimal(0)
ROUNDED = Decimal("1E-6")
"""Money is reported with 8 places, prices with four more than the tick."""
KEPT = 16
"""Uses that are reported of a RiskLimit."""
VALUES = ("maxGrossNotional", "maxNetNotional")
Use = tuple[str, str]
"""Name of the limit, and for what it is counted."""


def check(world: World, process: GatewayProcess) -> None:
    """The status of the gateway that serves, while nothing waits in it."""
    accounts, venue = world.accounts, world.venue_name
    status = gateway_status(process.state, process.head.sequence, 0, (), process.engine_ns)
    expect(status.journal_sequence == accounts.events, "I15", f"sequence {status.journal_sequence}")
    expect(status.fencing_token == world.newest_token(), "I15", f"token {status.fencing_token}")
    breaches = {item.breach for item in status.breaches}
    expect(breaches == accounts.breaches.keys(), "I15", f"breaches {breaches}, not {accounts.breaches.keys()}")
    kills = {item.name for item in status.kills}
    expect(kills == accounts.kills.keys(), "I15", f"kill orders {kills}, not {accounts.kills.keys()}")
    shown = {item.strategy: item for item in status.accounts}
    for owner, symbol in accounts.exposures():
        expect(owner in shown, "I15", f"{owner!r} holds or works {symbol} and is not shown")
    for name, item in shown.items():
        if name != "*":
            _account(accounts, name, item)
    for owner in {*accounts.sent_total} - shown.keys():
        expect("*" in shown, "I15", f"what {owner} has sent is not shown")
    sent = sum(item.sent_total for item in status.accounts)
    expect(sent == sum(accounts.sent_total.values()), "I15", f"{sent} orders sent, not {accounts.sent_total}")
    if accounts.halts:
        halts = {name.partition("@")[0] for name in accounts.halts}
        expect(status.blocked_reason in halts, "I15", f"blocked by {status.blocked_reason!r}, not by {halts}")
    spec = accounts.spec
    if spec is None or status.config_revision != accounts.revision:
        expect(status.blocked_reason, "I15", f"configuration {status.config_revision!r} is not {accounts.revision!r}")
        return
    if not accounts.halts:
        expect(status.blocked_reason == spec.halted_reason, "I15", f"blocked by {status.blocked_reason!r}")
    _positions(accounts, spec, status)
    _states(accounts, spec, process, shown)
    acknowledged = [item.risk_limit for item in status.risk_acknowledgements]
    expect(acknowledged == [rule.name for rule in spec.rules], "I15", f"acknowledged {acknowledged}")
    for rule in spec.rules:
        _uses(accounts, rule, venue, [item for item in status.utilisation if item.risk_limit == rule.name])


def _account(accounts: Accounts, name: str, shown: status_pb2.StrategyAccount) -> None:
    held = {item.instrument.symbol: Decimal(item.quantity) for item in shown.positions if Decimal(item.quantity)}
    own = {symbol: value for (owner, symbol), value in accounts.positions.items() if owner == name and value}
    expect(held == own, "I15", f"{name!r} holds {own}, and {held} is shown")
    working = sum(order.owner == name for order in accounts.open.values())
    expect(shown.open_orders == working, "I15", f"{name!r} works {working} orders, and {shown.open_orders} are shown")
    sent = accounts.sent_total.get(name, 0)
    expect(shown.sent_total == sent, "I15", f"{name!r} has sent {sent} orders, and {shown.sent_total} are shown")
    last = accounts.last_reject.get(name, ("", "", 0))
    told = (shown.last_reject.reason, shown.last_reject.risk_limit, shown.rejected_total)
    expect(told == last, "I15", f"the last refusal of {name!r} is {last}, and {told} is shown")
    for item in shown.positions:
        _profit(accounts, name, item)


def _profit(accounts: Accounts, name: str, shown: status_pb2.Position) -> None:
    symbol = shown.instrument.symbol
    worth = accounts.market.worth(symbol)
    expect(bool(shown.mark_price) == (worth is not None), "I15", f"{symbol} is marked at {shown.mark_price!r}")
    if worth is None:
        return
    made = accounts.losses.cash.get((name, symbol), ZERO) + accounts.positions.get((name, symbol), ZERO) * worth
    told = Decimal(shown.realized_pnl) + Decimal(shown.unrealized_pnl or 0) - Decimal(shown.fees)
    expect(abs(told - made) <= ROUNDED, "I15", f"{name!r} made {made} in {symbol}, and {told} is shown")


def _positions(accounts: Accounts, spec: ConfigSpec, status: status_pb2.GatewayStatus) -> None:
    own: dict[str, list[Decimal]] = {}
    for (owner, symbol), quantity in accounts.positions.items():
        entry = own.setdefault(symbol, [ZERO, ZERO])
        entry[0] += quantity
        entry[1] += quantity if owner not in spec.bindings else 0
    told = {item.instrument.symbol: [Decimal(item.quantity), Decimal(item.unattributed)] for item in status.positions}
    expect(
        {symbol: both for symbol, both in told.items() if any(both)}
        == {symbol: both for symbol, both in own.items() if any(both)},
        "I15",
        f"the account holds {own}, not {told}",
    )


def _states(
    accounts: Accounts, spec: ConfigSpec, process: GatewayProcess, shown: dict[str, status_pb2.StrategyAccount]
) -> None:
    expect(spec.bindings.keys() <= shown.keys(), "I15", f"{spec.bindings.keys()} are bound, {shown.keys()} are shown")
    for name in spec.bindings:
        working = any(order.owner == name for order in accounts.open.values())
        holds = any(owner == name and value for (owner, _), value in accounts.positions.items())
        state = accounts.state(name)
        trades = state in (TradingState.ACTIVE, TradingState.CLOSE_ONLY) and not process.leaving
        stopped = shown[name].stopped
        text = f"{name} is {state.value}, works {working}, holds {holds}, and stopped is {stopped}"
        expect(not stopped or not (trades or working), "I15", text)
        expect(stopped or trades or working or holds, "I15", text)
        asked = TradingState.FLATTEN in (state, spec.bindings[name])
        expect(not asked or not holds or shown[name].remaining, "I15", f"{name} holds something and nothing remains")


def _uses(accounts: Accounts, rule: RuleSpec, venue: str, shown: list[status_pb2.Utilisation]) -> None:
    told = {(item.limit, item.key): Decimal(item.used) for item in shown}
    expected = dict(_expected(accounts, rule, venue))
    names = {limit for limit, _ in expected}
    for key, used in told.items():
        # What is held without a price has no use that is known: nothing is shown then, as no order is let through.
        if key[0] in (*names, *VALUES):
            text = f"{rule.name}: {key} uses {expected.get(key)}, and {used} is shown"
            expect(abs(used - expected.get(key, ZERO)) <= ROUNDED, "I15", text)
    if len(shown) < KEPT:
        missing = {key: used for key, used in expected.items() if used and key not in told}
        expect(not missing, "I15", f"{rule.name}: {missing} is not shown")


def _expected(accounts: Accounts, rule: RuleSpec, venue: str) -> Iterator[tuple[Use, Decimal]]:
    judge, exposures = accounts.judge, accounts.exposures()
    judge.look(exposures)
    groups = {"": accounts.members[rule.name] | {""}} if rule.total else {name: {name} for name in rule.strategies}
    for key, owners in groups.items():
        symbols = sorted({symbol for owner, symbol in exposures if owner in owners and rule.covers(symbol)})
        sides = {symbol: judge.sides(owners, symbol) for symbol in symbols}
        worths = {symbol: accounts.market.worth(symbol) for symbol in symbols}
        if rule.position is not None:
            for symbol, (long, short) in sides.items():
                name = f"{venue}/{symbol}"
                yield ("maxPositionQuantity", f"{key}/{name}" if key else name), max(abs(long), abs(short))
        if rule.open_orders is not None:
            counts = (item[3] for (owner, symbol), item in exposures.items() if owner in owners and symbol in sides)
            yield ("maxOpenOrders", key), Decimal(sum(counts))
        # What several strategies hold against each other is worth nothing at any price.
        if all(worths[symbol] is not None for symbol, held in sides.items() if any(held)):
            values = [
                (long * (worths[symbol] or 0), short * (worths[symbol] or 0)) for symbol, (long, short) in sides.items()
            ]
            if rule.gross is not None:
                yield ("maxGrossNotional", key), sum((max(long, -short) for long, short in values), ZERO)
            if rule.net is not None:
                up, down = (abs(sum(one, ZERO)) for one in zip(*values, strict=True)) if values else (ZERO, ZERO)
                yield ("maxNetNotional", key), max(up, down)
