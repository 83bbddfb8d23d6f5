"""GatewayStatus out of the engine's state. Pure. Numbers are rounded here, and only here: the journal stays exact.

A strategy that is bound no more, holds nothing and works nothing has no account of its own in the status, though the
books may still have its name (forgetting.py): as with every name that is missing there, nothing is left of it. So a
status grows with who trades, not with who ever did. A status that would be too large for the bus is shortened by what
nobody decides by; one that is too large even then is not published, and the operator takes the gateway for silent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from heapq import nlargest

from crowetrade.bus.v1 import journal_pb2, status_pb2
from crowetrade_agents.control.state import Control, blocking
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, ZERO, render, render_money, render_price
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.domain.wire import instrument_to_wire
from crowetrade_agents.gateway import kill_progress
from crowetrade_agents.gateway.books import FORMER
from crowetrade_agents.gateway.order import Counters, Key, LastReject
from crowetrade_agents.gateway.state import GatewayState
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.venues.port import SessionState
from crowetrade_api.names import reason_of_halt

UTILISATION_KEPT = 16
"""How many uses are reported per RiskLimit: as many as its status shows."""
USES_OF_A_PIECE = 50
MAX_STATUS_BYTES = 900_000
"""Of a message on the bus, whose server ends the connection of who sends one of more than 1 MB, headers counted."""
_INFINITY = Decimal("Infinity")
SESSION_STATES = {
    SessionState.CONNECTING: status_pb2.SESSION_STATE_CONNECTING,
    SessionState.LOGGED_ON: status_pb2.SESSION_STATE_LOGGED_ON,
    SessionState.LOGON_REJECTED: status_pb2.SESSION_STATE_LOGON_REJECTED,
    SessionState.DISCONNECTED: status_pb2.SESSION_STATE_DISCONNECTED,
    SessionState.ENDED: status_pb2.SESSION_STATE_ENDED,
}


def gateway_status(
    state: GatewayState, journal_sequence: int, latency_p99_ns: int, waiting_for: Sequence[str], now_ns: int
) -> status_pb2.GatewayStatus:
    """The whole status at `now_ns`, wall clock."""
    status = status_pb2.GatewayStatus()
    for _ in status_pieces(status, state, journal_sequence, latency_p99_ns, waiting_for, now_ns):
        pass
    return status


def status_pieces(
    status: status_pb2.GatewayStatus,
    state: GatewayState,
    journal_sequence: int,
    latency_p99_ns: int,
    waiting_for: Sequence[str],
    now_ns: int,
) -> Iterator[None]:
    """Fills the status in and yields wherever commands may be handled in between: of 50 strategies in 20 instruments it
    takes tens of milliseconds, for which no order should wait.

    What is said of one account is of one moment. Configuration and journal sequence are of the first moment, so
    everything else is at least as new as they are.
    """
    live, books, settings = state.live, state.books, state.settings
    configuration = live.configuration
    blocked = blocking(configuration, books.halts)
    bound = _bound(state)
    status.MergeFrom(
        status_pb2.GatewayStatus(
            namespace=settings.namespace,
            venue=settings.venue,
            pod=settings.pod,
            sent_unix_ns=now_ns,
            session=SESSION_STATES[live.session],
            session_since_unix_ns=live.session_since_ns,
            session_message=live.session_text,
            fencing_token=books.fencing_token,
            journal_sequence=journal_sequence,
            config_revision=configuration.revision,
            risk_acknowledgements=[
                status_pb2.RiskAcknowledgement(risk_limit=rule.name, uid=rule.uid, hash=rule.hash, problem=rule.problem)
                for rule in configuration.rules
            ],
            throttled_total=live.throttled,
            latency_p99_micros=latency_p99_ns // 1000,
            blocked_reason="" if blocked is None else _blocked_reason(state),
            blocked_message="" if blocked is None else blocked.text,
            market_data_sequence=live.published,
            waiting_for=waiting_for,
            breaches=[_breach(body) for body in books.breaches.values()],
            kills=kill_progress.acknowledgements(state),
        )
    )
    listed = bound | {name for (name, _), position in books.positions.items() if position.quantity}
    listed |= {order.terms.strategy for order in books.open.values()}
    keys, positions, known = _keys(state), books.positions, len(books.positions)
    for name in sorted(listed):
        yield
        if positions is not books.positions or known != len(books.positions):
            keys, positions, known = _keys(state), books.positions, len(books.positions)
        status.accounts.append(_account(state, name, keys.get(name, ())))
    yield
    status.accounts.extend(_former(state, listed))
    status.positions.extend(_account_positions(state, bound))
    for _ in _utilisation(status, state, now_ns):
        yield


def shorten(status: status_pb2.GatewayStatus) -> list[str]:
    """Takes out what nobody decides by until the status fits into a message, and names it in `left_out`: never who
    holds or works something, nor how much."""
    for name, take_out in _NOT_NEEDED.items():
        if status.ByteSize() <= MAX_STATUS_BYTES:
            break
        take_out(status)
        status.left_out.append(name)
    return [*status.left_out]


def _without_texts(status: status_pb2.GatewayStatus) -> None:
    for account in status.accounts:
        account.last_reject.text = ""


def _without_utilisation(status: status_pb2.GatewayStatus) -> None:
    del status.utilisation[:]


def _without_prices(status: status_pb2.GatewayStatus) -> None:
    for account in status.accounts:
        for position in account.positions:
            for field in ("average_price", "mark_price", "mark_unix_ns", "unrealized_pnl"):
                position.ClearField(field)


_NOT_NEEDED = {
    "texts of refusals": _without_texts,
    "use of limits": _without_utilisation,
    "prices of positions": _without_prices,
}


def position_message(state: GatewayState, key: Key) -> status_pb2.Position:
    """A position as it travels, marked at the mid of its instrument's own last quote. The books know prices and
    quantities; what a price is worth for each unit is the instrument's multiplier, 1 where it is listed no more."""
    position, instrument = state.books.positions[key], state.settings.instruments.get(key[1])
    multiplier = instrument.multiplier if instrument is not None else Decimal(1)
    message = status_pb2.Position(
        instrument=instrument_to_wire(key[1]),
        quantity=render(position.quantity),
        average_price=_price(position.average_price, instrument),
        realized_pnl=render_money(CONTEXT.multiply(position.realized, multiplier)),
        fees=render_money(position.fees),
    )
    mark = state.live.marks.get(key[1])
    if mark is not None and mark.book.is_usable:
        message.mark_price = _price(mark.book.mid, instrument)
        message.mark_unix_ns = mark.received_ns
        message.unrealized_pnl = render_money(CONTEXT.multiply(position.unrealized(mark.book.mid), multiplier))
    return message


def is_stopped(state: GatewayState, strategy: str) -> bool:
    """Whether the strategy may not trade, has nothing open, and nothing more will be closed for it."""
    control = state.control(strategy)
    if control.state in (TradingState.ACTIVE, TradingState.CLOSE_ONLY) or state.books.open_of(strategy):
        return False
    return all(item.final for item in remaining(state, strategy, control))


def remaining(state: GatewayState, strategy: str, control: Control) -> list[status_pb2.Remaining]:
    """Where Flatten is asked for: what is not closed yet, and why."""
    bound = (state.live.configuration.bindings or {}).get(strategy)
    if TradingState.FLATTEN not in (bound, control.state):
        return []
    found = []
    for key, position in sorted(state.books.positions.items()):
        if key[0] != strategy or not position.quantity:
            continue
        closing = state.live.closing.get(key)
        message = status_pb2.Remaining(instrument=instrument_to_wire(key[1]), quantity=render(position.quantity))
        if closing is not None and closing.reason:
            message.reason, message.text, message.final = closing.reason, closing.text, closing.final
        elif control.refusal is not None:
            message.reason, message.text = str(control.refusal.reason), control.refusal.text
        found.append(message)
    return found


def _utilisation(status: status_pb2.GatewayStatus, state: GatewayState, now_ns: int) -> Iterator[None]:
    facts, by_limit = state.facts("", now_ns), defaultdict[str, list[Use]](list)
    for number, use in enumerate(gate.utilisation(facts), start=1):
        by_limit[use.risk_limit].append(use)
        if number % USES_OF_A_PIECE == 0:
            yield
            # Message windows take an earlier time for a clock that went back.
            facts.now_ns = max(facts.now_ns, state.live.now_ns)
    for uses in by_limit.values():
        status.utilisation.extend(
            status_pb2.Utilisation(
                risk_limit=use.risk_limit,
                limit=use.limit,
                key=use.key,
                used=render_money(use.used),
                allowed=render(use.allowed),
                share="" if use.share is None else render(use.share),
                total="" if use.total is None else render(use.total),
            )
            for use in _highest(uses)
        )
        yield


def _highest(uses: Iterable[Use]) -> list[Use]:
    """The UTILISATION_KEPT highest shares of a RiskLimit; with a Decimal for each strategy and instrument, the whole
    list would take longer to report than the orders of that second."""
    return nlargest(UTILISATION_KEPT, uses, key=_share)


def _share(use: Use) -> Decimal:
    """Use as a share of what is allowed; what is not allowed at all comes first."""
    if not use.allowed:
        return _INFINITY if use.used else ZERO
    return CONTEXT.divide(use.used, use.allowed)


def _bound(state: GatewayState) -> set[str]:
    """Who is bound; before that is known, who was when a configuration was journaled last."""
    bindings, journaled = state.live.configuration.bindings, state.books.configuration
    if bindings is not None:
        return set(bindings)
    return {item.strategy for item in journaled.config.strategies}.union(*state.books.members.values())


def _keys(state: GatewayState) -> dict[str, list[Key]]:
    """Positions of each owner, in order. No key is taken out of the same table: as many as before are the same."""
    found = defaultdict[str, list[Key]](list)
    for key in sorted(state.books.positions):
        found[key[0]].append(key)
    return found


def _former(state: GatewayState, listed: set[str]) -> Iterator[status_pb2.StrategyAccount]:
    """The account of all who have none of their own, so that the venue's totals never fall."""
    found = [counters for name, counters in state.books.counters.items() if name not in listed]
    account = status_pb2.StrategyAccount(
        strategy=FORMER,
        stopped=True,
        sent_total=sum(counters.sent for counters in found),
        filled_total=sum(counters.filled for counters in found),
        rejected_total=sum(counters.rejected for counters in found),
    )
    if account.sent_total or account.filled_total or account.rejected_total:
        yield account


def _account(state: GatewayState, name: str, keys: Sequence[Key]) -> status_pb2.StrategyAccount:
    books = state.books
    counters = books.counters.get(name, Counters())
    open_orders = books.open_of(name)
    return status_pb2.StrategyAccount(
        strategy=name,
        positions=[position_message(state, key) for key in keys],
        open_orders=len(open_orders),
        unknown_orders=sum(order.unknown for order in open_orders),
        sent_total=counters.sent,
        filled_total=counters.filled,
        rejected_total=counters.rejected,
        last_reject=_refusals(counters.last_reject),
        connected=name in state.live.sessions,
        stopped=is_stopped(state, name),
        remaining=remaining(state, name, state.control(name)),
        risk_limits=sorted(
            rule.name for rule in state.live.configuration.rules if name in rule.strategies and not rule.problem
        ),
    )


def _account_positions(state: GatewayState, bound: set[str]) -> list[status_pb2.AccountPosition]:
    totals, unattributed = defaultdict[InstrumentId, Decimal](Decimal), defaultdict[InstrumentId, Decimal](Decimal)
    for (owner, instrument), position in state.books.positions.items():
        totals[instrument] = CONTEXT.add(totals[instrument], position.quantity)
        if owner not in bound:
            unattributed[instrument] = CONTEXT.add(unattributed[instrument], position.quantity)
    return [
        status_pb2.AccountPosition(
            instrument=instrument_to_wire(instrument),
            quantity=render(total),
            unattributed=render(unattributed[instrument]),
        )
        for instrument, total in sorted(totals.items())
    ]


def _breach(body: journal_pb2.BreachChanged) -> status_pb2.Breach:
    return status_pb2.Breach(
        breach=body.breach,
        risk_limit=body.risk_limit,
        limit=body.limit,
        subject=body.subject,
        action=body.action,
        text=body.text,
        since_unix_ns=body.since_unix_ns,
        enforced=body.enforced,
    )


def _refusals(last: LastReject) -> status_pb2.Refusals:
    return status_pb2.Refusals(
        reason=last.reason,
        risk_limit=last.risk_limit,
        count=last.count,
        since_unix_ns=last.since_ns,
        last_unix_ns=last.last_ns,
        text=last.text,
    )


def _blocked_reason(state: GatewayState) -> str:
    """The halt, the reason of the configuration, or that there is none."""
    configuration = state.live.configuration
    if state.books.halts:
        return reason_of_halt(sorted(state.books.halts)[0])
    if configuration.unreadable:
        return "UnreadableConfiguration"
    return configuration.halted_reason or "NoConfiguration"


def _price(value: Decimal, instrument: Instrument | None) -> str:
    tick = instrument.tick_size if instrument is not None else ZERO
    return render_price(value, tick)
