"""Engages one kill order by every way at once, and follows it until every gateway that is known has halted.

The API server has a head start: a KillSwitch there gives the order its uid and generation, by which it is re-armed
later. Without its answer in that time the order goes out by the other ways under a name of its own, because gateways
let go of an order when the API server has a KillSwitch of its name that is not engaged. The operator makes a KillSwitch
of an order that has none.

A KillSwitch that is there is never made narrower. Where it would have to be, or where the user may not engage it, it
stays as it is, and the order has a name of its own here too.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lightkube.config.kubeconfig import SingleConfig

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_api.kill_order import selects_by_labels
from crowetrade_api.v1alpha1.killswitch import KillSwitch, UnreadableKillSwitch
from crowetrade_api.v1alpha1.meta import read
from crowetrade_cli.errors import FORBIDDEN, NOT_FOUND, Failed, Refused, WrongUse
from crowetrade_cli.fleet import ways
from crowetrade_cli.fleet.api_server import ApiServer, connect
from crowetrade_cli.fleet.discovery import Fleet, discover
from crowetrade_cli.fleet.gateways import Address, Gateway, concerned
from crowetrade_cli.fleet.memory import Memory
from crowetrade_cli.fleet.order import Asked, covers, order_of, scope_in, unique_name, whom
from crowetrade_cli.fleet.progress import Channel, Progress, Row
from crowetrade_process.stopping import cancelled

HEAD_START_SECONDS = 2.0
"""Of the API server: a login by a credential plugin takes a second."""
LOOK_SECONDS = 0.1
STATUS_SECONDS = 0.5


class Outcome(StrEnum):
    """Of a way."""

    TRYING = "Trying"
    WORKS = "Works"
    FAILS = "Fails"
    NOT_TRIED = "NotTried"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the gateways, and a sentence about it."""

    name: str
    outcome: Outcome
    message: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What is known at one moment. `name` is that of the order, empty before it has one; `by_object` tells whether it
    is a KillSwitch at the API server. `tried`: every way has worked or failed once; `over`: nothing more will come.
    `stops` says whom it stops, `not_stopped` names gateways that are known and that an order for everything passes by,
    and `unengaged` says what the KillSwitch that was named is prepared for and the order does not stop."""

    namespace: str
    name: str
    by_object: bool
    ways: Sequence[Way]
    gateways: Sequence[Row]
    halted: bool
    tried: bool
    over: bool
    stops: str = ""
    not_stopped: Sequence[str] = ()
    unengaged: str = ""

    @property
    def reached(self) -> bool:
        """Whether anybody has the order."""
        return any(way.outcome is Outcome.WORKS for way in self.ways)


@dataclass(frozen=True, slots=True)
class Reach:
    """What the ways are: `config` is None where there is no kubeconfig, and `no_config` then says why."""

    config: SingleConfig | None
    no_config: str
    nats: str
    targets: Sequence[str]
    memory: Memory


@dataclass
class Kill:
    """`run` until cancelled; `look` at any time."""

    asked: Asked
    reach: Reach

    def __post_init__(self) -> None:
        config = self.reach.config
        self._progress = Progress()
        self._cluster = config.cluster.server if config is not None else ""
        self._known = self.reach.memory.of(self._cluster)
        self._order: asyncio.Future[kill_pb2.KillOrder] = asyncio.get_running_loop().create_future()
        self._by_object = False
        # The KillSwitch of the name that was asked for, as the API server had it, and whether it refused to engage it.
        self._found: Mapping[str, Any] | None = None
        self._refused = False
        # Gateways of which the bus alone tells.
        self._heard: set[Address] = set()
        self._fleet: Fleet | None = None
        self._discovered = config is None
        self._direct: dict[str, asyncio.Task[None]] = {}
        self._failed_targets: set[str] = set()
        self._ways = {name: Way(name, Outcome.TRYING) for name in Channel}

    def look(self) -> Look:
        """What is known now."""
        order = self._order.result() if self._order.done() and not self._order.cancelled() else None
        progress = self._progress
        # A gateway that is not reached directly may have halted by another way.
        others = [way for way in self._ways.values() if way.name != Channel.DIRECT]
        tried = order is not None and all(way.outcome is not Outcome.TRYING for way in others)
        settled = tried and self._discovered
        # On the bus each gateway speaks once a second, and nobody else may know which there are.
        heard = self._fleet is None and self._ways[Channel.BUS].outcome is Outcome.WORKS
        nobody = not progress.rows and settled and not heard
        return Look(
            namespace=self.asked.namespace,
            name=order.name if order is not None else "",
            by_object=self._by_object,
            ways=list(self._ways.values()),
            gateways=progress.rows,
            halted=progress.halted,
            tried=tried,
            over=settled and (progress.halted or nobody),
            stops=whom(scope_in(order), order.namespace) if order is not None else "",
            not_stopped=self._not_stopped(order) if order is not None else (),
            unengaged=self._unengaged(order) if order is not None else "",
        )

    def _not_stopped(self, order: kill_pb2.KillOrder) -> Sequence[str]:
        if selects_by_labels(order):
            return ()
        heard = [Gateway(address) for address in self._heard - self._known.gateways.keys()]
        gateways = [*self._known.gateways.values(), *heard]
        stopped = {one.address for one in concerned(gateways, order)}
        said = {row.gateway for row in self._progress.rows}
        return sorted({str(one.address) for one in gateways if one.address not in stopped} - said)

    def _unengaged(self, order: kill_pb2.KillOrder) -> str:
        asked, prepared = self.asked, self._prepared()
        if order.name == asked.name:
            return ""
        path = f"KillSwitch {asked.namespace}/{asked.name}"
        if prepared is None:
            unknown = f"{path} is not known here, nor whom it was prepared for"
            return f"{unknown}: the order stops {whom(scope_in(order), asked.namespace)}" if asked.scope is None else ""
        spec = prepared.get("spec") or {}
        scope = spec.get("scope") or {}
        if spec.get("engaged") or covers(scope_in(order), scope):
            return ""
        command = f"crowetrade kill {asked.name} -n {asked.namespace} --reason ..."
        return f"{path} is not engaged, which is prepared for {whom(scope, asked.namespace)}: {command} engages it"

    def _prepared(self) -> Mapping[str, Any] | None:
        """The KillSwitch of the name that was asked for, as it was seen last. What is remembered does not tell whether
        it is engaged."""
        if self._found is not None:
            return self._found
        wanted = (self.asked.namespace, self.asked.name)
        switches = self._fleet.switches if self._fleet is not None else ()
        listed = (one for one in switches if (one["metadata"]["namespace"], one["metadata"]["name"]) == wanted)
        return next(listed, None) or self._known.switch(*wanted)

    async def run(self) -> None:
        """Raises WrongUse where the API server has no KillSwitch of that name and nothing says whom it would stop."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._by_the_api_server())
                group.create_task(self._by_the_bus())
                group.create_task(self._directly())
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors

    # --- the API server

    async def _by_the_api_server(self) -> None:
        config = self.reach.config
        if config is None:
            self._say(Channel.API, Outcome.NOT_TRIED, self.reach.no_config)
            self._decide(order_of(self._beside().manifest(""), time.time_ns()))
            return
        try:
            async with connect(config) as api, asyncio.TaskGroup() as group:
                group.create_task(self._discover(api))
                await self._engage_with_head_start(api)
                await self._follow(api)
        except Failed as error:
            self._say(Channel.API, Outcome.FAILS, str(error))
            self._discovered = True
            self._decide(order_of(self._beside().manifest(""), time.time_ns()))

    async def _engage_with_head_start(self, api: ApiServer) -> None:
        try:
            async with asyncio.timeout(HEAD_START_SECONDS):
                await self._engage(api, self.asked)
                return
        except TimeoutError:
            text = f"{api.address} has not answered in {HEAD_START_SECONDS:g} s; it is tried on"
            self._say(Channel.API, Outcome.FAILS, text)
        except Failed as error:
            self._say(Channel.API, Outcome.FAILS, str(error))
        same = self._beside()
        self._decide(order_of(same.manifest(""), time.time_ns()))
        await ways.until_it_works(
            lambda: self._engage(api, same), lambda text: self._say(Channel.API, Outcome.FAILS, text)
        )

    async def _engage(self, api: ApiServer, asked: Asked) -> None:
        """The KillSwitch is engaged there, and its order is the order, unless there is one already."""
        user, current = await asyncio.gather(_user(api), _switch(api, asked))
        path, by = f"KillSwitch {asked.namespace}/{asked.name}", f" (by {user})" if user else ""
        if asked is self.asked:
            self._found = current
        if current is None:
            if asked.scope is None and not self._order.done():
                raise WrongUse(_no_such_switch(asked, await api.objects(KillSwitch, asked.namespace)))
            stored = await api.create(KillSwitch, asked.manifest(user))
            text = f"{path} is created and engaged{by}"
        elif current["spec"].get("engaged"):
            stored = current
            if harder := asked.harder(current["spec"]):
                stored = await api.replace(KillSwitch, asked.namespace, asked.name, harder)
            first = current["spec"].get("engagedBy") or "somebody"
            text = f"{path} was engaged already by {first}: {current['spec'].get('reason', '')}"
        else:
            changes = asked.changes(current["spec"], user)
            try:
                stored = await api.replace(KillSwitch, asked.namespace, asked.name, changes)
            except Refused as error:
                self._refused = error.code == FORBIDDEN
                raise
            text = f"{path} is engaged{by}"
        self._by_object = True
        self._say(Channel.API, Outcome.WORKS, text)
        self._decide(order_of(stored, time.time_ns()))

    async def _discover(self, api: ApiServer) -> None:
        with contextlib.suppress(Failed):
            self._fleet = await discover(api, self.asked.namespace)
        order = await asyncio.shield(self._order)
        fleet = self._fleet
        if fleet is not None:
            self._known = self.reach.memory.learn(self._cluster, fleet, self.reach.nats)
            if fleet.namespace is None or order.scope.namespaces_from == "Same":
                self._progress.only(one.address for one in concerned(fleet.gateways, order))
        self._discovered = True
        self._expect(order)

    async def _follow(self, api: ApiServer) -> None:
        """The status of the KillSwitch, for as long as the API server is there."""
        order = await asyncio.shield(self._order)
        while True:
            try:
                found = await api.get(KillSwitch, order.namespace, order.name)
            except Failed:
                stored = None
            else:
                stored = read(found, KillSwitch, UnreadableKillSwitch)
            if isinstance(stored, KillSwitch) and self._fleet is not None:
                self._progress.reported(stored, [one.address for one in concerned(self._fleet.gateways, order)])
            await asyncio.sleep(STATUS_SECONDS)

    def _beside(self) -> Asked:
        """What is asked for under a name of its own. Who may not engage the KillSwitch that is there, because it is
        wider than they may stop, stops what they say."""
        known = self._prepared()
        if self._refused and known is not None and self.asked.scope is not None:
            spec = known.get("spec") or {}
            known = {"spec": {"mode": spec["mode"]} if "mode" in spec else {}}
        return self.asked.beside(unique_name(self.asked.name, time.time_ns(), secrets.token_hex(2)), known)

    def _decide(self, order: kill_pb2.KillOrder) -> None:
        """This is the order, unless there is one already."""
        if self._order.done():
            return
        self._progress.follow(order)
        self._order.set_result(order)

    # --- the bus

    async def _by_the_bus(self) -> None:
        url = self.reach.nats or self._known.nats
        if not url:
            text = "its address is not known: name it with --nats or CROWETRADE_NATS"
            self._say(Channel.BUS, Outcome.NOT_TRIED, text)
            return
        order = await asyncio.shield(self._order)
        stored = f"{url} has the order"
        await ways.until_it_works(
            lambda: ways.by_the_bus(
                url, order, lambda: self._say(Channel.BUS, Outcome.WORKS, stored), self._heard_on_the_bus
            ),
            lambda text: self._say(Channel.BUS, Outcome.FAILS, text),
        )

    def _heard_on_the_bus(self, status: status_pb2.GatewayStatus) -> None:
        for said in status.kills:
            self._progress.acknowledged(said, Channel.BUS)
        if self._fleet is None:
            # Nobody else tells which gateways there are.
            address = Address(status.namespace, status.venue)
            self._heard.add(address)
            if address not in self._known.gateways and concerned([Gateway(address)], self._order.result()):
                self._progress.expect([address])

    # --- directly

    async def _directly(self) -> None:
        order = await asyncio.shield(self._order)
        self._expect(order)
        for target in self.reach.targets:
            self._progress.expect([target])
            self._start(target, target, order, "")
        try:
            await asyncio.Event().wait()
        finally:
            await cancelled(*self._direct.values())

    def _expect(self, order: kill_pb2.KillOrder) -> None:
        """The gateways that are known and concerned have to halt, and are told so directly."""
        for gateway in concerned(self._known.gateways.values(), order):
            self._progress.expect([gateway.address])
            for target in gateway.targets:
                self._start(target, str(gateway.address), order, gateway.address.server_name)
        if not self._direct and not self.reach.targets and self._discovered:
            text = "no gateway is known: name them with --gateway HOST:PORT"
            self._say(Channel.DIRECT, Outcome.NOT_TRIED, text)

    def _start(self, target: str, gateway: str, order: kill_pb2.KillOrder, server_name: str) -> None:
        if target in self._direct:
            return

        def failed(text: str) -> None:
            self._failed_targets.add(target)
            self._progress.failed(gateway, text)
            self._say_direct(text)

        def acknowledged(said: kill_pb2.KillAcknowledgement) -> None:
            self._progress.acknowledged(said, Channel.DIRECT, target)
            self._say_direct("")

        def is_concerned(address: Address) -> bool:
            return bool(concerned([self._known.gateways.get(address, Gateway(address))], order))

        self._direct[target] = asyncio.create_task(
            ways.until_it_works(lambda: ways.directly(target, order, acknowledged, is_concerned, server_name), failed)
        )

    def _say_direct(self, problem: str) -> None:
        rows = self._progress.rows
        answered = sum(Channel.DIRECT in row.told_by for row in rows)
        if answered:
            self._say(Channel.DIRECT, Outcome.WORKS, f"{answered} of {len(rows)} gateways answer")
        elif self._failed_targets >= self._direct.keys():
            self._say(Channel.DIRECT, Outcome.FAILS, problem)

    def _say(self, channel: Channel, outcome: Outcome, message: str) -> None:
        self._ways[channel] = Way(channel, outcome, message)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _user(api: ApiServer) -> str:
    """Empty where the API server does not say: a KillSwitch may be engaged without it."""
    try:
        return await api.user()
    except Refused:
        return ""


async def _switch(api: ApiServer, asked: Asked) -> Mapping[str, Any] | None:
    try:
        return await api.get(KillSwitch, asked.namespace, asked.name)
    except Refused as error:
        if error.code == NOT_FOUND:
            return None
        raise


def _no_such_switch(asked: Asked, others: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(sorted(one["metadata"]["name"] for one in others)) or "none"
    return (
        f"there is no KillSwitch {asked.name} in namespace {asked.namespace} (there are: {names}): name one of these, "
        "or say whom a new one stops with --all, --selector or --venue-selector"
    )
