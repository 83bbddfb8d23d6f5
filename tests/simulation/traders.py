"""Strategies that send whatever a strategy may send, and what it may not. Each has its own random numbers, so that what
one of them sends does not change what another one sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.gateway import commands
from crowetrade_agents.order_entry.decode import Bounds, decode
from tests.simulation.limits import SECOND

if TYPE_CHECKING:
    from tests.simulation.gateway import GatewayProcess
    from tests.simulation.world import World

Request = gateway_pb2.OrderSessionRequest
FINAL = frozenset(
    {
        orders_pb2.ORD_STATUS_FILLED,
        orders_pb2.ORD_STATUS_CANCELED,
        orders_pb2.ORD_STATUS_REJECTED,
        orders_pb2.ORD_STATUS_EXPIRED,
    }
)
TIMES_IN_FORCE = (
    orders_pb2.TIME_IN_FORCE_GTC,
    orders_pb2.TIME_IN_FORCE_GTC,
    orders_pb2.TIME_IN_FORCE_DAY,
    orders_pb2.TIME_IN_FORCE_IOC,
    orders_pb2.TIME_IN_FORCE_FOK,
    orders_pb2.TIME_IN_FORCE_GTD,
)
NUMBERS = ("", "-1", "0", "NaN", "1E-2000000", "1_000", "１", " 1", "0.0000000000000000001", "9" * 200, "1e5", "inf")
BASE_36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    """As a strategy's process names its run."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = BASE_36[digit] + digits
    return digits


@dataclass
class Sent:
    """What the strategy remembers of an order: enough to ask for it again."""

    request: Request
    instrument: Instrument
    open: bool = True
    answered: bool = False


class Trader:
    """One strategy. `garbage` makes it send nothing but what no gateway accepts."""

    def __init__(self, world: World, name: str, random: Random, *, garbage: bool = False) -> None:
        self.world = world
        self.name = name
        self.random = random
        self.garbage = garbage
        self.process: GatewayProcess | None = None
        self.session = 0
        self.sessions = 0
        self.run = ""
        self.number = 0
        self.sent: dict[str, Sent] = {}
        self.reports: list[orders_pb2.ExecutionReport | orders_pb2.CancelReject] = []
        self.keeps_reports = False
        self.mean_wait = random.choice((SECOND // 25, SECOND // 8, SECOND // 2))
        self._restart()

    def _restart(self) -> None:
        self.run = base36(self.world.wall() + self.random.randrange(SECOND)).rjust(12, "0")[-13:]
        self.number = 0

    # --- Sessions ---------------------------------------------------------------------------------------------------

    def log_on(self) -> None:
        """Opens a session with the gateway that serves now."""
        process = self.world.serving()
        if process is not None:
            self.sessions += 1
            process.put(commands.Logon(self.name, self.sessions))

    def accepted(self, process: GatewayProcess, session: int, snapshot: gateway_pb2.LogonAccepted) -> None:
        """The session is open: what was sent and not answered is sent again."""
        if session != self.sessions:
            return
        self.process, self.session = process, session
        still_open = {report.cl_ord_id for report in snapshot.open_orders}
        for cl_ord_id, sent in list(self.sent.items())[-5:]:
            if not sent.answered and cl_ord_id not in still_open and self.random.random() < 0.7:
                self._send(sent.request)

    def lose(self) -> None:
        """The session breaks."""
        process, self.process = self.process, None
        if process is not None:
            process.put(commands.SessionLost(self.name, self.session))

    def gateway_ended(self, process: GatewayProcess) -> None:
        """The gateway went away without a word."""
        if self.process is process:
            self.process = None

    def reported(self, message: orders_pb2.ExecutionReport | orders_pb2.CancelReject) -> None:
        """An answer."""
        if self.keeps_reports:
            self.reports.append(message)
        if isinstance(message, orders_pb2.ExecutionReport):
            sent = self.sent.get(message.cl_ord_id) or self.sent.get(message.orig_cl_ord_id)
            if sent is not None:
                sent.answered = True
                sent.open = message.ord_status not in FINAL
        elif message.ord_status == orders_pb2.ORD_STATUS_UNSPECIFIED and message.orig_cl_ord_id in self.sent:
            self.sent[message.orig_cl_ord_id].open = False

    # --- What it sends ----------------------------------------------------------------------------------------------

    def act(self) -> None:
        """Does one thing, and waits for the next."""
        if self.world.trading:
            self._act()
            wait = max(int(self.random.expovariate(1) * self.mean_wait), 1_000_000)
            self.world.after(wait, self.act)

    def _act(self) -> None:
        chance = self.random.random()
        if self.process is None:
            if chance < 0.5:
                self.log_on()
            return
        if self.garbage:
            for _ in range(self.random.randrange(20)):
                self._send(self._garbage())
            return
        if chance < 0.6:
            self._order()
        elif chance < 0.75:
            self._on_open(self._cancel)
        elif chance < 0.88:
            self._on_open(self._replace)
        elif chance < 0.9:
            self._again()
        elif chance < 0.91:
            self._once_more()
        elif chance < 0.96:
            self._send(self._garbage())
        elif chance < 0.98:
            self.lose()
        elif chance < 0.985:
            self._restart()
        else:
            self.log_on()

    def _next_id(self) -> str:
        self.number += 1 if self.random.random() < 0.97 else 3
        return f"{self.name}-{self.run}-{self.number}"

    def _order(self) -> None:
        random = self.random
        instrument = random.choice(self.world.tradable(self.name))
        limit = random.random() < 0.8
        tif = random.choice(TIMES_IN_FORCE)
        request = Request()
        order = request.new_order
        order.strategy, order.cl_ord_id = self.name, self._next_id()
        order.instrument.venue, order.instrument.symbol = instrument.id
        order.side = random.choice((market_data_pb2.SIDE_BUY, market_data_pb2.SIDE_SELL))
        order.order_quantity = self._quantity(instrument)
        order.ord_type = orders_pb2.ORD_TYPE_LIMIT if limit else orders_pb2.ORD_TYPE_MARKET
        if limit:
            order.price = self._price(instrument)
        order.time_in_force = tif
        if tif == orders_pb2.TIME_IN_FORCE_GTD:
            order.expire_unix_ns = self.world.now + random.randrange(20 * SECOND)
        immediate = tif in (orders_pb2.TIME_IN_FORCE_IOC, orders_pb2.TIME_IN_FORCE_FOK)
        order.post_only = limit and not immediate and random.random() < 0.1
        order.valid_until_unix_ns = self._deadline()
        self.sent[order.cl_ord_id] = Sent(request, instrument)
        if len(self.sent) > 200:
            del self.sent[next(iter(self.sent))]
        self._send(request)

    def _quantity(self, instrument: Instrument) -> str:
        lots = self.random.choice((1, 1, 2, 3, 5, 8, 20))
        return render(instrument.min_quantity + instrument.lot_size * lots)

    def _price(self, instrument: Instrument) -> str:
        mid = self.world.mid(instrument.id.symbol)
        return render(mid + instrument.tick_size * self.random.randrange(-8, 9))

    def _deadline(self) -> int:
        late = self.random.random() < 0.02
        return max(self.world.wall() + (-SECOND if late else 5 * SECOND), 1)

    def _on_open(self, what: Callable[[str, Sent], None]) -> None:
        known = [(key, sent) for key, sent in list(self.sent.items())[-15:] if sent.open or self.random.random() < 0.02]
        if known:
            what(*self.random.choice(known))

    def _cancel(self, cl_ord_id: str, sent: Sent) -> None:
        request = Request()
        request.cancel.strategy = self.name
        request.cancel.cl_ord_id = self._next_id()
        request.cancel.orig_cl_ord_id = cl_ord_id
        self._send(request)

    def _replace(self, cl_ord_id: str, sent: Sent) -> None:
        request = Request()
        replace = request.replace
        replace.strategy, replace.cl_ord_id, replace.orig_cl_ord_id = self.name, self._next_id(), cl_ord_id
        replace.order_quantity = self._quantity(sent.instrument)
        replace.price = self._price(sent.instrument)
        replace.valid_until_unix_ns = self._deadline()
        if self.random.random() < 0.5:
            self.sent[replace.cl_ord_id] = Sent(sent.request, sent.instrument, answered=True)
        self._send(request)

    def _again(self) -> None:
        """The same ClOrdID once more, as it was or with other terms."""
        if not self.sent:
            return
        request = Request()
        request.CopyFrom(self.random.choice(list(self.sent.values())).request)
        if self.random.random() < 0.3:
            request.new_order.order_quantity = "1000000"
        self._send(request)

    def _once_more(self) -> None:
        """The same terms under a new ClOrdID."""
        if self.sent:
            request, known = Request(), self.random.choice(list(self.sent.values())[-20:])
            request.CopyFrom(known.request)
            request.new_order.cl_ord_id, request.new_order.valid_until_unix_ns = self._next_id(), self._deadline()
            self.sent[request.new_order.cl_ord_id] = Sent(request, known.instrument)
            self._send(request)

    def _garbage(self) -> Request:
        random, request = self.random, Request()
        kind = random.randrange(8)
        others = [name for name in self.world.names if name != self.name] or ["nobody"]
        order = request.new_order
        order.strategy, order.cl_ord_id = self.name, f"{self.name}-{self.run}-{self.number + 1_000_000}"
        order.instrument.venue, order.instrument.symbol = random.choice(self.world.tradable(self.name)).id
        order.side, order.ord_type = market_data_pb2.SIDE_BUY, orders_pb2.ORD_TYPE_LIMIT
        order.order_quantity, order.price = "1000", "1"
        order.time_in_force, order.valid_until_unix_ns = orders_pb2.TIME_IN_FORCE_GTC, self._deadline()
        if kind == 0:
            order.order_quantity = random.choice(NUMBERS)
        elif kind == 1:
            order.price = random.choice(NUMBERS)
        elif kind == 2:
            order.cl_ord_id = self._stolen(random.choice(others))
        elif kind == 3:
            order.side = 7  # type: ignore[assignment]
        elif kind == 4:
            order.cl_ord_id = random.choice(("", "x" * 600, f"{self.name}-g1-1", f"{self.name}-{self.run}-0"))
        elif kind == 5:
            order.instrument.symbol = random.choice(("", "S" * 2000, "eur usd"))
        elif kind == 6:
            order.origin.sequence = 2**64 - 1
        else:
            request.cancel.strategy = self.name
            request.cancel.cl_ord_id = f"{self.name}-{self.run}-{self.number + 2_000_000}"
            request.cancel.orig_cl_ord_id = self._stolen(random.choice(others))
        return request

    def _stolen(self, other: str) -> str:
        """A ClOrdID of another strategy, of an order where it can be."""
        if self.world.wanted.apart:
            return f"{other}-{self.run}-1"
        victim = self.world.traders.get(other)
        return f"{other}-{self.run}-1" if victim is None else next(iter(victim.sent), "nothing")

    def _send(self, request: Request) -> None:
        if self.process is not None:
            self.world.after(self.world.latency(), self._arrives, self.process, self.session, request)

    def _arrives(self, process: GatewayProcess, session: int, request: Request) -> None:
        if not process.alive or self.process is not process or self.session != session:
            return
        bounds = Bounds(self.name, self.world.venue_name, process.state.live.published, self.world.wall())
        command = decode(request, bounds)
        if isinstance(command, commands.NewOrder | commands.CancelOrder | commands.ReplaceOrder | commands.Malformed):
            process.put(command)
