"""`crowetrade backtest`: the strategies of manifests over recorded history."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from crowetrade_agents.errors import ConfigurationError
from crowetrade_api.files import EnvName
from crowetrade_cli.backtest.many import Candidate, Runner, usable_cores
from crowetrade_cli.backtest.plan import Recordings, check_models, plan_of
from crowetrade_cli.backtest.run import WHOLE, Range, run, span_of
from crowetrade_cli.backtest.variants import Setting, setting, text_of, variants
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.local.sources import admitted
from crowetrade_cli.manifests.admission import Manifest
from crowetrade_cli.manifests.reading import read
from crowetrade_cli.results import store
from crowetrade_cli.results.folds import folds_table, joined
from crowetrade_cli.results.metrics import RunMetrics, annualised_from
from crowetrade_cli.results.report import warnings_of
from crowetrade_cli.results.result import Result
from crowetrade_cli.results.save import save_run
from crowetrade_cli.results.sweep import DEFAULT_METRIC, RefusedRow, metric_named, save_sweep, sweep, sweep_table
from crowetrade_cli.results.tables import run_table
from crowetrade_cli.samples import INSTALLED_SAMPLES

_SECOND_NS, _PLACES = 1_000_000_000, 9


def backtest(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Manifests: files, folders, - for stdin.")],
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="First time, UTC: 2017-01-01 or 2017-01-01T09:30:00.")
    ] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Last day, or the time before which it ends.")] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Report, figures, executions and equity are written there.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KIND/NAME:PATH=VALUES", help="A field and its values: 3..8, 3..9/2 or 3,5."),
    ] = None,
    folds: Annotated[int, typer.Option(min=0, max=1_000, help="Walk-forward: choose among --set, test after.")] = 0,
    metric: Annotated[str, typer.Option(help="What a sweep is sorted by and folds choose by.")] = DEFAULT_METRIC,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Of manifests that name none.")] = "default",
    samples: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The sample recordings.", show_default=False)
    ] = INSTALLED_SAMPLES,
    data: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Other recordings: NAME/PATH of a claim, NAME/KEY of a ConfigMap."),
    ] = Path("data"),
    cores: Annotated[int, typer.Option(min=1, help="Runs at once.")] = usable_cores(),
) -> None:
    """Run the strategies of these manifests over recorded history, as a cluster in lock step would.

    With --set there is a run for each combination of values; with --folds, each stretch of history is traded with the
    values that were best before it.

    Exit code 1: a model raised an error, the figures are without what it would have done; or it could not be run.
    """
    asked = Range(_time(begin, "--from", WHOLE.from_ns), _time(end, "--to", WHOLE.to_ns, whole_day=True))
    if asked.from_ns >= asked.to_ns:
        raise WrongUse(f"--from {begin} is not before --to {end}")
    settings = [setting(text) for text in set_ or ()]
    metric_named(metric)
    if folds and not any(len(one.values) > 1 for one in settings):
        raise WrongUse("--folds chooses among variants: name a field with several values by --set")
    if out is not None:
        store.refuse_foreign(out)
    _quiet()
    environment = {**os.environ, EnvName.SAMPLE_DIRECTORY: str(samples), EnvName.DATA_DIRECTORY: str(data)}
    candidates, refused = _candidates(paths, settings, namespace)
    recordings = Recordings(environment)
    if folds:
        _walk_forward(candidates, refused, recordings, asked, folds, metric, cores, out)
    elif len(candidates) + len(refused) > 1:
        _sweep(candidates, refused, recordings, asked, metric, cores, out)
    else:
        _one(candidates[0], recordings, asked, out)
    if refused:
        first = f"{refused[0].refused} (with {text_of(refused[0].parameters)})"
        total = len(candidates) + len(refused)
        typer.echo(f"Not run, because a model refuses it: {len(refused):,} of {total:,} combinations, first: {first}")


def _one(candidate: Candidate, recordings: Recordings, asked: Range, out: Path | None) -> None:
    with _progress("events", 1.0) as progress:
        recordings.read([candidate.plan])
        result = run(candidate.plan, recordings, asked, progress)
    _show(result, save_run(result, out))
    typer.echo(f"{result.events:,} events in {result.wall_seconds:.1f} s" + _written(out, store.REPORT))
    if result.model_failure:
        raise Failed(f"{result.model_failure}: the figures are without what the model would have done")


def _show(result: Result, metrics: RunMetrics) -> None:
    Console().print(run_table(metrics))
    for sentence in warnings_of(result, metrics):
        typer.echo(sentence)


def _sweep(
    candidates: Sequence[Candidate],
    refused: Sequence[RefusedRow],
    recordings: Recordings,
    asked: Range,
    metric: str,
    cores: int,
    out: Path | None,
) -> None:
    with _progress("runs", len(candidates)) as progress:
        runner = Runner(candidates, recordings, cores, _counted(progress))
        rows = runner.sweep(asked)
    span = span_of([recordings.of(file) for file in candidates[0].plan.traded], asked)
    found = sweep(rows, metric, refused, annualised_from(span.to_ns - span.from_ns))
    Console().print(sweep_table(found))
    if found.note:
        typer.echo(found.note)
    if out is not None:
        save_sweep(found, out)
    typer.echo(f"{len(rows):,} runs" + _written(out, store.SWEEP_PAGE))
    _end(runner)


def _walk_forward(
    candidates: Sequence[Candidate],
    refused: Sequence[RefusedRow],
    recordings: Recordings,
    asked: Range,
    folds: int,
    metric: str,
    cores: int,
    out: Path | None,
) -> None:
    with _progress("runs", folds * (len(candidates) + 1)) as progress:
        runner = Runner(candidates, recordings, cores, _counted(progress))
        span = span_of([recordings.of(file) for file in candidates[0].plan.traded], asked)
        found, results = runner.walk_forward(span, folds, metric)
    whole = joined(results)
    metrics = save_run(whole, out, found, refused)
    Console().print(folds_table(found))
    _show(whole, metrics)
    typer.echo(f"{len(found)} tested, each with the values that were best before it" + _written(out, store.REPORT))
    _end(runner)


def _end(runner: Runner) -> None:
    """Raises Failed when a model failed in any of the runs."""
    if failures := runner.model_failures:
        raise Failed(
            f"a model failed in {len(failures):,} of {runner.runs:,} runs, whose figures are without what it would "
            f"have done, first {failures[0]}"
        )


def _candidates(
    paths: Sequence[str], settings: Sequence[Setting], namespace: str
) -> tuple[list[Candidate], list[RefusedRow]]:
    """The combinations to run, and those that a model refuses, as a grid of two averages has some in which the fast one
    is not the faster. Raises Failed where no combination is left to run."""
    reading = read(paths, namespace)
    for note in reading.notes:
        typer.echo(note, err=True)
    # Variants share what was not set in them, and judging it takes longer than many a run.
    judged: dict[int, Manifest] = {}
    found, refused = [], []
    for variant in variants(reading.manifests, settings):
        new = [one for one in variant.manifests if id(one) not in judged]
        judged.update(zip(map(id, new), admitted(new, namespace), strict=True))
        plan = plan_of([judged[id(one)] for one in variant.manifests], namespace, reading.namespaces)
        try:
            check_models(plan)
        except ConfigurationError as error:
            refused.append(RefusedRow(variant.parameters, str(error)))
        else:
            found.append(Candidate(variant.parameters, plan))
    if not found:
        values = text_of(refused[0].parameters)
        raise Failed(refused[0].refused + (f" (with {values})" if values else ""))
    return found, refused


def _time(text: str, option: str, unset: int, *, whole_day: bool = False) -> int:
    """Nanoseconds since the Unix epoch; of a day alone its beginning, or with `whole_day` its end."""
    if not text:
        return unset
    found = re.search(r"[.,](\d+)", text)
    decimals = found[1] if found else ""
    try:
        at = datetime.fromisoformat(text).replace(microsecond=0)
        if len(decimals) > _PLACES:
            raise ValueError("finer than a nanosecond")
    except ValueError:
        raise WrongUse(f"{option} {text!r} is no time: write 2017-01-01 or 2017-01-01T09:30:00") from None
    seconds = int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp())
    if whole_day and _is_day(text):
        seconds += 86_400
    return seconds * _SECOND_NS + int(decimals.ljust(_PLACES, "0"))


def _is_day(text: str) -> bool:
    """Whether it is a day without a time, in any of the ways to write one."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _quiet() -> None:
    """What gateways and agents log of each order is for those who watch them live."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@contextmanager
def _progress(unit: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar with an estimate on a terminal, nothing elsewhere; called with what is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %, left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(unit, total=total)
        yield lambda done: bar.update(task, completed=done)


def _counted(progress: Callable[[float], None]) -> Callable[[], None]:
    count = 0

    def done() -> None:
        nonlocal count
        count += 1
        progress(count)

    return done


def _written(out: Path | None, page: str) -> str:
    return "" if out is None else f"; open {out / page}"
