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

from tests.simulation.world import Wanted, World


class Failure(Exception):
    """A seed failed; the text says how, and how to repeat it."""


def run(seed: int, steps: int) -> tuple[int, float]:
    """Runs one seed; returns how many commands the engine took in how many seconds. Raises Failure."""
    began = time.process_time()
    world = World(seed, Wanted(steps=steps))
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 (whatever the engine raises is what is looked for)
        where = "".join(traceback.format_exception(error))
        again = f"make simulate SEED={seed} STEPS={steps}"
        text = "\n".join([*world.lines(), where, f"step {world.steps}: {error}", again])
        raise Failure(text) from None
    return world.commands, time.process_time() - began


def attempt(job: tuple[int, int]) -> tuple[int, int, float, str]:
    """As run, for a pool of processes: seed, commands, seconds, and the text of a failure."""
    seed, steps = job
    try:
        return seed, *run(seed, steps), ""
    except Failure as failure:
        return seed, 0, 0.0, str(failure)


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
        _, commands, seconds, failure = attempt((wanted.seed, wanted.steps))
        print(failure or f"seed {wanted.seed}: {commands} commands in {seconds:.2f} s")
        return bool(failure)
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
            for seed, handled, seconds, failure in pool.imap_unordered(attempt, jobs):
                done, commands, busy = done + 1, commands + handled, busy + seconds
                if failure:
                    failed += 1
                    print(failure if not wanted.keep_going else f"{seed}: {failure.splitlines()[-2]}", flush=True)
                    if not wanted.keep_going:
                        return 1
            rate, elapsed = commands / max(busy, 1e-9), time.monotonic() - began
            counts = f"{done} seeds from {first}, {failed} failed, {commands} commands"
            print(f"{counts}, {rate:.0f} per second of one core, {elapsed:.0f} s", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
