"""Any sequence of orders, kill orders by any way, re-armings and restarts: no new order leaves while what was asked for
stands, and once nothing stands orders leave again. The model knows demands alone, not how the engine joins them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Channel, Kill, Rearm
from crowetrade_agents.domain.orders import OrdStatus
from crowetrade_agents.gateway import commands, effects, kill_progress
from crowetrade_agents.gateway.books import recover
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import VENUE, Scenario, book, cl_ord_id, configuration, terms

BLOCK, CANCEL, FLATTEN = kill_pb2.KILL_MODE_BLOCK, kill_pb2.KILL_MODE_CANCEL, kill_pb2.KILL_MODE_FLATTEN
LABELS = {"alpha": {"team": "a"}, "beta": {"team": "b"}}
SCOPES = {
    frozenset({"alpha"}): kill_pb2.KillScope(
        strategy_selector=kill_pb2.LabelSelector(match_labels={"team": "a"}), namespaces_from="Same"
    ),
    frozenset({"beta"}): kill_pb2.KillScope(
        strategy_selector=kill_pb2.LabelSelector(match_labels={"team": "b"}), namespaces_from="Same"
    ),
    frozenset({"alpha", "beta"}): kill_pb2.KillScope(namespaces_from="All"),
}
NAMESPACE = "cl-research"
CHANNELS = st.sampled_from([Channel.API, Channel.BUS, Channel.RPC, Channel.FILE])
NAMES = st.sampled_from(["one", "one", "one", "two"])
STEPS = st.sampled_from([1, 1, 1, 0, -1])
TRADERS = st.sampled_from(["alpha", "beta"])


@dataclass
class Demands:
    """What was asked for under one name and not taken back: whom, and whether open orders are cancelled."""

    of_object: bool = False
    generation: int = 0
    rearmed: int = 0
    asked: list[tuple[frozenset[str], bool]] = field(default_factory=list)

    def kill(self, generation: int | None, decisive: bool, demand: tuple[frozenset[str], bool]) -> None:
        if generation is None:
            self.asked.append(demand)
            return
        if generation <= self.rearmed or (self.of_object and generation < self.generation):
            return
        if decisive and self.of_object:
            self.asked = []
        self.asked.append(demand)
        self.of_object, self.generation = True, max(self.generation, generation)

    def rearm(self, generation: int) -> None:
        self.rearmed = max(self.rearmed, generation)
        if self.of_object and generation > self.generation:
            self.asked, self.of_object, self.generation = [], False, 0


class Machine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.demands = {"one": Demands(), "two": Demands()}
        self.newest = {"one": 0, "two": 0}
        self.numbers = {"alpha": 0, "beta": 0}
        self.scenario = Scenario(ready=False)
        self._begin()

    def _begin(self) -> None:
        scenario = self.scenario
        scenario.do(commands.Configure(replace(configuration(), strategy_labels=LABELS)))
        scenario.do(commands.VenueConnected(port.VenueSnapshot()))
        scenario.venue(port.QuoteChanged(1, book()))
        for session, strategy in enumerate(("alpha", "beta"), start=1):
            scenario.do(commands.Logon(strategy, session))

    def stopped(self, strategy: str, *, cancels: bool = False) -> bool:
        """Whether somebody asked for it."""
        asked = (demand for demands in self.demands.values() for demand in demands.asked)
        return any(strategy in whom and (cancelling or not cancels) for whom, cancelling in asked)

    @rule(strategy=TRADERS)
    def order(self, strategy: str) -> None:
        self.numbers[strategy] += 1
        done = self.scenario.order(terms(self.numbers[strategy], strategy=strategy))
        left = any(isinstance(effect, effects.SendOrder) for effect in done)
        assert not (left and self.stopped(strategy)), "a new order left"
        if not any(demands.asked for demands in self.demands.values()):
            assert left, "nothing is asked for, and an order was refused"

    @rule(strategy=TRADERS, data=st.data())
    def replace(self, strategy: str, data: st.DataObject) -> None:
        resting = [order for order in self.scenario.books.open_of(strategy) if not order.terms.closing]
        if not resting:
            return
        orig = data.draw(st.sampled_from(sorted(order.cl_ord_id for order in resting)))
        self.numbers[strategy] += 1
        request = commands.ReplaceOrder(
            strategy,
            cl_ord_id(self.numbers[strategy], strategy),
            orig,
            terms().quantity * 2,
            terms().price or terms().quantity,
            self.scenario.now + 10**9,
            0,
            self.scenario.now,
        )
        done = self.scenario.do(request)
        left = any(isinstance(effect, effects.SendReplace) for effect in done)
        assert not (left and self.stopped(strategy)), "a replacement left"

    @rule(
        name=NAMES,
        channel=CHANNELS,
        whom=st.sampled_from(sorted(SCOPES, key=sorted)),
        mode=st.sampled_from([BLOCK, CANCEL, FLATTEN]),
        step=STEPS | st.none(),
    )
    def kill(
        self,
        name: str,
        channel: Channel,
        whom: frozenset[str],
        mode: kill_pb2.KillMode.ValueType,
        step: int | None,
    ) -> None:
        if step is None and channel is Channel.API:
            return
        generation = None if step is None else self._generation(name, step)
        order = kill_pb2.KillOrder(
            namespace=NAMESPACE,
            name=name,
            uid="" if generation is None else f"uid-{name}",
            generation=generation or 0,
            mode=mode,
            scope=SCOPES[whom],
        )
        self.scenario.do(Kill(order, channel))
        self.demands[name].kill(generation, channel is Channel.API, (whom, mode != BLOCK))

    def _generation(self, name: str, step: int) -> int:
        """Most are the object's next one; some are old."""
        self.newest[name] += max(step, 0)
        return max(self.newest[name] + min(step, 0), 1)

    @rule(name=NAMES, step=STEPS)
    def rearm(self, name: str, step: int) -> None:
        generation = self._generation(name, step)
        self.scenario.do(Rearm(NAMESPACE, name, f"uid-{name}", generation))
        self.demands[name].rearm(generation)

    @rule(name=NAMES, generation=st.integers(1, 7))
    def another_object_of_that_name(self, name: str, generation: int) -> None:
        self.scenario.do(Rearm(NAMESPACE, name, "uid-other", generation))
        # What the gateway remembers of the last object is now of another one.
        self.demands[name].rearmed = 0

    @precondition(lambda self: self.scenario.books.open)
    @rule(data=st.data())
    def the_venue_answers(self, data: st.DataObject) -> None:
        open_orders = self.scenario.books.open
        order = open_orders[data.draw(st.sampled_from(sorted(open_orders)))]
        if order.replace is not None:
            self.scenario.venue(port.Replaced(order.replace.cl_ord_id, order.cl_ord_id, "v", self.scenario.now))
        elif order.cancel is not None:
            self.scenario.venue(port.Ended(order.cl_ord_id, "v", OrdStatus.CANCELED, "", "", self.scenario.now))
        else:
            self.scenario.venue(port.Accepted(order.cl_ord_id, "v", self.scenario.now))

    @rule()
    def restart(self) -> None:
        """The journal keeps what is in force, and not which re-armings have been."""
        events = self.scenario.events
        self.scenario = Scenario(books=recover(VENUE, None, events), ready=False)
        self.scenario.events[:0] = events
        for demands in self.demands.values():
            demands.rearmed = 0
        self._begin()

    @invariant()
    def what_must_not_stay_is_being_cancelled(self) -> None:
        for order in self.scenario.books.open.values():
            if self.stopped(order.terms.strategy, cancels=True) and not order.terms.closing:
                assert order.cancel is not None or order.unknown, f"{order.cl_ord_id} is left open"

    @invariant()
    def halted_means_that_nothing_is_open(self) -> None:
        for name in self.scenario.books.kills:
            said = kill_progress.acknowledgement(self.scenario.state, name)
            if said.halted_unix_ns and said.mode != BLOCK:
                open_orders = self.scenario.books.open.values()
                assert not [o for o in open_orders if o.terms.strategy in said.strategies and not o.terms.closing]
            if said.blocked_unix_ns:
                pending = OrdStatus.PENDING_NEW
                assert not [
                    o
                    for o in self.scenario.books.open.values()
                    if o.terms.strategy in said.strategies and o.base is pending and not o.terms.closing
                ]


TestKillSequences = Machine.TestCase
TestKillSequences.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
