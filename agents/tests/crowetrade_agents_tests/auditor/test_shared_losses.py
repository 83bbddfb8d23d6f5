"""Random runs of real engines that share limits on losses, over ledgers that fail and with restarts: the auditor of all
their journals accuses nobody, and judges every order. Engines that take the whole limit for their share are found."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crowetrade_agents.auditor.figures import decimal
from crowetrade_agents.auditor.fleet import CLOCK_TOLERANCE_NS, Fleet
from crowetrade_agents.auditor.ledger import Ledger
from crowetrade_agents.auditor.marks import Quote
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk import shares
from crowetrade_agents_tests.allowances.engines import PRICE, World
from crowetrade_agents_tests.gateway.scenario import SECOND, START

LIMITS = {
    "maxDailyLoss": {"value": "6000"},
    "maxDrawdown": {"value": "0.03"},
    "maxLossPerMinute": {"value": "0.02"},
}
STEPS = 250
SEEDS = range(8)


async def run(seed: int, *only: str) -> tuple[World, list[tuple[int, int, str]]]:
    """The gateways, and all quotes: time, number of the gateway, mid."""
    world = World(2 + seed % 4, {limit: LIMITS[limit] for limit in only or LIMITS}, seed)
    chance, mids = world.chance, [Decimal(PRICE) for _ in world.gateways]
    quotes = []
    for number in range(STEPS):
        world.passes(chance.choice((20, 100, 300, 1000, 3000)))
        place, what = chance.randrange(len(mids)), chance.random()
        gateway = world.gateways[place]
        if what < 0.4:
            mids[place] += chance.choice((-1, -1, -1, 1, 1)) * Decimal(chance.choice(("0.0002", "0.001", "0.004")))
        elif what < 0.7:
            quantity, side = Decimal(chance.choice((10_000, 50_000))), chance.choice((Side.BUY, Side.BUY, Side.SELL))
            answer = gateway.order(quantity=quantity, side=side, price=mids[place])
            if answer == "< PENDING_NEW":
                gateway.engine.accepted(gateway.orders)
                price, exec_id = str(mids[place]), f"e{number}"
                gateway.executed(gateway.orders, exec_id, price)
        elif what < 0.93:
            for each in [gateway] if chance.random() < 0.4 else world.gateways:
                await each.look()
        elif what < 0.95:
            gateway.line.cut = not gateway.line.cut
        elif what < 0.965:
            gateway.restart()
        gateway.quote(str(mids[place]))
        quotes.append((world.now, place, str(mids[place])))
    return world, quotes


def audited(world: World, quotes: list[tuple[int, int, str]]) -> Fleet:
    """By the times of everything; a quote is heard by when orders within the tolerance before it are judged."""
    fleet = Fleet()
    names = [("desk", gateway.name) for gateway in world.gateways]
    for name in names:
        ledger = Ledger(*name)
        fleet.follow(ledger)
        ledger.marks.heard(1)
        ledger.marks.add("EUR-USD", Quote(START - 60 * SECOND, decimal(PRICE), decimal(PRICE)))
    events = [
        (event.at_unix_ns, place, sequence, event)
        for place, gateway in enumerate(world.gateways)
        for sequence, event in enumerate(gateway.engine.events, start=1)
    ]
    heard = iter(quotes)
    quote = next(heard, None)
    for at_ns, place, sequence, event in sorted(events, key=lambda item: item[:3]):
        while quote is not None and quote[0] <= at_ns + CLOCK_TOLERANCE_NS:
            mid = decimal(quote[2])
            fleet.ledgers[names[quote[1]]].marks.add("EUR-USD", Quote(quote[0], mid, mid))
            quote = next(heard, None)
        fleet.take(names[place], sequence, event)
    fleet.settle(world.now + SECOND)
    return fleet


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", SEEDS)
async def test_real_engines_are_never_accused_of_their_losses_together(seed: int) -> None:
    fleet = audited(*await run(seed))

    assert not fleet.findings, fleet.findings[0]
    assert not fleet.unjudged, fleet.unjudged[0]
    assert fleet.orders > 10


@pytest.mark.no_cover
@pytest.mark.parametrize("limit", LIMITS)
async def test_engines_that_take_the_whole_for_their_share_are_found(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "allowed", lambda rule, limit, value, held: value)
    for seed in range(40):
        fleet = audited(*await run(seed, limit))
        if fleet.findings:
            assert {finding.limit for finding in fleet.findings} == {limit}
            return
    pytest.fail("nothing was found in 40 runs")
