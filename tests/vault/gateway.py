"""A gateway that trades at a venue whose keys come from Vault, and orders one after the other."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from crowetrade.bus.v1 import orders_pb2, status_pb2
from crowetrade_agents_tests.gateway.harness import (
    Running,
    Trader,
    configuration,
    configure,
    limit,
    running,
    status_when,
    venue_file,
    write_quotes,
)
from crowetrade_api.files import EnvName, VenueFile
from tests.vault.conftest import Keyed


def sha256(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def takes_both(old: str, new: str) -> dict[str, str]:
    """Of a venue that takes both keys, as venues do while keys are rotated."""
    return {"apiKeySha256": sha256(new), "previousApiKeySha256": sha256(old)}


def gateway_file(keyed: Keyed, **simulated: Any) -> VenueFile:
    """venue.json of the venue; one that is not told otherwise takes every key."""
    content = venue_file(rate_limits=None, replay={"speed": "10"}, **simulated).content()
    credentials = keyed.venue.spec.credentials
    assert credentials is not None
    content["spec"]["credentials"] = credentials.to_api()
    return VenueFile.model_validate(content)


@asynccontextmanager
async def trading(bus: Client, folder: Path, keyed: Keyed, file: VenueFile) -> AsyncIterator[Running]:
    """A gateway with its agent beside it."""
    write_quotes(folder, 20_000, quantity="1000000000")
    limits = [limit("maxOrderQuantity", "10000"), limit("maxPositionQuantity", "1000000000")]
    await configure(bus, configuration(limits=limits))
    keyed.agent.start()
    environment = {EnvName.CREDENTIALS_DIRECTORY.value: str(keyed.agent.credentials)}
    async with running(bus, folder, file=file, **environment) as gateway:
        await status_when(bus, lambda status: status.session == status_pb2.SESSION_STATE_LOGGED_ON)
        yield gateway


@dataclass
class Flow:
    """Orders one after the other, until it is told to stop."""

    trader: Trader
    filled: int = 0
    others: list[orders_pb2.ExecutionReport] = field(default_factory=list)
    stopping: bool = False

    async def run(self) -> None:
        """Sends."""
        while not self.stopping:
            reports = await self.trader.order("1000")
            if reports[-1].ord_status == orders_pb2.ORD_STATUS_FILLED:
                self.filled += 1
            else:
                self.others.append(reports[-1])


@asynccontextmanager
async def flowing(trader: Trader) -> AsyncIterator[Flow]:
    """Orders that all have to be filled."""
    flow = Flow(trader)
    task = asyncio.create_task(flow.run())
    try:
        yield flow
    finally:
        flow.stopping = True
        await task
    assert not flow.others
    assert flow.filled > 0
