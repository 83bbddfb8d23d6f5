"""A few hundred short seeds of the simulation, always the same ones; `make simulate` runs others."""

from __future__ import annotations

import multiprocessing

import pytest

from crowetrade.bus.v1 import journal_pb2
from tests.simulation import isolation, mutants
from tests.simulation.__main__ import attempt, run
from tests.simulation.accounts import Broken
from tests.simulation.gateway import GatewayProcess
from tests.simulation.world import Wanted, World

FIRST = 20_000
SEEDS = 200
STEPS = 1200


def test_nothing_breaks_an_invariant() -> None:
    with multiprocessing.Pool(2) as pool:
        results = pool.map(attempt, [(seed, STEPS) for seed in range(FIRST, FIRST + SEEDS)], chunksize=5)
    failures = [failure for *_, failure in results if failure]
    assert not failures, "\n\n".join(failures[:3])


@pytest.mark.parametrize("seed", range(4))
def test_garbage_of_one_strategy_changes_nothing_for_the_others(seed: int) -> None:
    assert isolation.check(seed) > 50


def test_a_seed_repeats_itself() -> None:
    runs = [World(FIRST, Wanted(steps=STEPS)) for _ in range(2)]
    for world in runs:
        world.run()

    assert runs[0].lines() == runs[1].lines()
    assert runs[0].log.records == runs[1].log.records


def test_the_runs_reach_what_they_are_for() -> None:
    """Every kind of event stands in some journal, and gateways died, were overtaken and came back."""
    kinds: set[str] = set()
    sessions = 0
    for seed in range(FIRST, FIRST + 25):
        world = World(seed, Wanted(steps=STEPS))
        world.run()
        kinds |= world.accounts.kinds.keys()
        sessions += len(world.accounts.tokens)
    journaled = {field.name for field in journal_pb2.JournalEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
    assert kinds == journaled
    assert sessions > 50


def test_a_broken_gateway_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: a shell that sends without its append breaks I2, and the trace says how to repeat it."""

    def append(self: GatewayProcess, events: object, outcome: object) -> None:
        self.world.read_journal()

    monkeypatch.setattr(GatewayProcess, "_append", append)
    with pytest.raises(Exception, match=f"make simulate SEED={FIRST}") as failure:
        run(FIRST, STEPS)
    assert "I" in str(failure.value)
    assert issubclass(Broken, Exception)


def test_every_fault_that_mutants_puts_back_has_its_place() -> None:
    for mutant in mutants.MUTANTS:
        assert mutants.source(mutant)
