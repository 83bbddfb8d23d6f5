"""Kill orders at real processes: what the venue's own log has afterwards."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest

from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from tests.chaos.desk import NAMESPACE
from tests.chaos.processes import Gateway, Lines, until
from tests.chaos.records import WITHOUT_JOURNAL, VenueRecord
from tests.chaos.rounds import Rounds, running

pytestmark = pytest.mark.integration

ORDER = kill_pb2.KillOrder(
    namespace=NAMESPACE,
    name="stop",
    mode=kill_pb2.KILL_MODE_CANCEL,
    scope=kill_pb2.KillScope(namespaces_from="Same"),
    reason="drill",
)


async def directly(gateway: Gateway) -> list[kill_pb2.KillAcknowledgement]:
    """Kills by the control service; the acknowledgements up to the last."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.control_port}") as channel:
        stub = control_pb2_grpc.ControlServiceStub(channel)
        request = control_pb2.KillRequest(order=ORDER)
        async with asyncio.timeout(30):
            return [answer.acknowledgement async for answer in stub.Kill(request)]


def new_requests(lines: Lines) -> list[str]:
    """Kinds of new orders and replacements in the venue's log since the last look."""
    kinds = (line["message"]["_"] for line in lines.new())
    return [kind for kind in kinds if kind in ("NewOrder", "Replace")]


async def trading(run: Rounds) -> Gateway:
    """With orders that rest."""
    await run.ready()
    while not run.venue_record.open:
        await run.burst(10)
        await run.settle()
    assert run.gateway is not None
    return run.gateway


async def test_without_a_bus_what_is_open_is_cancelled_at_the_venue_and_the_journal_agrees_later(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, 10) as run:
        await trading(run)
        await run.kill_gateway()
        await run.nats.stop()
        gateway = await run.spawn()
        await gateway.controlled()

        said = await directly(gateway)

        run.killed = True
        venue = VenueRecord()
        for line in Lines(run.venue.log).new():
            venue.take(line)
        cancels = len([name for name in venue.cancels if WITHOUT_JOURNAL.search(name)])
        assert not venue.open
        assert (said[-1].cancels_sent, said[-1].cancels_confirmed, said[-1].still_open_count) == (cancels, cancels, 0)
        assert cancels > 0
        assert said[-1].halted_unix_ns
        assert "orders are cancelled at the venue without the journal" in said[-1].problem
        await run.nats.start()
        await gateway.serving()
        await run.log_on()
        lines = Lines(run.venue.log)
        new_requests(lines)
        await run.burst(10)
        await asyncio.gather(*(strategy.until_answered() for strategy in run.strategies))
        await run.settle()
        assert not run.venue_record.open
        assert new_requests(lines) == []
        assert (await run.acknowledged()).problem == ""


@pytest.mark.parametrize("way", ["Bus", "Rpc"])
async def test_a_gateway_that_was_frozen_while_a_kill_order_came_sends_nothing_when_it_thaws(
    tmp_path: Path, way: str
) -> None:
    async with running(tmp_path, 11) as run:
        gateway = await trading(run)

        async def kill() -> Awaitable[object]:
            if way == "Bus":
                await run.kill_order(ORDER)
                return asyncio.create_task(run.acknowledged())
            run.killed = True
            return asyncio.create_task(directly(gateway))

        await sends_nothing_when_it_thaws(run, gateway, kill)


async def sends_nothing_when_it_thaws(
    run: Rounds, gateway: Gateway, kill: Callable[[], Awaitable[Awaitable[object]]]
) -> None:
    """`kill` gives a kill order while the gateway is frozen; what it returns is over once the gateway obeys."""
    bursting = asyncio.create_task(run.burst(60))
    lines = Lines(run.venue.log)
    before = len(run.strategies[0].written)
    await until(lambda: len(run.strategies[0].written) > before + 10, "some orders to be written")
    await gateway.frozen()
    killing = await kill()
    # What it had sent is read by the venue; what strategies write now waits in the gateway's socket.
    await asyncio.wait({bursting}, timeout=3)
    assert not bursting.done() or len(run.strategies[0].written) >= before + 60
    assert new_requests(lines)

    gateway.send(signal.SIGCONT)
    await killing
    await bursting
    await asyncio.gather(*(strategy.until_answered() for strategy in run.strategies))

    assert new_requests(lines) == []
    await run.settle()
    assert not run.venue_record.open
