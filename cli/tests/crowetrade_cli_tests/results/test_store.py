from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.results import store
from crowetrade_cli.results.curves import strategy_curves
from crowetrade_cli.results.metrics import run_metrics
from crowetrade_cli.results.save import save_run

from .values import EMA, MONDAY_NS, equity_run, fill

RUN = equity_run(["1000", "1010", "990", "1040.5"], fills=(fill(MONDAY_NS, "Buy", "1.5", "1.25", "0.01"),))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = save_run(RUN, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "equity.parquet",
        "fills.parquet",
        "holdings.parquet",
        "metrics.json",
        "report.html",
        "run.json",
    ]
    stored = store.read_run(tmp_path / "out")
    assert stored.run == store.run_of(RUN)
    assert stored.metrics == written == run_metrics(RUN, strategy_curves(RUN))


def test_figures_are_plain_json(tmp_path: Path) -> None:
    save_run(RUN, tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())["strategies"][0]
    assert (metrics["pnl"], metrics["fees"], metrics["fills"]) == ("40.5", "0.01", 1)
    assert metrics["total_return"] == pytest.approx(0.0405)
    assert metrics["annual_return"] is None
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["schema"], run["first_ns"], run["strategies"][0]["capital"]) == (1, MONDAY_NS, "1000")


def test_rows_are_parquet(tmp_path: Path) -> None:
    save_run(RUN, tmp_path)
    fills = pq.read_table(tmp_path / "fills.parquet").to_pylist()
    assert [(str(row["at"]), row["quantity"], row["side"]) for row in fills] == [
        ("2017-01-02 00:00:00+00:00", fill(0, "Buy", "1.5", "1").quantity, "Buy")
    ]
    equity = pq.read_table(tmp_path / "equity.parquet").to_pylist()
    assert [(row["strategy"], row["currency"], str(row["equity"].normalize())) for row in equity] == [
        (EMA, "USD", value) for value in ("1E+3", "1.01E+3", "9.9E+2", "1040.5")
    ]
    holdings = pq.read_table(tmp_path / "holdings.parquet")
    assert holdings.num_rows == 4
    assert holdings.column_names[0] == "at"


def test_no_folder_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert save_run(RUN, None).strategies[0].pnl == Decimal("40.5")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_result_is_replaced_with_all_its_files(tmp_path: Path) -> None:
    save_run(RUN, tmp_path)
    (tmp_path / "folds.json").write_text("of an earlier walk-forward")
    save_run(equity_run(["1", "2"]), tmp_path)
    assert store.read_run(tmp_path).metrics.strategies[0].pnl == 1
    assert not (tmp_path / "folds.json").exists()


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.txt": ""},
        {"metrics.json": "{}"},
        {"run.json": "[]"},
        {"run.json": '{"kind": "somebody-else"}'},
        {"run.json": '{"kind": "crowetrade.backtest"}', "notes.txt": ""},
    ],
)
def test_a_folder_that_holds_something_else_is_refused_and_kept(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    foreign = sorted(files)[0] if len(files) == 1 else "notes.txt"
    with pytest.raises(
        WrongUse, match=rf"{tmp_path} holds '{foreign}', which no backtest wrote.*choose another folder"
    ):
        save_run(RUN, tmp_path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == files


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(WrongUse, match="out is a file: --out takes a folder"):
        store.refuse_foreign(tmp_path / "out")


@pytest.mark.parametrize("breaks_at", range(1, 14))
def test_a_write_that_is_broken_off_leaves_no_half_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks_at: int
) -> None:
    """Wherever the process dies between two steps: what is there is the old result, the new one, or none; and the next
    backtest may write there."""
    old, new = equity_run(["1000", "1001"]), equity_run(["1000", "1002"])
    save_run(old, tmp_path)
    steps = 0

    class Died(BaseException):
        pass

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == breaks_at:
            raise Died

    for name in ("unlink", "replace", "mkdir"):
        original = getattr(Path, name)

        def counted(self: Path, *arguments: object, original: object = original, **options: object) -> object:
            step()
            return original(self, *arguments, **options)  # type: ignore[operator]

        monkeypatch.setattr(Path, name, counted)
    # A process that dies cleans nothing up.
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(Died):
        save_run(new, tmp_path)
    monkeypatch.undo()
    try:
        found = store.read_run(tmp_path)
    except WrongUse:
        assert not (tmp_path / "run.json").exists()
    else:
        assert found.metrics.strategies[0].pnl == 1
        assert (pq.read_table(tmp_path / "equity.parquet")["pnl"].to_pylist())[-1] == 1
    save_run(new, tmp_path)
    assert store.read_run(tmp_path).metrics.strategies[0].pnl == 2


def test_a_folder_without_a_result_is_no_result(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(WrongUse, match="holds no result of a backtest: name a folder that crowetrade backtest"):
            store.read_run(folder)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"schema": 2}', "was written by a newer CroweTrade .schema 2, this one reads up to 1.: upgrade"),
        ('{"schema": 1}', "is not what a backtest writes .strategies: Field required.: run it again"),
        ("[]", "is not what a backtest writes .no JSON object."),
        ("{", "is not what a backtest writes .no JSON object."),
        ("\x00\xff", "is not what a backtest writes .no JSON object."),
    ],
)
def test_a_foreign_or_newer_file_is_refused_in_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    save_run(RUN, tmp_path)
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(Failed, match=sentence):
        store.read_run(tmp_path)


def test_a_result_without_its_figures_is_refused(tmp_path: Path) -> None:
    save_run(RUN, tmp_path)
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(Failed, match=r"metrics.json is missing, so .* is no whole result"):
        store.read_run(tmp_path)
