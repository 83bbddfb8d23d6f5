"""KillSwitches of the simulated cluster: people engage, change and re-arm them by every way, and what gateways
acknowledge is held against the venue.

I11 Once a gateway has acknowledged that a kill order blocks, no new order or replacement of whom it stops reaches the
    venue, until the object is re-armed or changed at the API server.
I12 Once it has acknowledged that Cancel or Flatten has halted, nothing of whom it stops is open at the venue.
The other rules on kill orders, and those on breaches, are raised by accounts.py, record by record.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Channel, Kill, KillCommand, Rearm
from crowetrade_agents.domain.orders import OrderTerms
from crowetrade_agents.gateway import kill_progress
from tests.simulation.broken import expect
from tests.simulation.limits import DESKS, HARDNESS, SECOND, KillSpec

if TYPE_CHECKING:
    from tests.simulation.gateway import GatewayProcess
    from tests.simulation.world import World

NAMESPACE = "trading"
NAMES = ("stop-1", "stop-2", "stop-3")
MODES = tuple(HARDNESS)


@dataclass
class Switch:
    """One name. `uid` is empty while no object exists, `spec` None while it is not engaged."""

    name: str
    uid: str = ""
    generation: int = 0
    spec: KillSpec | None = None


@dataclass(frozen=True)
class Acknowledged:
    """What a gateway has acknowledged, until the API server softens it: `softened` is how often it had by then."""

    name: str
    spec: KillSpec
    softened: int


class Kills:
    """See the module. `said` is what the API server has said of each object, by uid and generation; None when it is not
    engaged."""

    def __init__(self, world: World, random: Random, said: dict[tuple[str, int], KillSpec | None]) -> None:
        self.world, self.random, self.said = world, random, said
        self.switches = {name: Switch(name) for name in NAMES}
        self.blocked: list[Acknowledged] = []
        self.halted: list[Acknowledged] = []
        # Orders that wait in the bus for whoever starts.
        self._bucket: dict[str, kill_pb2.KillOrder] = {}
        # Orders to stop that wait for an order to leave.
        self._aimed: list[Kill] = []
        self._arrived: set[str] = set()
        self._watch_ns = 0

    # --- People and the operator ------------------------------------------------------------------------------------

    def engage(self) -> None:
        """Somebody engages one or two, or changes what they ask for."""
        for switch in self.random.sample(list(self.switches.values()), self.random.choice((1, 1, 2))):
            self._engage(switch)

    def _engage(self, switch: Switch) -> None:
        if not self.world.faults:
            return
        switch.spec = KillSpec(self.random.choice(MODES), self.random.choice(("", *DESKS)))
        if not switch.uid and self.random.random() < 0.4:
            # The API server is down: the operator makes an object of it later.
            self._send(Kill(_order(switch), Channel.RPC))
            self.world.after(self.random.randrange(SECOND, 4 * SECOND), self._adopt, switch)
            return
        self._write(switch)
        for channel in self.random.sample((Channel.BUS, Channel.RPC), self.random.randrange(3)):
            self._send(Kill(_order(switch), channel))

    def _send(self, kill: Kill) -> None:
        """It arrives soon, or in the very moment in which an order is about to leave or has left."""
        if self.random.random() < 0.5:
            self._aimed.append(kill)
        else:
            self._tell(kill, self.random.randrange(SECOND // 2))

    def order_leaves(self, within_ns: int) -> None:
        """An order leaves, or is answered, within so many nanoseconds."""
        if self._aimed:
            self._tell(self._aimed.pop(0), self.random.randrange(within_ns))

    def _adopt(self, switch: Switch) -> None:
        if not switch.uid:
            self._write(switch)

    def rearm(self) -> None:
        """Somebody re-arms one, and maybe engages it again at once; the bus may keep its order for longer."""
        engaged = [item for item in self.switches.values() if item.uid and item.spec is not None]
        if engaged:
            switch = self.random.choice(engaged)
            self._rearm(switch)
            if self.random.random() < 0.3:
                self.world.after(self.random.randrange(SECOND // 4), self._engage, switch)

    def _rearm(self, switch: Switch) -> None:
        switch.spec = None
        self._write(switch)
        self.world.after(self.random.randrange(2 * SECOND), self._empty, switch)

    def _empty(self, switch: Switch) -> None:
        if switch.spec is None:
            self._bucket.pop(switch.name, None)

    def _write(self, switch: Switch) -> None:
        """The object changes: whoever watches the API server sees it, and the operator puts the order on the bus."""
        switch.uid = switch.uid or f"uid-{switch.name}"
        switch.generation += 1
        self.said[switch.uid, switch.generation] = switch.spec
        self._watch_ns = max(self.world.now + self.random.randrange(2 * SECOND), self._watch_ns + 1)
        self._tell(_seen(switch), self._watch_ns - self.world.now)
        if switch.spec is not None:
            self._bucket[switch.name] = _order(switch)

    def _tell(self, command: KillCommand, wait_ns: int) -> None:
        self.world.after(wait_ns, self._arrives, command)

    def _arrives(self, command: KillCommand) -> None:
        for process in list(self.world.processes):
            process.put_kill(command)

    def started(self, process: GatewayProcess) -> None:
        """A gateway lists the objects and reads the bus, whichever comes first."""
        self.world.after(self.random.randrange(SECOND), self._listed, process)
        self.world.after(self.random.randrange(SECOND), self._bus_read, process)

    def _listed(self, process: GatewayProcess) -> None:
        for switch in self.switches.values():
            if switch.uid:
                process.put_kill(_seen(switch))

    def _bus_read(self, process: GatewayProcess) -> None:
        for order in self._bucket.values():
            process.put_kill(Kill(order, Channel.BUS))

    # --- The calm time at the end ------------------------------------------------------------------------------------

    def settle(self) -> None:
        """About half of what is engaged is re-armed; the rest stays."""
        self._aimed.clear()
        for switch in self.switches.values():
            if switch.spec is not None:
                self._adopt(switch)
                if self.random.random() < 0.6:
                    self._rearm(switch)

    def engage_strays(self) -> list[Switch]:
        """What stayed engaged at a gateway that did not see its object in between (fail closed) is engaged there again,
        so that it can be re-armed."""
        found = [self.switches[name] for name in self.world.accounts.kills if self.switches[name].spec is None]
        for switch in found:
            switch.spec = self.world.accounts.kills[switch.name].spec
            self._write(switch)
        return found

    def rearm_strays(self, strays: list[Switch]) -> None:
        """The other half of it."""
        for switch in strays:
            self._rearm(switch)

    def check_end(self, process: GatewayProcess) -> None:
        """What is engaged is in force, blocks and has halted, and nothing else is in force."""
        engaged = {switch.name for switch in self.switches.values() if switch.spec is not None}
        in_force = {name for _, name in process.state.books.kills}
        expect(in_force == engaged, "I13", f"{sorted(in_force)} are in force, {sorted(engaged)} are engaged")
        acknowledged = {item.name: item for item in kill_progress.acknowledgements(process.state)}
        expect(acknowledged.keys() == engaged, "I11", f"{engaged} are engaged, {sorted(acknowledged)} acknowledged")
        for name, item in acknowledged.items():
            expect(item.blocked_unix_ns, "I11", f"{name} does not block: {item.problem}")
            done = item.halted_unix_ns or item.positions_count
            expect(done, "I12", f"{name} is not halted: {item.problem}")

    # --- What must hold ----------------------------------------------------------------------------------------------

    def look(self, process: GatewayProcess) -> None:
        """Takes in what the gateway acknowledges after a batch."""
        accounts = self.world.accounts
        if process.token != self.world.newest_token():
            return
        if process.quiet:
            in_force = {name for _, name in process.state.books.kills}
            expect(in_force == accounts.kills.keys(), "I13", f"{in_force} are in force, not {set(accounts.kills)}")
        for item in kill_progress.acknowledgements(process.state):
            stored = accounts.kills.get(item.name)
            expect(stored is not None, "I13", f"{item.name} is acknowledged and stands in no record")
            assert stored is not None
            known = Acknowledged(item.name, stored.spec, accounts.softened.get(item.name, 0))
            if item.blocked_unix_ns and known not in self.blocked:
                self.blocked.append(known)
            if item.halted_unix_ns and stored.spec.cancels and known not in self.halted:
                self.halted.append(known)
        self._nothing_is_open()

    def arrives(self, terms: OrderTerms) -> None:
        """I11: an order or a replacement reaches the venue, for the first time or again. What closes is judged when it
        is journaled."""
        if terms.cl_ord_id in self._arrived:
            return
        self._arrived.add(terms.cl_ord_id)
        for known in self.blocked:
            stops = known.spec.stops(terms.strategy) and not terms.closing
            if stops and known.spec.mode != "CloseOnly" and self._holds(known):
                expect(False, "I11", f"{terms.cl_ord_id} reaches the venue although {known.name} blocks")

    def _nothing_is_open(self) -> None:
        self.halted = [known for known in self.halted if self._holds(known)]
        if not self.halted:
            return
        accounts, venue = self.world.accounts, self.world.venue
        for order in venue.exchange.ledger.open_orders():
            account = accounts.orders.get(order.terms.cl_ord_id)
            if account is None or account.closing or venue.root(order.terms.cl_ord_id) in venue.lost_orders:
                continue
            for known in self.halted:
                stops = known.spec.stops(account.owner)
                expect(not stops, "I12", f"{order.terms.cl_ord_id} is open although {known.name} has halted")

    def _holds(self, known: Acknowledged) -> bool:
        return known.softened == self.world.accounts.softened.get(known.name, 0)


def _order(switch: Switch) -> kill_pb2.KillOrder:
    assert switch.spec is not None
    order = kill_pb2.KillOrder(
        namespace=NAMESPACE,
        name=switch.name,
        uid=switch.uid,
        generation=switch.generation,
        mode=HARDNESS[switch.spec.mode],
        reason="the simulation",
    )
    order.scope.namespaces_from = "Same"
    if switch.spec.desk:
        order.scope.strategy_selector.match_labels["desk"] = switch.spec.desk
    return order


def _seen(switch: Switch) -> KillCommand:
    """What the API server says of the object."""
    if switch.spec is None:
        return Rearm(NAMESPACE, switch.name, switch.uid, switch.generation)
    return Kill(_order(switch), Channel.API)
