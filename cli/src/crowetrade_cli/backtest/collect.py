"""What a run leaves behind, collected from what its gateways journal: the journal is the only source of executions, as
it is in a cluster. Money is exact."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, ZERO, parse, render
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.wire import SIDE_FROM_WIRE
from crowetrade_agents.gateway.loop import Gateway
from crowetrade_agents.gateway.order import ClOrdId
from crowetrade_agents.gateway.refusals import by_symbol
from crowetrade_agents.risk import gate
from crowetrade_agents.runtime.backtest.run import Backtest
from crowetrade_agents.runtime.config import listings
from crowetrade_api.files import StrategyFile
from crowetrade_api.names import strategy_of
from crowetrade_cli.results.result import Fill, Holding, Holdings, LimitUse, Refused

Key = tuple[str, InstrumentId]
_LimitKey = tuple[str, str, str]


class Collector:
    """`recorded` is handed to the backtest; `sample` is called when a look at what is held is due."""

    def __init__(self, namespaces: Mapping[str, str], strategies: Sequence[StrategyFile]) -> None:
        """`namespaces` are those of the venues, by the venue's name."""
        self.fills: list[Fill] = []
        self.holdings = Holdings()
        # Funding and rollover by the strategy's NAMESPACE/NAME.
        self.charges: dict[str, Decimal] = defaultdict(lambda: ZERO)
        self._namespaces = namespaces
        self._instruments: dict[Key, Instrument] = {
            (f"{file.namespace}/{file.name}", name): instrument
            for file in strategies
            for name, instrument in listings(file).items()
        }
        self._cash: dict[Key, Decimal] = defaultdict(lambda: ZERO)
        self._position: dict[Key, Decimal] = defaultdict(lambda: ZERO)
        self._refused: dict[tuple[str, str, str, str, str], Refused] = {}
        self._uses: dict[_LimitKey, LimitUse] = {}

    def recorded(self, gateway: Gateway, events: Sequence[journal_pb2.JournalEvent]) -> None:
        """Takes what a gateway has just journaled."""
        sent = False
        for event in events:
            match event.WhichOneof("event"):
                case "order_submitted":
                    sent = True
                case "order_executed":
                    self._executed(gateway, event.order_executed, event.at_unix_ns)
                case "position_charged":
                    self._charged(gateway, event.position_charged)
                case "order_ended":
                    self._ended(gateway, event.order_ended, event.at_unix_ns)
                case "requests_refused":
                    self._requests_refused(gateway, event.requests_refused, event.at_unix_ns)
        if sent:
            self._used(gateway)

    def sample(self, backtest: Backtest, at_ns: int) -> None:
        """What every strategy holds of each of its instruments now."""
        for key, instrument in self._instruments.items():
            strategy, name = key
            mark = backtest.gateways[name.venue].gateway.state.live.marks.get(name)
            price = mark.book.mid if mark is not None and mark.book.is_usable else None
            position = self._position[key]
            value = ZERO if price is None else _notional(position, price, instrument)
            venue = self._id(name.venue, name.venue)
            row = Holding(at_ns, strategy, venue, name.symbol, position, self._cash[key], price, value)
            self.holdings.append(row)

    @property
    def refused(self) -> tuple[Refused, ...]:
        """In the order in which each came first."""
        return tuple(self._refused.values())

    @property
    def limits(self) -> tuple[LimitUse, ...]:
        """Every use that was seen, in the order of names, with how many orders the limit refused over all keys."""
        refused: dict[tuple[str, str], int] = defaultdict(int)
        for item in self._refused.values():
            refused[item.risk_limit, item.reason.casefold()] += item.count
        return tuple(
            replace(use, refused=refused[use.risk_limit, use.limit.casefold()]) for _, use in sorted(self._uses.items())
        )

    def _executed(self, gateway: Gateway, body: journal_pb2.OrderExecuted, at_ns: int) -> None:
        venue = gateway.state.settings.venue
        key = self._strategy(venue, ClOrdId.of(body.cl_ord_id).strategy), InstrumentId(venue, body.symbol)
        instrument = self._instruments[key]
        side = SIDE_FROM_WIRE[body.side]
        quantity, price, fee = parse(body.quantity), parse(body.price), parse(body.fee)
        signed = quantity if side is Side.BUY else CONTEXT.minus(quantity)
        paid = CONTEXT.add(_notional(signed, price, instrument), fee)
        self._cash[key] = CONTEXT.subtract(self._cash[key], paid)
        self._position[key] = CONTEXT.add(self._position[key], signed)
        self.fills.append(
            Fill(
                body.transact_unix_ns or at_ns,
                key[0],
                self._id(venue, venue),
                body.symbol,
                "Buy" if side is Side.BUY else "Sell",
                quantity,
                price,
                fee,
                instrument.currency,
                body.cl_ord_id,
                body.exec_id,
            )
        )

    def _charged(self, gateway: Gateway, body: journal_pb2.PositionCharged) -> None:
        venue = gateway.state.settings.venue
        key = self._strategy(venue, body.strategy), InstrumentId(venue, body.symbol)
        amount = parse(body.amount)
        self._cash[key] = CONTEXT.subtract(self._cash[key], amount)
        self.charges[key[0]] = CONTEXT.add(self.charges[key[0]], amount)

    def _ended(self, gateway: Gateway, body: journal_pb2.OrderEnded, at_ns: int) -> None:
        order = gateway.state.books.find(body.cl_ord_id)
        if order is not None and body.ord_status == orders_pb2.ORD_STATUS_REJECTED:
            symbol = order.terms.instrument.symbol
            self._refuse(gateway, ClOrdId.of(body.cl_ord_id).strategy, symbol, body.reason, "", body.text, 1, at_ns)

    def _requests_refused(self, gateway: Gateway, body: journal_pb2.RequestsRefused, at_ns: int) -> None:
        for symbol, count in by_symbol(body):
            self._refuse(gateway, body.strategy, symbol, body.reason, body.risk_limit, body.text, count, at_ns)

    def _refuse(
        self,
        gateway: Gateway,
        strategy: str,
        symbol: str,
        reason: str,
        risk_limit: str,
        text: str,
        count: int,
        at_ns: int,
    ) -> None:
        venue = gateway.state.settings.venue
        limit = self._id(venue, risk_limit) if risk_limit else ""
        key = strategy, venue, symbol, reason, limit
        known = self._refused.get(key)
        if known is None:
            owner, where = self._strategy(venue, strategy), self._id(venue, venue)
            self._refused[key] = Refused(owner, where, symbol, reason, limit, text, count, at_ns, at_ns)
        else:
            self._refused[key] = replace(known, count=known.count + count, last_ns=at_ns)

    def _used(self, gateway: Gateway) -> None:
        """After an order was approved its use is the greatest so far, or none of its limits moved."""
        for use in gate.utilisation(gateway.state.facts("", gateway.state.live.now_ns)):
            limit = self._id(gateway.state.settings.venue, use.risk_limit)
            key = limit, use.limit, use.key
            known = self._uses.get(key)
            if known is None or use.used > Decimal(known.highest):
                self._uses[key] = LimitUse(limit, use.limit, use.key, render(use.allowed), render(use.used), 0)

    def _id(self, venue: str, name: str) -> str:
        """Of something in the namespace of a venue."""
        return f"{self._namespaces[venue]}/{name}"

    def _strategy(self, venue: str, known_as: str) -> str:
        return "/".join(strategy_of(known_as, self._namespaces[venue]))


def _notional(signed: Decimal, price: Decimal, instrument: Instrument) -> Decimal:
    return CONTEXT.multiply(CONTEXT.multiply(signed, price), instrument.multiplier)
