"""Real engines that share limits. With a ledger that loses, delays and does not answer, and processes that start again,
no order ever leaves that takes all gateways together above the whole; and losses get the shares that they need."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.venues import port

from ..gateway.scenario import EUR, GBP, SECOND
from .engines import PRICE, Gateway, World

GROSS, OPEN, RATE, SECONDS = Decimal(1_100_000), 12, 30, 10
LIMITS = {
    "maxGrossNotional": {"value": str(GROSS)},
    "maxOpenOrders": {"value": str(OPEN)},
    "maxOrderRate": {"count": str(RATE), "perSeconds": str(SECONDS)},
}


def check(world: World) -> None:
    """After an order has left."""
    gateways = world.gateways
    assert sum(gateway.gross for gateway in gateways) <= GROSS
    assert sum(len(gateway.engine.books.open) for gateway in gateways) <= OPEN
    since_ns = world.now - SECONDS * SECOND
    assert sum(at_ns > since_ns for gateway in gateways for at_ns in gateway.left) <= RATE


async def step(world: World, gateway: Gateway, number: int) -> None:
    """One thing that happens."""
    chance, engine = world.chance, gateway.engine
    what = chance.random()
    if what < 0.45:
        strategy, instrument = chance.choice(("alpha", "beta")), chance.choice((EUR, GBP))
        quantity, side = Decimal(chance.choice((10_000, 50_000, 200_000))), chance.choice(tuple(Side))
        answer = gateway.order(strategy=strategy, instrument=instrument, quantity=quantity, side=side)
        if answer == "< PENDING_NEW":
            check(world)
            if chance.random() < 0.8:
                engine.accepted(gateway.orders, strategy)
    elif what < 0.6:
        if engine.books.open:
            made = chance.choice(list(engine.books.open.values())).terms
            if chance.random() < 0.5:
                engine.venue(port.Ended(made.cl_ord_id, "v", OrdStatus.CANCELED, "", "", world.now))
            else:
                price, fee = Decimal(PRICE), Decimal(0)
                engine.venue(
                    port.Executed(
                        made.cl_ord_id,
                        "v",
                        f"e{number}",
                        made.instrument,
                        made.side,
                        made.quantity,
                        price,
                        fee,
                        world.now,
                    )
                )
    elif what < 0.92:
        for each in [gateway] if chance.random() < 0.6 else world.gateways:
            await each.look()
    elif what < 0.95:
        gateway.line.cut = not gateway.line.cut
    elif what < 0.97:
        gateway.restart()
    elif world.ledgers.flying:
        world.ledgers.exchange(*world.ledgers.flying.pop(chance.randrange(len(world.ledgers.flying))))


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(6))
async def test_no_order_takes_all_gateways_above_the_whole(seed: int) -> None:
    world = World(2 + seed % 4, LIMITS, seed)
    for number in range(300):
        world.passes(world.chance.choice((1, 20, 100, 500, 2000)))
        await step(world, world.chance.choice(world.gateways), number)
        for limit in LIMITS:
            assert sum(world.shares(limit)) <= 1
    assert sum(len(gateway.left) for gateway in world.gateways) > 20


# --- Losses ----------------------------------------------------------------------------------------------------------

LOSS = {"maxDailyLoss": {"value": "20000"}}


async def losing(world: World, *mids: str) -> list[Gateway]:
    """Each gateway holds 1,000,000 bought at 1.1, with a share of its own; then its market falls, at all at once."""
    for _ in range(3):
        for gateway in world.gateways:
            await gateway.look()
    for gateway in world.gateways:
        assert gateway.order(quantity=Decimal(1_000_000)) == "< PENDING_NEW"
        gateway.engine.accepted(1)
        gateway.engine.executed(1, "1000000")
    for gateway, mid in zip(world.gateways, mids, strict=False):
        gateway.quote(mid)
    return world.gateways


async def give_and_take(world: World) -> None:
    """Half a second, in which keepers look."""
    for _ in range(5):
        world.passes(100)
        for gateway in world.gateways:
            await gateway.look()


async def test_a_loss_in_one_quote_that_takes_a_gateway_over_its_share_gets_the_share_of_others() -> None:
    """4,250 of 20,000, of which each of five has 4,000."""
    world = World(5, LOSS)
    gateways = await losing(world, "1.09575")

    assert gateways[0].order() == "< REJECTED MaxDailyLoss"
    await give_and_take(world)

    assert gateways[0].order() == "< PENDING_NEW"
    assert sum(world.shares("maxDailyLoss")) <= 1
    world.passes(2_000)
    assert not gateways[0].breaches


async def test_losses_that_are_together_above_the_whole_are_a_breach_after_a_second() -> None:
    """7,000 at each of three."""
    world = World(3, LOSS)
    gateways = await losing(world, "1.093", "1.093", "1.093")

    await give_and_take(world)
    assert [gateway.order() for gateway in gateways] == ["< REJECTED MaxDailyLoss"] * 3
    assert not any(gateway.breaches for gateway in gateways)

    await give_and_take(world)
    assert all(gateway.breaches == ["maxDailyLoss"] for gateway in gateways)


async def test_a_loss_above_the_whole_is_a_breach_at_once() -> None:
    gateways = await losing(World(2, LOSS), "1.0799")
    assert gateways[0].breaches == ["maxDailyLoss"]


async def test_without_a_ledger_a_loss_above_the_share_is_a_breach_after_a_second() -> None:
    world = World(2, LOSS)
    gateways = await losing(world, "1.0899")
    for gateway in gateways:
        gateway.line.cut = True
    world.passes(999)
    assert not gateways[0].breaches
    world.passes(1)
    assert gateways[0].breaches == ["maxDailyLoss"]
