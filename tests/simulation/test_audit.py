"""The auditor over journals of whole simulated lives of a gateway: it accuses nobody, counts what the gateway counts,
and finds an order that is put into such a journal."""

from __future__ import annotations

from collections import Counter

import pytest

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade_agents.auditor.fleet import Fleet
from crowetrade_agents.auditor.ledger import Ledger
from crowetrade_agents.journal.chain import Chain
from tests.simulation.world import VENUE, Wanted, World

NAME = ("trading", VENUE)
SEEDS = range(20_000, 20_024)
NEED_PRICES = {
    "maxOrderNotional",
    "maxGrossNotional",
    "maxNetNotional",
    "maxConcentration",
    "maxDailyLoss",
    "maxDrawdown",
    "maxLossPerMinute",
}


def _events(world: World) -> list[pb.JournalEvent]:
    chain = Chain()
    return [event for record in world.log.records for event in chain.follow(record)]


def _audit(events: list[pb.JournalEvent]) -> Fleet:
    fleet = Fleet()
    fleet.follow(Ledger(*NAME))
    for sequence, event in enumerate(events, start=1):
        fleet.take(NAME, sequence, event)
    return fleet


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    """Lives with crashes, lost appends, late executions and changing limits."""
    made = [World(seed, Wanted(steps=1200)) for seed in SEEDS]
    for world in made:
        world.run()
    return made


def test_a_real_gateway_is_never_accused(worlds: list[World]) -> None:
    orders, unjudged = 0, Counter[str]()
    for world in worlds:
        fleet = _audit(_events(world))
        assert not fleet.findings, f"seed {world.seed}: {fleet.findings[0]}"
        orders += fleet.orders
        unjudged.update(item.limit for item in fleet.unjudged)
    assert orders > 400
    # Only what needs prices may be left open.
    assert unjudged.keys() <= NEED_PRICES


def test_the_auditor_counts_what_the_gateway_counts(worlds: list[World]) -> None:
    compared = 0
    for world in worlds:
        ledger = _audit(_events(world)).ledgers[NAME]
        for (owner, instrument), exposure in world.processes[-1].state.books.exposures.items():
            held = ledger.holdings[owner, instrument.symbol]
            counted = (held.position, held.buying, held.selling, held.orders)
            assert counted == (exposure.position, exposure.open_buy, exposure.open_sell, exposure.open_orders)
            compared += bool(exposure.position or exposure.open_orders)
    assert compared > 10


def test_an_order_that_is_put_into_a_journal_is_found(worlds: list[World]) -> None:
    """Orders of real journals are made a hundred million times as large, one at a time."""
    tried = 0
    for world in worlds[:8]:
        events = _events(world)
        places = [place for place, event in enumerate(events) if event.HasField("order_submitted")]
        for place in places[:: max(1, len(places) // 5)]:
            forged = pb.JournalEvent.FromString(events[place].SerializeToString())
            forged.order_submitted.order_quantity += "00000000"
            if "." in forged.order_submitted.order_quantity:
                continue
            sequence = place + 1
            fleet = Fleet()
            fleet.follow(Ledger(*NAME))
            for number, event in enumerate([*events[:place], forged], start=1):
                fleet.take(NAME, number, event)
            bounded = {"maxOrderQuantity", "maxPositionQuantity", "maxOrderNotional"}
            config = fleet.ledgers[NAME].config
            assert config is not None
            order = forged.order_submitted
            limits = {
                limit.name
                for rule in config.rules
                for limit in rule.limits
                if rule.enforce
                and order.strategy in rule.strategies
                and (not rule.symbols or order.symbol in rule.symbols)
            }
            if limits & bounded:
                assert {item.sequence for item in fleet.findings} == {sequence}
                tried += 1
    assert tried > 10
