"""Many runs, on all cores: the variants of a sweep, and the folds of a walk-forward.

Recordings are read once, and the processes that run are forked from the one that has read them: they share its memory.
A run that fails ends all: a sweep with holes would be taken for one without.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from crowetrade_cli.backtest.plan import Plan, Recordings, currencies_of
from crowetrade_cli.backtest.run import Range, run
from crowetrade_cli.backtest.variants import text_of
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.results.figures import utc
from crowetrade_cli.results.folds import Fold
from crowetrade_cli.results.metrics import Metrics
from crowetrade_cli.results.result import Result
from crowetrade_cli.results.save import save_run
from crowetrade_cli.results.sweep import SweepRow, sweep

T = TypeVar("T")

Done = Callable[[], None]
"""Called whenever a run is done."""


def usable_cores() -> int:
    """Those that this process may use; where the system does not say which these are (macOS), all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """One variant: what was set, and the plan that it makes."""

    parameters: Mapping[str, str]
    plan: Plan


class _Trial(NamedTuple):
    """A run without its fills and holdings, which are too much to hand over between processes."""

    metrics: Metrics
    model_failure: str


class Runner:
    """Runs candidates over ranges. Each method raises what `run` raises."""

    def __init__(self, candidates: Sequence[Candidate], recordings: Recordings, cores: int, done: Done) -> None:
        """Reads the recordings. Raises WrongUse, besides, where candidates could be ranked by a part of them alone."""
        for one in candidates:
            if len(found := currencies_of(one.plan)) > 1:
                raise WrongUse(
                    f"the strategies' capital is in {' and '.join(found)}, and no figure to rank runs by is of "
                    "all of them: give it the strategies of one currency"
                )
        recordings.read([one.plan for one in candidates])
        self._candidates = candidates
        self._recordings = recordings
        self._cores = cores
        self._done = done
        self.runs = 0
        self.model_failures: list[str] = []
        """A sentence for each run in which a model failed."""

    def sweep(self, asked: Range) -> list[SweepRow]:
        """The figures of each candidate, in their order."""
        figures = self._figures([(place, asked) for place in range(len(self._candidates))])
        return [SweepRow(one.parameters, metrics) for one, metrics in zip(self._candidates, figures, strict=True)]

    def walk_forward(self, span: Range, folds: int, metric: str) -> tuple[list[Fold], list[Result]]:
        """The span is cut into `folds` + 1 equally long parts. Each part but the first is a test; what is tested there
        is the candidate that was best by `metric` over everything before it.

        Also raises WrongUse where a part would be shorter than a nanosecond.
        """
        length = (span.to_ns - span.from_ns) // (folds + 1)
        if length < 1:
            raise WrongUse(f"--folds {folds} cuts the history into parts of nothing: use fewer")
        bounds = [span.from_ns + length * number for number in range(1, folds + 1)] + [span.to_ns]
        trainings = [Range(span.from_ns, bound) for bound in bounds[:-1]]
        tests = [Range(bound, end) for bound, end in itertools.pairwise(bounds)]
        places = range(len(self._candidates))
        figures = self._figures([(place, training) for training in trainings for place in places])
        best = []
        for number in range(folds):
            rows = [SweepRow({"place": str(place)}, figures[number * len(places) + place]) for place in places]
            if all(getattr(row.metrics, metric) is None for row in rows):
                raise Failed(
                    f"no run has a {metric} from {utc(span.from_ns)} to {utc(trainings[number].to_ns)}, where fold "
                    f"{number + 1} is trained: choose a range in which all trade with --from and --to, fewer --folds, "
                    "or another --metric"
                    + "".join(f"; a model failed: {failure}" for failure in self.model_failures[:1])
                )
            best.append(int(sweep(rows, metric).rows[0].parameters["place"]))
        tested = self._each(self._test, list(zip(best, tests, strict=True)))
        for place, (result, _) in zip(best, tested, strict=True):
            self._note(place, result.model_failure)
        found = [
            Fold(
                train_first_ns=training.from_ns,
                train_last_ns=training.to_ns,
                test_first_ns=test.from_ns,
                test_last_ns=test.to_ns,
                parameters=self._candidates[place].parameters,
                metric=metric,
                train=getattr(figures[number * len(places) + place], metric),
                test=getattr(metrics, metric),
            )
            for number, (place, training, test, (_, metrics)) in enumerate(
                zip(best, trainings, tests, tested, strict=True)
            )
        ]
        return found, [result for result, _ in tested]

    def _figures(self, tasks: Sequence[tuple[int, Range]]) -> list[Metrics]:
        trials = self._each(self._trial, tasks)
        for (place, _), trial in zip(tasks, trials, strict=True):
            self._note(place, trial.model_failure)
        return [trial.metrics for trial in trials]

    def _note(self, place: int, model_failure: str) -> None:
        self.runs += 1
        if model_failure:
            self.model_failures.append(f"{model_failure} (with {text_of(self._candidates[place].parameters)})")

    def _trial(self, place: int, asked: Range) -> _Trial:
        result, metrics = self._test(place, asked)
        return _Trial(metrics, result.model_failure)

    def _test(self, place: int, asked: Range) -> tuple[Result, Metrics]:
        result = run(self._candidates[place].plan, self._recordings, asked)
        return result, save_run(result, None).totals[0]

    def _each(self, what: Callable[[int, Range], T], tasks: Sequence[tuple[int, Range]]) -> list[T]:
        """The results in the order of the tasks."""
        if self._cores == 1 or len(tasks) == 1:
            found = []
            for task in tasks:
                found.append(what(*task))
                self._done()
            return found
        # Loaded once here instead of once in each process, at the end of its first run.
        import empyrical  # noqa: F401

        global _forked
        _forked = what
        # What is there now is not looked at again by collections, which would copy the pages that are shared.
        gc.collect()
        gc.freeze()
        try:
            context = multiprocessing.get_context("fork")
            workers = min(self._cores, len(tasks))
            with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_the_parent) as pool:
                try:
                    with _interrupt_later():
                        waiting: list[Future[T]] = [pool.submit(_run_forked, *task) for task in tasks]
                    for one in as_completed(waiting):
                        one.result()
                        self._done()
                except BaseException:
                    # What has begun is not waited for: of a sweep without one run nothing is left.
                    for worker in multiprocessing.active_children():
                        worker.terminate()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                return [one.result() for one in waiting]
        finally:
            gc.unfreeze()


@contextmanager
def _interrupt_later() -> Iterator[None]:
    """Ctrl-C waits for the end of the block: in the middle of handing a task over it would leave the pool's lock taken,
    and its end would be waited for in vain. Then it does what it did before: a shell's background job ignores it."""
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if noted:
        signal.raise_signal(signal.SIGINT)


_forked: Callable[[int, Range], Any] | None = None


def _end_with_the_parent() -> None:
    """In a worker: Ctrl-C is the parent's to act upon, and when that is gone, killed too, so is the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_forked(place: int, asked: Range) -> Any:
    assert _forked is not None, "the process is forked after it is set"
    return _forked(place, asked)
