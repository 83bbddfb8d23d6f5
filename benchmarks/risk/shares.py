"""How much of a limit that five gateways share one of them can use.

Each gateway is an engine with the keeper of shares that its process has, and a connection of its own to a real bus
(crowetrade_agents_tests.allowances.fleet); what it sends counts as open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.figures import Figure, figure
from benchmarks.nats_server import nats_server
from crowetrade_agents_tests.allowances.fleet import Member, fleet, until

GATEWAYS = 5
WHOLE = 10_000_000
"""Units that use the whole limit."""
PART = WHOLE // 100
QUIET_SECONDS = 3.0
AGAIN_SECONDS = 0.05


def usable(folder: Path) -> Iterator[Figure]:
    """risk.shares.usable: one of five gateways wants everything, and sends orders of a hundredth of the limit until for
    three seconds none has passed; each of the others has one such order open, so 0.96 is all that there is. The share
    of the whole limit that it used, by its own orders; each gateway in turn."""
    found: list[float] = []
    took: list[float] = []

    async def run(url: str) -> None:
        async with fleet(url, GATEWAYS) as members:
            await until(lambda: all(member.share > 0 for member in members), members)
            for busy in members:
                for member in members:
                    if member is not busy:
                        await _pass(member, members)
                share, seconds = await _use_all(busy, members)
                found.append(share)
                took.append(seconds)
                for member in members:
                    member.close()

    with nats_server(folder) as url:
        uvloop.run(run(url))
    yield figure("risk.shares.usable", "share", found, gateways=GATEWAYS, least=min(found))
    yield figure("risk.shares.seconds", "s", took, gateways=GATEWAYS)


async def _pass(member: Member, members: list[Member]) -> None:
    while not _sent(member, members):  # noqa: ASYNC110 - as a strategy that goes on trying
        await asyncio.sleep(AGAIN_SECONDS)


def _sent(member: Member, members: list[Member]) -> bool:
    answer = member.order(PART)
    assert sum(one.share for one in members) <= 1
    assert answer == "< PENDING_NEW" or answer.startswith("< REJECTED"), answer
    return answer == "< PENDING_NEW"


async def _use_all(busy: Member, members: list[Member]) -> tuple[float, float]:
    """The share of the limit that it used, and how long it took until the last order passed, s."""
    begin = last = time.monotonic()
    passed = 0
    while time.monotonic() - last < QUIET_SECONDS:
        if _sent(busy, members):
            passed, last = passed + 1, time.monotonic()
        else:
            await asyncio.sleep(AGAIN_SECONDS)
    return passed * PART / WHOLE, last - begin
