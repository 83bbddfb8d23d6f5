"""Kill orders before there is an engine, and what it gets of them when there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from crowetrade.bus.v1 import journal_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.file import KillFile
from crowetrade_agents.control.kills import Caller, Channel, Kill, KillCommand, Rearm
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents.runtime.without_journal import WithoutJournal
from crowetrade_agents.venues import port
from crowetrade_agents_tests.clock import START_NS, JumpingClock
from crowetrade_agents_tests.gateway.scenario import Scenario

WAIT_SECONDS = 10
NAME = ("desk", "stop")


def kill(
    mode: kill_pb2.KillMode.ValueType = kill_pb2.KILL_MODE_CANCEL,
    *,
    namespace: str = "desk",
    uid: str = "u1",
    generation: int = 5,
    channel: Channel = Channel.RPC,
) -> Kill:
    order = kill_pb2.KillOrder(
        namespace=namespace,
        name="stop",
        uid=uid,
        generation=generation,
        mode=mode,
        scope=kill_pb2.KillScope(namespaces_from="Same"),
        reason="drill",
    )
    return Kill(order, channel, START_NS)


def kills_in(folder: Path | None = None) -> Kills:
    return Kills("desk", "sim", JumpingClock(START_NS), KillFile(folder) if folder is not None else None)


class Engine:
    """Takes down what it gets. `state` is that of a gateway whose journal has these orders."""

    def __init__(self, *journaled: kill_pb2.KillOrder) -> None:
        self.got: list[KillCommand] = []
        self.state: Any = Scenario(ready=False).state
        for order in journaled:
            self.state.books.kills[order.namespace, order.name] = journal_pb2.KillChanged(order=order)

    def put_kill(self, command: KillCommand) -> None:
        self.got.append(command)


def test_without_an_engine_it_is_blocked_and_says_why_it_knows_no_more() -> None:
    kills = kills_in()
    kills.problem = "NATS can't be reached"
    kills.put(kill())
    said = kills.find(NAME)
    assert said is not None
    assert (said.seen_unix_ns, said.blocked_unix_ns, said.halted_unix_ns) == (START_NS, START_NS, 0)
    assert said.problem == "NATS can't be reached; what is open at the venue is not known yet"
    assert (said.venue_namespace, said.venue, said.channel, said.generation) == ("desk", "sim", "Rpc", 5)
    assert kills.acknowledgements() == [said]


def test_a_flatten_without_a_journal_has_not_halted_because_nobody_knows_what_is_held() -> None:
    kills = kills_in()
    kills.at_venue.looked_ns = START_NS
    kills.put(kill())
    assert [said.halted_unix_ns for said in kills.acknowledgements()] == [START_NS]
    kills.put(kill(kill_pb2.KILL_MODE_FLATTEN))
    [said] = kills.acknowledgements()
    assert said.halted_unix_ns == 0
    assert said.problem.endswith("positions are closed once the journal is open")


def test_a_block_leaves_nothing_to_cancel() -> None:
    kills = kills_in()
    kills.put(kill(kill_pb2.KILL_MODE_BLOCK))
    said = kills.find(NAME)
    assert said is not None
    assert said.halted_unix_ns == START_NS


def test_what_came_is_in_the_file_before_it_is_acknowledged_and_survives_the_container(tmp_path: Path) -> None:
    kills_in(tmp_path).put(kill())

    successor = kills_in(tmp_path)

    said = successor.find(NAME)
    assert said is not None
    assert (said.channel, said.generation, said.reason) == ("File", 5, "drill")
    successor.put(Rearm(*NAME, "u1", 6))
    assert kills_in(tmp_path).find(NAME) is None


async def test_an_engine_gets_re_armings_first_and_then_what_is_in_force() -> None:
    """So that an order of the journal that was re-armed since ends, and a newer one of the same object holds."""
    kills, engine = kills_in(), Engine()
    kills.put(kill(generation=5))
    kills.put(Rearm(*NAME, "u1", 6))
    kills.put(kill(generation=7))
    made: Any = engine
    await kills.attach(made)
    assert [type(command).__name__ for command in engine.got] == ["Rearm", "Kill"]
    assert isinstance(engine.got[1], Kill)
    assert engine.got[1].order.generation == 7
    kills.put(kill(generation=8))
    assert len(engine.got) == 3


async def test_an_engine_is_told_who_called_before_there_was_one() -> None:
    kills, engine, alice = kills_in(), Engine(), Caller("spiffe://t/ns/people/sa/alice", "ab12")
    kills.put(replace(kill(), caller=alice))
    await kills.attach(cast(Any, engine))
    (command,) = engine.got
    assert isinstance(command, Kill)
    assert command.caller == alice


async def test_what_only_the_journal_has_is_in_the_file_as_well(tmp_path: Path) -> None:
    made: Any = Engine(kill().order)
    await kills_in(tmp_path).attach(made)
    assert kills_in(tmp_path).find(NAME)


def test_an_order_that_was_re_armed_does_not_come_back_by_a_slower_way() -> None:
    kills = kills_in()
    kills.put(Rearm(*NAME, "u1", 6))
    kills.put(kill(generation=5, channel=Channel.BUS))
    assert kills.find(NAME) is None


async def test_whoever_waits_hears_of_a_change() -> None:
    kills = kills_in()
    waiting = asyncio.create_task(kills.changed.wait())
    await asyncio.sleep(0)
    kills.put(kill())
    assert await asyncio.wait_for(waiting, WAIT_SECONDS)


# --- At the venue, without a journal ----------------------------------------------------------------------------------


class Venue:
    """Has some orders open. It confirms cancels, but for those of `silent`."""

    def __init__(self, silent: set[str]) -> None:
        self.open = {
            name: port.OpenOrder(
                name,
                f"v-{name}",
                InstrumentId("sim", "EUR-USD"),
                Side.BUY,
                Decimal(1000),
                Decimal(1),
                Decimal(0),
                OrdStatus.NEW,
            )
            for name in ("alpha-1hg3k2m9p0ab-1", "beta-g3-2", "by-hand", "alpha-1hg3k2m9p0ab-07")
        }
        self.silent = silent
        self.cancelled: list[str] = []
        self.sessions = 0
        self.refuses = False

    async def connect(self, resume: port.Resume) -> port.VenueSnapshot:
        self.sessions += 1
        if self.refuses:
            self.refuses = False
            raise port.VenueUnavailable("nobody listens")
        return port.VenueSnapshot(tuple(self.open.values()))

    async def events(self) -> AsyncIterator[port.VenueEvent]:
        for name in self.cancelled:
            if name not in self.silent and name in self.open:
                del self.open[name]
                yield port.Ended(name, "", OrdStatus.CANCELED, "", "", START_NS)
        self.silent = set()
        await asyncio.Event().wait()

    def cancel(self, cancel: Any) -> None:
        self.cancelled.append(cancel.orig_cl_ord_id)

    async def close(self) -> None: ...


OURS = ["alpha-1hg3k2m9p0ab-1", "beta-g3-2"]


async def cancelled_at(venue: Venue, *commands: Kill, halted: bool = True) -> kill_pb2.KillAcknowledgement:
    """The acknowledgement once everything is done."""
    kills = kills_in()
    made: Any = venue
    without = WithoutJournal("desk", lambda: made, kills, JumpingClock(START_NS))
    without.start()
    for command in commands:
        kills.put(command)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                changed = kills.changed
                said = kills.acknowledgements()[0]
                if bool(said.halted_unix_ns) is halted and (halted or said.problem):
                    return said
                await changed.wait()
    finally:
        await without.stop()


async def test_it_cancels_what_gateways_sent_and_nothing_else() -> None:
    venue = Venue(set())
    said = await cancelled_at(venue, kill())
    assert venue.cancelled == OURS
    assert (said.cancels_sent, said.cancels_confirmed, said.still_open_count) == (2, 2, 0)
    assert list(said.strategies) == ["alpha", "beta"]


async def test_what_is_not_confirmed_is_cancelled_again_in_a_new_session() -> None:
    venue = Venue({OURS[1]})
    await cancelled_at(venue, kill())
    assert venue.cancelled == [*OURS, OURS[1]]
    assert venue.sessions == 2


async def test_a_venue_that_cannot_be_reached_is_tried_again() -> None:
    venue = Venue(set())
    venue.refuses = True
    await cancelled_at(venue, kill())
    assert venue.sessions == 2


@pytest.mark.parametrize(
    "command", [kill(kill_pb2.KILL_MODE_BLOCK), kill(kill_pb2.KILL_MODE_CLOSE_ONLY)], ids=["block", "close only"]
)
async def test_orders_that_do_not_cancel_open_no_session(command: Kill) -> None:
    venue = Venue(set())
    await cancelled_at(venue, command)
    assert venue.sessions == 0


def test_an_order_for_another_namespace_may_be_for_strategies_that_trade_here() -> None:
    """Which these are, nobody has said yet: the order counts until a configuration tells."""
    kills = kills_in()
    command = kill(namespace="other")
    kills.put(command)
    assert kills.cancels(command)
    assert kills.find(("other", "stop"))
