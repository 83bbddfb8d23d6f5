"""An exchange that is shown a recorded book of EUR-USD, for tests. Prices and quantities are plain numbers."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.venues.adapters.simulated.depth import DepthUpdate, Scale
from crowetrade_agents.venues.adapters.simulated.exchange import Exchange
from crowetrade_agents.venues.port import Executed, OrderEvent, TradePrinted

from ...values import EUR, D, at

X = Instrument(EUR, "USD", D(1), D(1), D(1), D(1))
SCALE = Scale(0, 0)


class Recorded:
    """Shows an exchange one book after another, a second apart; remembers what was shown."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.second = 0
        self.bids: dict[int, int] = {}
        self.offers: dict[int, int] = {}
        self._first = True

    def show(self, bids: Mapping[int, int], offers: Mapping[int, int], *, resets: bool = False) -> list[OrderEvent]:
        """Levels change to these sizes; the first time, and with `resets`, they are all there are."""
        resets = resets or self._first
        self._first = False
        if resets:
            self.bids, self.offers = {}, {}
        self.bids.update(bids)
        self.offers.update(offers)
        self.second += 1
        keys = array("q", [*(-price for price in bids), *offers])
        update = DepthUpdate(SCALE, resets, keys, array("q", [*bids.values(), *offers.values()]))
        return self.exchange.on_quote(self.top(), update)

    def top(self) -> TopOfBook:
        """The best levels with a size."""
        bid = max(price for price, size in self.bids.items() if size)
        offer = min(price for price, size in self.offers.items() if size)
        return TopOfBook(EUR, D(bid), D(self.bids[bid]), D(offer), D(self.offers[offer]), at(self.second))

    def trade(self, price: int, quantity: int, aggressor: Side | None = Side.SELL) -> list[OrderEvent]:
        """Others trade."""
        self.second += 1
        return self.exchange.on_trade(TradePrinted(1, EUR, D(price), D(quantity), aggressor, at(self.second)))


def fills(events: list[OrderEvent]) -> list[tuple[str, int, int]]:
    """ClOrdID, quantity and price of the executions."""
    return [(event.cl_ord_id, int(event.quantity), int(event.price)) for event in events if isinstance(event, Executed)]
