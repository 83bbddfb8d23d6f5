"""Memory does not grow with the file: three times the rows take hardly more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from crowetrade_cli.data.sorting import RUN_ROWS

FEW, MANY = 600_000, 1_800_000
HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
MOST_KIB = 300 * 1024
ALLOWED_KIB = 48 * 1024
"""What allocators keep. A row that is held takes 60 bytes and more, which is 68 MiB of the 1,200,000 rows more."""


def generate(path: Path, rows: int) -> Path:
    with path.open("w") as file:
        file.write(HEADER)
        for start in range(0, rows, 100_000):
            file.writelines(
                f"{row},{61000 + row % 9973 / 100:.2f},0.{row % 997:03d}1,{row},{row},{1704067200000 + row * 7},true\n"
                for row in range(start, start + 100_000)
            )
    return path


COMMAND = """
import sys
from pathlib import Path
from crowetrade_cli.main import main
try:
    main(sys.argv[1:])
finally:
    print([line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")])
"""


RUNS_OF_50_MILLION = 50_000_000 // RUN_ROWS
MERGE = """
import sys
from pathlib import Path
import pyarrow
from crowetrade_cli.data.kinds import schema_of
from crowetrade_cli.data.sorting import _MERGED_ROWS, sorted_batches

folder, runs = Path(sys.argv[1]), int(sys.argv[2])
rows = 2 * _MERGED_ROWS
texts = {"price": "61000.12", "size": "0.1231", "side": "sell", "trade_id": "123456789"}
schema = schema_of("trades", set(texts) | {"ts_ns"})

def batches():
    for run in range(runs):
        # Each run has rows of all times, so that all runs are merged at once.
        columns = {"ts_ns": range(run, rows * runs, runs), **{name: [text] * rows for name, text in texts.items()}}
        plain = pyarrow.table({name: pyarrow.array(columns[name]) for name in schema.names})
        yield plain.cast(schema).combine_chunks().to_batches()[0]

assert sum(batch.num_rows for batch in sorted_batches(batches(), folder, rows)) == rows * runs
print([line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")])
"""


def peak_kib(*arguments: str, program: str = COMMAND) -> int:
    """The largest resident memory of a program. What wait4 reports includes the parent's, from before exec."""
    command = [sys.executable, "-c", program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    match = re.search(r"VmHWM:\\t *([0-9]+) kB", ended.stdout)
    assert match is not None
    return int(match[1])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
@pytest.mark.parametrize("command", ["inspect", "convert", "convert --sort"])
def test_memory_does_not_grow_with_the_file(command: str, tmp_path: Path) -> None:
    peaks = []
    for rows in (FEW, MANY):
        path = generate(tmp_path / f"{rows}.csv", rows)
        name, *options = command.split()
        out = ["--out", str(tmp_path / f"{rows}.parquet")] if name == "convert" else []
        peaks.append(peak_kib("data", name, str(path), *options, *out))
    few, many = peaks
    assert many < MOST_KIB
    assert many - few < ALLOWED_KIB


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_the_runs_of_50_million_rows_are_merged_in_bounded_memory(tmp_path: Path) -> None:
    assert peak_kib(str(tmp_path), str(RUNS_OF_50_MILLION), program=MERGE) < MOST_KIB
