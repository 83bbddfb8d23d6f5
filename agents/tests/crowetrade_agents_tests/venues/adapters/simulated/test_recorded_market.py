"""Random orders against recorded and made-up markets: no execution that the market did not show or trade, no quantity
lost, equity = cash + positions at every step, and the same run again gives the same events."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrderTerms, Side, TimeInForce
from crowetrade_agents.venues.adapters.simulated.depth import DepthUpdate, Scale
from crowetrade_agents.venues.adapters.simulated.exchange import Exchange
from crowetrade_agents.venues.adapters.simulated.queue import QueueModel
from crowetrade_agents.venues.adapters.simulated.recording import read
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Replace, Request
from crowetrade_agents.venues.adapters.simulated.spec import Fees, Recording, ShortSelling
from crowetrade_agents.venues.port import Executed, OrderEvent, QuoteChanged, TradePrinted

from ...values import EUR, D, at, terms
from .plain_market import MAKER_BPS, TAKER_BPS, PlainMarket, respects

Step = tuple[TopOfBook, DepthUpdate] | TradePrinted
MILLI_NS = 1_000_000


class Run:
    """An exchange and a plain market that see the same."""

    def __init__(
        self, instrument: Instrument, model: QueueModel, latency_ns: int, shorts: ShortSelling = ShortSelling.ALLOWED
    ) -> None:
        self.model = model
        self.exchange = Exchange(
            {instrument.id: instrument},
            Fees(MAKER_BPS, TAKER_BPS),
            order_latency_ns=latency_ns,
            queue_model=model,
            short_selling=shorts,
            retain=None,
        )
        self.plain = PlainMarket()
        self.limits: dict[str, OrderTerms] = {}
        self.events: list[OrderEvent] = []

    def step(self, step: Step) -> None:
        """The market moves; what was due before is of the market before."""
        if isinstance(step, TradePrinted):
            at_ns, events = step.at_ns, self.exchange.on_trade(step)
        else:
            at_ns, events = step[0].event_ns, self.exchange.on_quote(*step)
        self._took(event for event in events if event.at_ns < at_ns)
        now = [event for event in events if event.at_ns == at_ns and isinstance(event, Executed)]
        self._check(now)
        if isinstance(step, TradePrinted):
            assert not now or self.model is not QueueModel.NONE
            self.plain.trades_with(step, now)
        else:
            self.plain.show(*step)
            for event in now:
                self.plain.makes(event)
        self.events += events
        self.plain.account.check(self.plain.book.mid)

    def send(self, request: Request) -> None:
        """A request leaves."""
        if isinstance(request, NewOrder | Replace):
            self.limits[request.terms.cl_ord_id] = request.terms
        self.exchange.send(request, self.exchange.now_ns)
        events = self.exchange.advance(self.exchange.now_ns)
        self._took(events)
        self.events += events

    def _took(self, events: Iterable[OrderEvent]) -> None:
        executed = [event for event in events if isinstance(event, Executed)]
        self._check(executed)
        for event in executed:
            self.plain.takes(event)

    def _check(self, executed: Iterable[Executed]) -> None:
        assert all(respects(self.limits[event.cl_ord_id], event) for event in executed)

    def finish(self) -> None:
        """Nothing is lost, in each order and in the position."""
        for order in self.exchange.ledger.orders():
            fills = [event for event in self.events if isinstance(event, Executed) and event.order_id == order.order_id]
            assert sum(event.quantity for event in fills) == order.cum
            assert order.cum + order.leaves + order.canceled == order.terms.quantity
        assert (
            self.exchange.ledger.positions.get(next(iter(self.exchange._instruments)), D(0)) == self.plain.account.held
        )


def random_requests(run: Run, instrument: Instrument, random: Random, name: int) -> Iterator[Request]:
    """Orders around the touch, a cancel or a replacement of one that is open."""
    opened = run.exchange.ledger.open_orders()
    price = run.plain.book.bid_price + random.randrange(-6, 9) * instrument.tick_size
    side, quantity = random.choice(list(Side)), random.randrange(1, 4000) * instrument.lot_size * 7
    kind = random.random()
    if kind < 0.6 or not opened:
        tif = random.choice([TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK])
        wanted = None if random.random() < 0.03 else str(price)
        post_only = wanted is not None and tif is TimeInForce.GTC and random.random() < 0.5
        yield NewOrder(
            terms(f"o{name}", side, str(quantity), wanted, tif, instrument=instrument.id, post_only=post_only)
        )
        return
    order = random.choice(opened)
    if kind < 0.85:
        yield Cancel(f"c{name}", order.terms.cl_ord_id, "")
    else:
        old = order.terms
        new = terms(f"r{name}", old.side, str(quantity), str(price), old.time_in_force, instrument=instrument.id)
        yield Replace(new, old.cl_ord_id, "")


def played(
    steps: Iterable[Step],
    instrument: Instrument,
    model: QueueModel,
    seed: int,
    latency_ns: int,
    rate: float = 0.2,
    shorts: ShortSelling = ShortSelling.ALLOWED,
) -> Run:
    """`rate`: requests per step of the market."""
    run, random = Run(instrument, model, latency_ns, shorts), Random(seed)
    for number, step in enumerate(steps):
        run.step(step)
        assert shorts is ShortSelling.ALLOWED or run.plain.account.held >= 0
        if random.random() < rate:
            for request in random_requests(run, instrument, random, number):
                run.send(request)
    run.finish()
    return run


def recorded_steps(replay: Replay, last: int) -> Iterator[Step]:
    begun = False
    for sequence in range(1, last + 1):
        event = replay.event(sequence)
        if isinstance(event, QuoteChanged):
            update = replay.depth(sequence)
            assert update is not None
            begun = True
            yield event.book, update
        elif begun:
            yield event


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Callable[[str, Instrument], Replay]:
    """The depth and the trades of a market that was recorded; read once."""
    known: dict[str, Replay] = {}

    def of(name: str, instrument: Instrument) -> Replay:
        if name not in known:
            paths = [shared_data / kind / f"{name}.parquet" for kind in ("l2", "trades")]
            known[name] = Replay(read([Recording(path, instrument.id.symbol) for path in paths], [instrument]))
        return known[name]

    return of


SPOT = Instrument(EUR, "USDT", D(1), D("0.01"), D("0.00001"), D("0.00001"))
PERPETUAL = Instrument(EUR, "USDT", D(1), D("0.1"), D("0.001"), D("0.001"))


@pytest.mark.parametrize("model", QueueModel)
@pytest.mark.parametrize(
    ("name", "instrument", "latency_ns"),
    [("BTC-USDT.binance-spot", SPOT, 0), ("BTC-USDT-PERP.binance-usdm", PERPETUAL, 40 * MILLI_NS)],
)
def test_random_orders_in_a_recorded_market(
    recorded: Callable[[str, Instrument], Replay], name: str, instrument: Instrument, latency_ns: int, model: QueueModel
) -> None:
    """Needs ../shared/data; skips without it."""
    replay = recorded(name, instrument)
    run = played(recorded_steps(replay, 5000), instrument, model, 7, latency_ns)
    assert run.plain.takers > 100
    assert run.plain.makers + run.plain.by_trades > 30
    assert (run.plain.by_trades > 30) is (model is not QueueModel.NONE)
    again = played(recorded_steps(replay, 1000), instrument, model, 7, latency_ns)
    assert run.events[: len(again.events) - 50] == again.events[:-50]


levels = st.dictionaries(st.integers(95, 105), st.integers(0, 9), max_size=4)
markets = st.lists(
    st.one_of(
        st.tuples(st.just("show"), levels, levels, st.booleans()),
        st.tuples(st.just("trade"), st.integers(95, 105), st.integers(1, 12), st.sampled_from([*Side, None])),
    ),
    max_size=40,
)
X = Instrument(EUR, "USD", D(1), D(1), D(1), D(1))


def made_up(plan: list[tuple[object, ...]]) -> Iterator[Step]:
    """As a venue's book is: never crossed, never empty."""
    bids, offers, first = {90: 5}, {110: 5}, True
    for second, step in enumerate([("show", {99: 3}, {101: 3}, False), *plan], 1):
        if step[0] == "trade":
            _, price, quantity, aggressor = step
            side = aggressor if isinstance(aggressor, Side) else None
            yield TradePrinted(1, EUR, D(str(price)), D(str(quantity)), side, at(second))
            continue
        _, more_bids, more_offers, resets = step
        assert isinstance(more_bids, dict)
        assert isinstance(more_offers, dict)
        changed = [{90: 5, **more_bids}, {110: 5, **more_offers}]
        if resets:
            bids, offers = {}, {}
        bids, offers = {**bids, **changed[0]}, {**offers, **changed[1]}
        best_bid = max(price for price, size in bids.items() if size)
        for price in [price for price, size in offers.items() if size and price <= best_bid]:
            changed[1][price] = offers[price] = 0
        best_offer = min(price for price, size in offers.items() if size)
        keys = array("q", [*(-price for price in changed[0]), *changed[1]])
        update = DepthUpdate(
            Scale(0, 0), bool(resets) or first, keys, array("q", [*changed[0].values(), *changed[1].values()])
        )
        first = False
        yield TopOfBook(EUR, D(best_bid), D(bids[best_bid]), D(best_offer), D(offers[best_offer]), at(second)), update


@given(
    markets,
    st.sampled_from(QueueModel),
    st.integers(0, 10**6),
    st.sampled_from([0, 1_500 * MILLI_NS]),
    st.sampled_from(ShortSelling),
)
def test_random_orders_in_a_made_up_market(
    plan: list[tuple[object, ...]], model: QueueModel, seed: int, latency_ns: int, shorts: ShortSelling
) -> None:
    run = played(made_up(plan), X, model, seed, latency_ns, 0.8, shorts)
    assert played(made_up(plan), X, model, seed, latency_ns, 0.8, shorts).events == run.events
