"""Scenarios with limits that are breached: short words for rules, clearing and what is latched."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from crowetrade.bus.v1 import journal_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, effects
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import EUR, Scenario, book, configuration, rule, rule_of

WIDE = rule("size", maxOrderQuantity="1000000000")
CAPITAL = {name: Money(Decimal(100_000), "USD") for name in ("alpha", "beta")}


def loss_rule(limits: Mapping[str, str], name: str = "loss", **changes: Any) -> config_pb2.RiskRule:
    """A rule with these limits in USD; `changes` are fields of the message."""
    message = rule_of(limits, name)
    message.currency = "USD"
    message.on_breach = "Block"
    for field, value in changes.items():
        if field == "strategies":
            del message.strategies[:]
            message.strategies.extend(value)
        else:
            setattr(message, field, value)
    return message


class Desk(Scenario):
    """A gateway under a wide rule and those that are given."""

    def put(self, *rules: config_pb2.RiskRule, **more: object) -> Configuration:
        """These rules are in force."""
        bindings = more.pop("bindings", None)
        given = configuration(bindings, WIDE, *rules, **{"capital": CAPITAL, **more})  # type: ignore[arg-type]
        self.do(commands.Configure(given))
        return given

    def quote(self, mid: str, instrument: InstrumentId = EUR) -> list[effects.Effect]:
        """A quote of no width."""
        return self.venue(port.QuoteChanged(0, book(instrument, mid, mid)))

    def trade(
        self, number: int, quantity: int, price: str = "1.1", side: Side = Side.BUY, strategy: str = "alpha"
    ) -> None:
        """An order that is executed at once."""
        self.order(number, strategy=strategy, side=side, quantity=Decimal(quantity), price=Decimal(price))
        self.accepted(number, strategy)
        self.executed(
            number,
            str(quantity),
            f"x-{strategy}-{number}",
            price,
            cl_ord_id=f"{strategy}-1hg3k2m9p0ab-{number}",
            side=side,
        )

    @property
    def latched(self) -> list[str]:
        """Breaches that nobody has cleared."""
        return list(self.books.breaches)

    def breach(self, name: str) -> journal_pb2.BreachChanged:
        """The only breach of a limit by a subject, LIMIT/SUBJECT."""
        (found,) = (body for key, body in self.books.breaches.items() if key.partition("@")[0] == name)
        return found

    def state_of(self, strategy: str = "alpha") -> TradingState:
        """What the strategy may do."""
        return self.state.control(strategy).state
