"""Whatever happens to gateways, to the ledger and to what goes between them: together they never use more than the
whole limit, and when all is well again, demand that fits is served."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_agents.allowances.ledger import WHOLE
from crowetrade_agents.allowances.split import HEADROOM, RESERVE, STEP, Yield

from .world import FATES, Gateway, World

STEPS = 250
COUNTS = (0, 0, 0, 3, 7, 20, 1000)


def misfortune(world: World, chance: random.Random) -> None:
    """One thing that happens to one gateway."""
    gateway = chance.choice(world.gateways)
    what = chance.random()
    if what < 0.30:
        world.round(gateway, chance.choice(FATES) if chance.random() < 0.5 else "answered")
    elif what < 0.50:
        chance.choice((world.reads, world.lowers, world.raises))(gateway)
    elif what < 0.58:
        world.exchanges(gateway, chance.choice(FATES))
    elif what < 0.61:
        world.reads(gateway, back=chance.choice((1, 1, 2, 5)))
    elif what < 0.66:
        world.arrives(chance.randrange(100), again=chance.random() < 0.3)
    elif what < 0.76:
        world.trades(gateway, chance.choice((0, gateway.used // 2, gateway.usable // 2, WHOLE, WHOLE)))
    elif what < 0.86:
        gateway.demanded = chance.choice((0, 0, 50_000, 300_000, 900_000, WHOLE))
    elif what < 0.89:
        gateway.known = not gateway.known
    elif what < 0.92:
        world.configured(gateway, not gateway.bound)
    elif what < 0.94:
        world.crashes(gateway)
    elif what < 0.95:
        world.deleted(gateway)
    elif what < 0.97:
        world.overtaken_round(gateway)
    elif gateway.holder is None or chance.random() < 0.3:
        world.starts(gateway)


def aim(used: int, count: int) -> int:
    """As much as a gateway wants to have for this use, at most."""
    return used + max(RESERVE, used // HEADROOM) + STEP + (WHOLE // count + 1 if count else 0)


def serves_demand_when_all_is_well(world: World, asking: Gateway) -> None:
    world.heal()
    for gateway in world.gateways:
        gateway.demanded = 0
    free = WHOLE - sum(aim(gateway.used, world.count) for gateway in world.gateways)
    asking.demanded = asking.used + max(0, free) * 7 // 10
    world.settle()
    unit = WHOLE // world.count + 1 if world.count else 0
    assert asking.usable >= asking.demanded - unit


@pytest.mark.no_cover
@settings(max_examples=200)
@given(
    st.integers(1, 6),
    st.sampled_from(Yield),
    st.sampled_from(COUNTS),
    st.integers(1, STEPS),
    st.integers(0, 2**32),
)
def test_gateways_never_use_more_than_the_whole_limit(
    gateways: int, yields: Yield, count: int, steps: int, seed: int
) -> None:
    world, chance = World(gateways, yields, count), random.Random(seed)
    world.heal()
    for _ in range(steps):
        misfortune(world, chance)
        world.check()
    serves_demand_when_all_is_well(world, chance.choice(world.gateways))


@pytest.mark.no_cover
@settings(max_examples=100)
@given(st.lists(st.integers(0, WHOLE), min_size=1, max_size=8), st.sampled_from(Yield), st.sampled_from(COUNTS))
def test_shares_come_to_rest_whatever_is_demanded(demands: list[int], yields: Yield, count: int) -> None:
    world = World(len(demands), yields, count)
    world.heal()
    world.settle()
    for gateway, demanded in zip(world.gateways, demands, strict=True):
        gateway.demanded = demanded
    world.settle(40)


@pytest.mark.parametrize("yields", Yield)
@pytest.mark.parametrize("count", [0, 20, 1000])
def test_one_gateway_with_all_the_demand_can_use_nine_tenths(yields: Yield, count: int) -> None:
    world = World(5, yields, count)
    world.heal()
    world.settle()
    assert [gateway.usable for gateway in world.gateways] == [WHOLE // 5] * 5
    asking = world.gateways[3]
    asking.demanded = WHOLE * 9 // 10
    world.settle()
    assert asking.usable >= WHOLE * 9 // 10
    # And the demand moves on to another one.
    asking.demanded, asking.used = 0, 0
    world.gateways[0].demanded = WHOLE * 9 // 10
    world.settle()
    assert world.gateways[0].usable >= WHOLE * 9 // 10
