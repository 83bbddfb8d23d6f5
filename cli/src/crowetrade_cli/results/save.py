"""From a result to its folder: the files of `crowetrade backtest --out`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crowetrade_cli.results import store
from crowetrade_cli.results.curves import strategy_curves
from crowetrade_cli.results.folds import Fold
from crowetrade_cli.results.metrics import RunMetrics, run_metrics
from crowetrade_cli.results.report import report_page
from crowetrade_cli.results.result import Result
from crowetrade_cli.results.rows import equity_rows, fill_rows, holding_rows
from crowetrade_cli.results.sweep import RefusedRow


def save_run(
    result: Result, folder: Path | None, folds: Sequence[Fold] = (), refused: Sequence[RefusedRow] = ()
) -> RunMetrics:
    """The figures of a run, or of the joined tests of folds; where there is a folder, all of it is written there,
    with the combinations that the folds could not choose.

    Raises WrongUse where the folder holds something else than an earlier result: ask store.refuse_foreign before the
    run, which may be long.
    """
    curves = strategy_curves(result)
    metrics = run_metrics(result, curves)
    if folder is None:
        return metrics
    files = {
        store.RUN: store.write_json(store.Run, store.run_of(result)),
        store.METRICS: store.write_json(RunMetrics, metrics),
        store.FILLS: store.write_table(lambda: fill_rows(result.fills)),
        store.EQUITY: store.write_table(lambda: equity_rows(result.strategies, curves)),
        store.HOLDINGS: store.write_table(lambda: holding_rows(result.holdings)),
        store.REPORT: store.write_text(report_page(result, metrics, curves, folds, refused)),
    }
    if folds:
        files[store.FOLDS] = store.write_json(tuple[Fold, ...], tuple(folds))
    store.write_folder(folder, files)
    return metrics
