"""How many commands the deterministic simulation handles per second of one process."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator

from benchmarks.figures import Figure, NotMeasurable, figure

FIRST_SEED = 1
SEEDS = 20
STEPS = 1500


def simulation() -> Iterator[Figure]:
    """simulate.commands_per_second, of each of some seeds. Raises NotMeasurable."""
    if importlib.util.find_spec("tests.simulation") is None:
        raise NotMeasurable("tests/simulation is not in this tree")
    run = importlib.import_module("tests.simulation.__main__").run
    runs = [run(seed, STEPS) for seed in range(FIRST_SEED, FIRST_SEED + SEEDS)]
    yield figure("simulate.commands_per_second", "1/s", [one.commands / one.seconds for one in runs])
