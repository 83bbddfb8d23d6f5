"""What manifests want, made true on this machine: a gateway per VenueConnection, the roles of each Strategy, and what
the gateways enforce. It does what the operator does in a cluster, by the same functions, level by level.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TypeVar

import structlog

from crowetrade import subjects
from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.allowances.memory import MemoryLedgers
from crowetrade_agents.bus.local import LocalBus
from crowetrade_agents.control.kills import everything
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.order_entry.in_process import InProcessEntry
from crowetrade_api.files import StrategyFile
from crowetrade_api.gateway_config import compile_config, names_venue
from crowetrade_api.kill_order import kill_order
from crowetrade_api.names import name_at
from crowetrade_api.references import Problem, references
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.meta import Resource
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.local.gateway import LocalGateway, file_of
from crowetrade_cli.local.state import State
from crowetrade_cli.local.stops import IN_DOUBT
from crowetrade_cli.local.strategy import LocalStrategy
from crowetrade_cli.local.wanted import Address, Wanted, venues_of
from crowetrade_cli.local.watchdog import ModelAtWork
from crowetrade_process.stopping import unless_stopping

LOOK_NS = 250_000_000
"""What waits for a gateway's word (a strategy that is to be flat, a venue that goes) is looked at this often."""

R = TypeVar("R", bound=Resource)

_log = structlog.get_logger(__name__)


class Desk:
    """`run` keeps it true until it is cancelled; `want` changes what is wanted; `stop` puts all away."""

    def __init__(self, state: State, environment: Mapping[str, str], clock: Clock) -> None:
        """`environment` says where recordings are, as it does in a pod."""
        self._state = state
        self._environment = environment
        self._clock = clock
        self._bus = LocalBus()
        self._observer = self._bus.connect()
        self._wanted = Wanted()
        # Why nobody knows what the KillSwitches say; empty when they are known.
        self._doubt = ""
        # What is here, with what was taken away and is not gone yet: that is marked as being deleted.
        self.venues: dict[Address, VenueConnection] = {}
        self.strategies: dict[Address, Strategy] = {}
        self.gateways: dict[Address, LocalGateway] = {}
        self.running: dict[Address, LocalStrategy] = {}
        self.problems: dict[Address, str] = {}
        """Strategies that cannot run, and why."""
        self.held: dict[Address, str] = {}
        """Strategies whose change waits, and why."""
        # They outlive their gateways: a strategy that runs finds the next gateway of a venue where the last one was.
        self._entries: dict[Address, InProcessEntry] = defaultdict(InProcessEntry)
        # By namespace: what its gateways hold of limits that several of them share.
        self._ledgers: dict[str, MemoryLedgers] = defaultdict(MemoryLedgers)
        self._look = asyncio.Event()

    async def observe(self) -> None:
        """Begins to hear what gateways and strategies say of themselves."""
        await self._observer.subscribe(subjects.gateway_status("*", "*"), status_pb2.GatewayStatus, self._gateway_said)
        await self._observer.subscribe(subjects.agent_status("*", "*", "*"), status_pb2.AgentStatus, self._agent_said)

    @property
    def switches(self) -> Mapping[Address, KillSwitch]:
        """Those that have a manifest."""
        return self._wanted.switches

    def want(self, wanted: Wanted) -> None:
        """From now on this is wanted."""
        self._wanted, self._doubt = wanted, ""
        self._look.set()

    def distrust(self, file: str) -> None:
        """Everything stops until manifests are wanted again: this file holds a KillSwitch and cannot be read."""
        self._doubt = f"{file} cannot be read, which counts as engaged"
        self._look.set()

    async def run(self) -> None:
        """Makes true what is wanted, again and again, until cancelled."""
        while True:
            self._look.clear()
            if await self.reconcile():
                await unless_stopping(self._look, self._clock.wait_until(self._clock.now_ns() + LOOK_NS))
            else:
                await self._look.wait()

    async def stop(self) -> None:
        """As SIGTERM to every pod: strategies cancel what works, then gateways leave. Nothing is deleted."""
        await asyncio.gather(*(one.stop() for one in self.running.values()))
        await asyncio.gather(*(one.stop() for one in self.gateways.values()))
        await self._observer.close()

    def model_at_work(self) -> ModelAtWork | None:
        """Whose model is at work at this moment, of which there is one at most: they share the event loop. For another
        thread."""
        for address, strategy in list(self.running.items()):
            current = strategy.running.current
            if current is not None:
                return ModelAtWork(address, *current)
        return None

    async def reconcile(self) -> bool:
        """One look at everything; whether another one is needed though nobody wants anything else: something was on its
        way out, so that others have to follow, or a change waits."""
        self.venues = _with_deleted(self.venues, self._wanted.venues)
        self.strategies = _with_deleted(self.strategies, self._wanted.strategies)
        leaving = any(item.deleting for item in (*self.venues.values(), *self.strategies.values()))
        for address, venue in self.venues.items():
            await self._gateway(address, venue)
        self._kill()
        self._configure()
        for strategy_address, strategy in list(self.strategies.items()):
            await self._strategy(strategy_address, strategy)
        for address, venue in list(self.venues.items()):
            if venue.deleting and self._let_go(address):
                await self.gateways.pop(address).stop()
                self._ledgers[address.namespace].remove(address.name)
                del self.venues[address]
        return leaving or bool(self.held)

    # --- venues

    async def _gateway(self, address: Address, venue: VenueConnection) -> None:
        file = file_of(venue)
        known = self.gateways.get(address)
        if known is not None and known.file.content() == file.content():
            return
        if known is not None:
            _log.info("gateway_restarts", venue=address.name)
            await known.stop()
        self.gateways[address] = LocalGateway(
            file,
            self._state.journal(address),
            self._environment,
            self._bus,
            self._entries[address],
            self._ledgers[address.namespace],
            self._clock,
        )

    def _kill(self) -> None:
        switches = {address: _kill_order(switch) for address, switch in self._wanted.switches.items()}
        switches[IN_DOUBT] = everything(*IN_DOUBT, self._doubt) if self._doubt else None
        for gateway in self.gateways.values():
            gateway.obey(switches)

    def _configure(self) -> None:
        for address, gateway in self.gateways.items():
            limits = _of(address.namespace, self._wanted.limits)
            around = _of(address.namespace, self.venues)
            config = compile_config(
                self.venues[address],
                self.strategies.values(),
                limits,
                venues=around,
                namespaces=self._wanted.namespaces,
            )
            gateway.configure(config)

    def _let_go(self, address: Address) -> bool:
        """Whether nothing is open at a venue that is taken away, and nobody who is being deleted needs it."""
        venue = self.venues[address]
        if any(item.deleting and names_venue(item, venue) for item in self.strategies.values()):
            return False
        if self.gateways[address].problem:
            return True
        status = self._confirmed(address)
        return status is not None and not any(account.open_orders for account in status.accounts)

    def _confirmed(self, venue: Address) -> status_pb2.GatewayStatus | None:
        """What the gateway says, once it has what it was given last."""
        gateway = self.gateways.get(venue)
        if gateway is None or gateway.status is None or gateway.status.config_revision != gateway.revision:
            return None
        return gateway.status

    # --- strategies

    async def _strategy(self, address: Address, strategy: Strategy) -> None:
        running = self.running.get(address)
        if strategy.deleting:
            if self._stopped(address, strategy):
                if running is not None:
                    await self.running.pop(address).stop()
                self.problems.pop(address, None)
                self.held.pop(address, None)
                del self.strategies[address]
                _log.info("strategy_gone", strategy=address.name)
            return
        labels = self._wanted.namespaces.get(address.namespace)
        found = references(strategy, venues_of(strategy, self.venues), labels)
        if isinstance(found, Problem):
            self.problems[address] = found.message
            return
        self.problems.pop(address, None)
        self.held.pop(address, None)
        file = StrategyFile.of(strategy, found, dict.fromkeys(strategy.venues, "in this process"))
        if running is not None and running.file.content() == file.content():
            return
        if running is not None:
            if strategy.spec.agents.update_policy != "Immediate" and not running.problem and self._exposed(address):
                self.held[address] = "a change waits until it is flat: see spec.agents.updatePolicy"
                return
            _log.info("strategy_restarts", strategy=address.name)
            await running.stop()
        entries = {name: self._entries[Address(strategy.namespace_of(name), name)] for name in strategy.venues}
        self.running[address] = LocalStrategy(file, entries, self._bus, self._clock)

    def accounts(self, address: Address) -> list[tuple[str, status_pb2.StrategyAccount]]:
        """What each venue says of a strategy, by the venue's name."""
        return [
            (venue.name, account)
            for venue, gateway in self.gateways.items()
            if gateway.status is not None
            for account in gateway.status.accounts
            if account.strategy == name_at(venue.namespace, *address)
        ]

    def _exposed(self, address: Address) -> bool:
        return any(
            account.open_orders or any(Decimal(item.quantity) for item in account.positions)
            for _, account in self.accounts(address)
        )

    def _stopped(self, address: Address, strategy: Strategy) -> bool:
        """Whether every gateway of a strategy that is being deleted has confirmed that it is stopped."""
        for name in strategy.venues:
            venue = Address(strategy.namespace_of(name), name)
            known_as = name_at(venue.namespace, *address)
            if venue not in self.gateways:
                continue
            if self.gateways[venue].problem:
                if strategy.flattens and self._state.journal(venue).exists():
                    return False  # it may hold something, and is closed when its gateway is back
                continue
            status = self._confirmed(venue)
            account = next((one for one in status.accounts if one.strategy == known_as), None) if status else None
            if status is None or (account is not None and not account.stopped):
                return False
        return True

    # --- what they say

    async def _gateway_said(self, status: status_pb2.GatewayStatus) -> None:
        gateway = self.gateways.get(Address(status.namespace, status.venue))
        if gateway is not None:
            gateway.status = status

    async def _agent_said(self, status: status_pb2.AgentStatus) -> None:
        strategy = self.running.get(Address(status.namespace, status.strategy))
        if strategy is not None:
            strategy.status = status


def _kill_order(switch: KillSwitch) -> kill_pb2.KillOrder | None:
    order = kill_order(switch)
    if order is not None and order.scope.namespaces_from == "Selector":
        order.scope.namespaces_from = (
            "All"  # not every label of a namespace is known here, and what is not known is selected
        )
    return order


def _of(namespace: str, items: Mapping[Address, R]) -> Iterable[R]:
    return [item for address, item in items.items() if address.namespace == namespace]


def _with_deleted(here: Mapping[Address, R], wanted: Mapping[Address, R]) -> dict[Address, R]:
    """What is wanted, and what is here and not wanted any more, marked as being deleted."""
    leaving = {
        address: item
        if item.deleting
        else item.model_copy(
            update={"metadata": item.metadata.model_copy(update={"deletion_timestamp": "asked for by its file"})}
        )
        for address, item in here.items()
        if address not in wanted
    }
    return {**leaving, **wanted}
