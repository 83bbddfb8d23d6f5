"""Folders with results. A folder is one by its mark, `run.json` or `sweep.json`. Files are written aside; then the mark
of the earlier result is removed, the files are put in place, and the new mark last: never is half a result marked.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.results.metrics import RunMetrics
from crowetrade_cli.results.result import Code, DataFile, LimitUse, ManifestHash, Refused, Result, StrategyFacts

SCHEMA = 1
RUN, METRICS, FOLDS, SWEEP = "run.json", "metrics.json", "folds.json", "sweep.json"
FILLS, EQUITY, HOLDINGS, SWEEP_ROWS = "fills.parquet", "equity.parquet", "holdings.parquet", "sweep.parquet"
REPORT, SWEEP_PAGE = "report.html", "sweep.html"
MARKS = (RUN, SWEEP)
NAMES = {RUN, METRICS, FOLDS, SWEEP, FILLS, EQUITY, HOLDINGS, SWEEP_ROWS, REPORT, SWEEP_PAGE}
_ASIDE = ".crowetrade-part"

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS = "crowetrade."

Write = Callable[[Path], None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Run:
    """run.json: the facts of a run that are neither rows nor figures."""

    strategies: tuple[StrategyFacts, ...]
    refused: tuple[Refused, ...]
    limits: tuple[LimitUse, ...]
    data: tuple[DataFile, ...]
    code: Code
    manifests: tuple[ManifestHash, ...]
    first_ns: int
    last_ns: int
    starts_ns: tuple[int, ...]
    events: int
    wall_seconds: float
    kind: Literal["crowetrade.backtest"] = "crowetrade.backtest"
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What is read back of a folder."""

    folder: Path
    run: Run
    metrics: RunMetrics


def run_of(result: Result) -> Run:
    """The facts of a result."""
    return Run(
        result.strategies,
        result.refused,
        result.limits,
        result.data,
        result.code,
        result.manifests,
        result.first_ns,
        result.last_ns,
        result.starts_ns,
        result.events,
        result.wall_seconds,
    )


def refuse_foreign(folder: Path) -> None:
    """Raises WrongUse unless a result may be written there: where nothing is, or nothing but an earlier result."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise WrongUse(f"{place} is a file: --out takes a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise WrongUse(f"{place} may not be written: choose another folder with --out")
    if place != folder:
        return
    names = sorted(entry.name for entry in folder.iterdir())
    foreign = [name for name in names if name not in {*NAMES, _ASIDE}] if _is_ours(folder) else names
    if foreign:
        text = f"{folder} holds {foreign[0]!r}, which no backtest wrote, and is not overwritten"
        raise WrongUse(f"{text}: choose another folder with --out, or empty this one")


def _is_ours(folder: Path) -> bool:
    """Whether it has a mark, or a write there was broken off."""
    return (folder / _ASIDE).is_dir() or any(_kind(folder / mark).startswith(_KINDS) for mark in MARKS)


def _kind(mark: Path) -> str:
    try:
        return str(json.loads(mark.read_bytes()).get("kind"))
    except (OSError, ValueError, AttributeError):
        return ""


def write_folder(folder: Path, files: Mapping[str, Write]) -> None:
    """Writes the files, of which one is a mark, each by its function, in place of an earlier result."""
    refuse_foreign(folder)
    aside = folder / _ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        for name, write in files.items():
            write(aside / name)
            _synced(aside / name)
        for mark in MARKS:
            (folder / mark).unlink(missing_ok=True)
        _synced(folder)
        for name in sorted(NAMES - files.keys()):
            (folder / name).unlink(missing_ok=True)
        for name in sorted(files, key=lambda name: name in MARKS):
            (aside / name).replace(folder / name)
        _synced(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _synced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(kind: Any, value: object) -> Write:
    """A function that writes the value, of the type `kind`, as JSON: decimals as text, undefined figures as null."""

    def write(file: Path) -> None:
        file.write_bytes(TypeAdapter(kind).dump_json(value, indent=2) + b"\n")

    return write


def write_text(text: str) -> Write:
    """A function that writes the text."""

    def write(file: Path) -> None:
        file.write_text(text, encoding="utf-8")

    return write


def write_table(make: Callable[[], pa.Table]) -> Write:
    """A function that writes a table, made only then, as Parquet."""

    def write(file: Path) -> None:
        import pyarrow.parquet as pq

        pq.write_table(make(), file, compression="zstd")

    return write


def read_run(folder: Path) -> StoredRun:
    """What `crowetrade backtest --out` wrote there. Raises WrongUse where there is no such thing, Failed where it
    cannot be read."""
    if not (folder / RUN).is_file():
        what = "a sweep, which keeps no single run" if (folder / SWEEP).is_file() else "no result of a backtest"
        raise WrongUse(f"{folder} holds {what}: name a folder that crowetrade backtest --out has written")
    return StoredRun(folder, _read(folder / RUN, Run), _read(folder / METRICS, RunMetrics))


def _read(file: Path, kind: type[_T]) -> _T:
    try:
        content = file.read_bytes()
        schema = json.loads(content).get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            text = f"{file} was written by a newer CroweTrade (schema {schema}, this one reads up to {SCHEMA})"
            raise Failed(f"{text}: upgrade CroweTrade, or run the backtest again")
        return TypeAdapter(kind).validate_json(content)
    except FileNotFoundError as error:
        raise Failed(f"{file} is missing, so {file.parent} is no whole result: run the backtest again") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise Failed(f"{file} is not what a backtest writes ({where}: {first['msg']}): run it again") from error
    except (ValueError, AttributeError) as error:
        raise Failed(f"{file} is not what a backtest writes (no JSON object): run it again") from error
