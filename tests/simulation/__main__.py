"""Runs seeds: `python -m tests.simulation [SEED] [--steps N] [--count N] [--workers N]`. Without a seed it runs until
one fails or it is stopped. A seed that fails is printed with what happened last and the command that repeats it."""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import random
import sys
import time
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from tests.simulation.world import Wanted, World


class Failure(Exception):
    """A seed failed; the text says how, and how to repeat it."""


class Run(NamedTuple):
    """What came of a seed: how many commands the engine took in how many seconds of CPU; kinds of events that were
    journaled, reasons for which orders were refused, limits of which a breach was latched, and how often a gateway
    began; how many executions were found that were lost within a session; and the text of a failure."""

    seed: int
    commands: int = 0
    seconds: float = 0.0
    kinds: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    breached: frozenset[str] = frozenset()
    sessions: int = 0
    recalled: int = 0
    failure: str = ""


def run(seed: int, steps: int) -> Run:
    """Runs one seed. Raises Failure."""
    began = time.process_time()
    world = World(seed, Wanted(steps=steps))
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 (whatever the engine raises is what is looked for)
        where = "".join(traceback.format_exception(error))
        again = f"make simulate SEED={seed} STEPS={steps}"
        text = "\n".join([*world.lines(), where, f"step {world.steps}: {error}", again])
        raise Failure(text) from None
    seconds, accounts = time.process_time() - began, world.accounts
    refused = frozenset(label for metric, label in world.counts if metric == "ORDERS_REFUSED")
    reached = frozenset(accounts.kinds), refused, frozenset(accounts.breached)
    return Run(seed, world.commands, seconds, *reached, len(accounts.tokens), world.counts["found", "Recalled"])


def attempt(job: tuple[int, int]) -> Run:
    """As run, for a pool of processes."""
    seed, steps = job
    try:
        return run(seed, steps)
    except Failure as failure:
        return Run(seed, failure=str(failure))


def main(arguments: list[str]) -> int:
    """Returns 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--first", type=int)
    parser.add_argument("--count", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep-going", action="store_true")
    wanted = parser.parse_args(arguments)
    if wanted.seed is not None:
        done = attempt((wanted.seed, wanted.steps))
        print(done.failure or f"seed {done.seed}: {done.commands} commands in {done.seconds:.2f} s")
        return bool(done.failure)
    first = wanted.first if wanted.first is not None else random.SystemRandom().randrange(10**9)
    return _many(first, wanted)


def _many(first: int, wanted: argparse.Namespace) -> int:
    done = commands = failed = 0
    busy, began = 0.0, time.monotonic()
    numbers: Iterator[int] = itertools.count(first)
    if wanted.count is not None:
        numbers = iter(range(first, first + wanted.count))
    with multiprocessing.Pool(wanted.workers) as pool:
        # A pool takes in all jobs that it is given, so an endless run is given them by the hundred.
        while jobs := [(seed, wanted.steps) for seed in itertools.islice(numbers, 100)]:
            for one in pool.imap_unordered(attempt, jobs):
                done, commands, busy = done + 1, commands + one.commands, busy + one.seconds
                if one.failure:
                    failed += 1
                    text = f"{one.seed}: {one.failure.splitlines()[-2]}" if wanted.keep_going else one.failure
                    print(text, flush=True)
                    if not wanted.keep_going:
                        return 1
            rate, elapsed = commands / max(busy, 1e-9), time.monotonic() - began
            counts = f"{done} seeds from {first}, {failed} failed, {commands} commands"
            print(f"{counts}, {rate:.0f} per second of one core, {elapsed:.0f} s", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
